/* method: see method.h. */
#include "gatewayd/method.h"

#include <string.h>

#include "common/base/must.h"
#include "gatewayd/discovery.h"
#include "gatewayd/events.h"
#include "gatewayd/health.h"
#include "gatewayd/reflection.h"
#include "gatewayd/relay.h"
#include "gatewayd/status.h"
#include "gatewayd/topology.h"
#include "proto/edge.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

#define REQUEST(type) .request = type##_fields, .request_size = sizeof(type)
#define MESH "/mesh.v1.MeshService/"
#define DATA "/mesh.v1.MeshDataService/"
#define STATUS "/mesh.v1.MeshStatusService/"
#define DISCOVERY "/mesh.v1.MeshDiscoveryService/"

static const struct method methods[] = {
    {.path = MESH "PublishClientData",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_PUBLISH,
	.msg_expire = GC_EXPIRE,
	REQUEST(mesh_v1_Chunk)},
    {.path = MESH "PublishClientDataStream",
	.client_stream = true,
	.server_stream = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_PUBLISH_ITEM,
	.msg_more = GC_PUBLISH_ITEM,
	.msg_end = GC_PUBLISH_END,
	.msg_expire = GC_EXPIRE,
	REQUEST(mesh_v1_Chunk)},
    {.path = DATA "SubscribeClientData",
	.client_stream = true,
	.server_stream = true,
	.endless = true,
	.credit = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_SUBSCRIBE,
	.msg_more = GC_SUBSCRIBE_MORE,
	REQUEST(mesh_v1_StreamSelector)},
    {.path = DATA "SubscribeNodeUpdates",
	.client_stream = true,
	.server_stream = true,
	.endless = true,
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_FOLLOW_NODES,
	.msg_more = GC_FOLLOW_MORE,
	REQUEST(mesh_v1_SubscribeReq)},
    {.path = DATA "SubscribeMeshUpdates",
	.client_stream = true,
	.server_stream = true,
	.endless = true,
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_FOLLOW_MESH,
	.msg_more = GC_FOLLOW_MORE,
	REQUEST(mesh_v1_SubscribeReq)},
    {.path = DATA "SubscribeInternalDBUpdates",
	.client_stream = true,
	.server_stream = true,
	.endless = true,
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_FOLLOW_DB,
	.msg_more = GC_FOLLOW_MORE,
	REQUEST(mesh_v1_SubscribeReq)},
    {.path = DATA "Ack",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_ACK,
	REQUEST(mesh_v1_StreamAck)},
    {.path = DATA "Nack",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_NACK,
	REQUEST(mesh_v1_StreamNack)},
    {.path = MESH "OpenClientDataStream",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_OPEN_STREAM,
	REQUEST(mesh_v1_OpenClientDataStreamReq)},
    {.path = MESH "CloseClientDataStream",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_CLOSE_STREAM,
	REQUEST(mesh_v1_StreamHandle)},
    {.path = MESH "GetMessageStatus",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_MESSAGE,
	REQUEST(mesh_v1_MessageStatusReq)},
    {.path = MESH "GetMeshStatus", .auth = METHOD_CLIENT, .ops = &status_mesh_ops, REQUEST(mesh_v1_Empty)},
    {.path = MESH "AddLink", .auth = METHOD_CLIENT, .ops = &topology_add_ops, REQUEST(mesh_v1_AddLinkReq)},
    {.path = MESH "DropLink", .auth = METHOD_CLIENT, .ops = &topology_drop_ops, REQUEST(mesh_v1_DropLinkReq)},
    {.path = MESH "EstablishFullLinks",
	.auth = METHOD_CLIENT,
	.ops = &topology_full_ops,
	REQUEST(mesh_v1_EstablishFullLinksReq)},
    {.path = MESH "SeedMesh",
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_SEED,
	.then = status_mesh_begin,
	REQUEST(mesh_v1_SeedMeshReq)},
    {.path = MESH "JoinMesh",
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_JOIN,
	.then = status_mesh_begin,
	REQUEST(mesh_v1_JoinMeshReq)},
    {.path = MESH "StartMesh",
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_START,
	.then = status_mesh_begin,
	REQUEST(mesh_v1_StartMeshReq)},
    {.path = MESH "StopMesh",
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_STOP,
	.then = status_mesh_begin,
	REQUEST(mesh_v1_StopMeshReq)},
    {.path = MESH "EvictNode",
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_EVICT,
	.then = status_mesh_begin,
	REQUEST(mesh_v1_EvictNodeReq)},
    {.path = MESH "LeaveMesh",
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_LEAVE,
	.then = topology_leave_begin,
	REQUEST(mesh_v1_LeaveMeshReq)},
    {.path = MESH "CreateJoinToken",
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_TOKEN,
	REQUEST(mesh_v1_JoinTokenReq)},
    {.path = MESH "SetMeshSettings",
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_SETTINGS,
	REQUEST(mesh_v1_MeshSettings)},
    {.path = MESH "TransferLeadership",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_TRANSFER,
	REQUEST(mesh_v1_TransferReq)},
    {.path = MESH "SendNodeUpdate",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_NODE_UPDATE,
	REQUEST(mesh_v1_NodeUpdate)},
    {.path = MESH "SendMeshUpdate",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_MESH_UPDATE,
	REQUEST(mesh_v1_MeshUpdate)},
    {.path = MESH "SendInternalDBUpdate",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_DB_UPDATE,
	REQUEST(mesh_v1_DBUpdate)},
    {.path = MESH "GetConfig",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_CONFIG_GET,
	REQUEST(mesh_v1_ConfigReq)},
    {.path = MESH "SetConfig",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_CONFIG_SET,
	REQUEST(mesh_v1_ConfigEntry)},
    {.path = MESH "ListConfigHistory",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_CONFIG_HISTORY,
	REQUEST(mesh_v1_ConfigReq)},
    {.path = MESH "RotateKey",
	.mesh_id = true,
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_ROTATE_KEY,
	REQUEST(mesh_v1_RotateKeyReq)},
    {.path = MESH "ListKeys",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_LIST_KEYS,
	REQUEST(mesh_v1_Empty)},
    {.path = MESH "ListDeadLetters",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_DEAD_LETTERS,
	REQUEST(mesh_v1_DeadLetterReq)},
    {.path = MESH "ResolveDeadLetter",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_RESOLVE,
	REQUEST(mesh_v1_ResolveDeadLetterReq)},
    {.path = MESH "ControlStreams",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_CONTROL_STREAMS,
	REQUEST(mesh_v1_StreamControlReq)},
    {.path = MESH "ListStreamDeadLetters",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_STREAM_LETTERS,
	REQUEST(mesh_v1_StreamDeadLetterReq)},
    {.path = MESH "ResolveStreamDeadLetter",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_RESOLVE_STREAM,
	REQUEST(mesh_v1_ResolveStreamDeadLetterReq)},
    {.path = MESH "ChangeStreamTargets",
	.auth = METHOD_CLIENT,
	.ops = &relay_ops,
	.msg_first = GC_STREAM_TARGETS,
	REQUEST(mesh_v1_StreamTargetsReq)},
    {.path = MESH "SendUserEvent",
	.auth = METHOD_CLIENT,
	.ops = &topology_event_ops,
	REQUEST(mesh_v1_UserEventReq)},
    {.path = MESH "WatchMeshEvents",
	.server_stream = true,
	.endless = true,
	.auth = METHOD_CLIENT,
	.ops = &events_ops,
	REQUEST(mesh_v1_Filter)},
    {.path = DISCOVERY "DiscoverNodes",
	.auth = METHOD_CLIENT,
	.ops = &discovery_ops,
	REQUEST(mesh_v1_DiscoverNodesReq)},
    {.path = STATUS "GetNodeStatus", .auth = METHOD_CLIENT, .ops = &status_node_ops, REQUEST(mesh_v1_Empty)},
    {.path = STATUS "ListRoutes", .auth = METHOD_CLIENT, .ops = &status_routes_ops, REQUEST(mesh_v1_Empty)},
    {.path = STATUS "ListStreams",
	.auth = METHOD_CLIENT,
	.ops = &status_streams_ops,
	REQUEST(mesh_v1_ListStreamsReq)},
    {.path = STATUS "GetMetrics", .auth = METHOD_CLIENT, .ops = &status_metrics_ops, REQUEST(mesh_v1_Empty)},
    {.path = "/grpc.health.v1.Health/Check", .auth = METHOD_OPEN, .ops = &health_check_ops},
    {.path = "/grpc.health.v1.Health/Watch",
	.server_stream = true,
	.endless = true,
	.auth = METHOD_OPEN,
	.ops = &health_watch_ops},
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	.client_stream = true,
	.server_stream = true,
	.auth = METHOD_CLIENT,
	.ops = &reflection_ops},
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
	.client_stream = true,
	.server_stream = true,
	.auth = METHOD_CLIENT,
	.ops = &reflection_ops},
};

/* Room to decode any request; only the thought that it decodes stays. */
union scratch {
	mesh_v1_Empty empty;
	mesh_v1_Chunk chunk;
	mesh_v1_StreamSelector selector;
	mesh_v1_StreamAck ack;
	mesh_v1_StreamNack nack;
	mesh_v1_OpenClientDataStreamReq open;
	mesh_v1_StreamHandle handle;
	mesh_v1_Filter filter;
	mesh_v1_ListStreamsReq streams;
	mesh_v1_AddLinkReq add_link;
	mesh_v1_DropLinkReq drop_link;
	mesh_v1_EstablishFullLinksReq full_links;
	mesh_v1_SeedMeshReq seed;
	mesh_v1_JoinMeshReq join;
	mesh_v1_StartMeshReq start;
	mesh_v1_StopMeshReq stop;
	mesh_v1_EvictNodeReq evict;
	mesh_v1_LeaveMeshReq leave;
	mesh_v1_JoinTokenReq token;
	mesh_v1_MeshSettings settings;
	mesh_v1_TransferReq transfer;
	mesh_v1_NodeUpdate node_update;
	mesh_v1_MeshUpdate mesh_update;
	mesh_v1_DBUpdate db_update;
	mesh_v1_SubscribeReq follow;
	mesh_v1_ConfigReq config_get;
	mesh_v1_ConfigEntry config_set;
	mesh_v1_RotateKeyReq rotate_key;
	mesh_v1_DeadLetterReq dead_letters;
	mesh_v1_ResolveDeadLetterReq resolve;
	mesh_v1_StreamControlReq control_streams;
	mesh_v1_StreamDeadLetterReq stream_letters;
	mesh_v1_ResolveStreamDeadLetterReq resolve_stream;
	mesh_v1_StreamTargetsReq stream_targets;
	mesh_v1_UserEventReq user_event;
	mesh_v1_DiscoverNodesReq discover;
};

enum { METHOD_COUNT = sizeof(methods) / sizeof(methods[0]) };

const struct method *
method_at(size_t i)
{
	return i < METHOD_COUNT ? &methods[i] : NULL;
}

const struct method *
method_find(const char *path, size_t len)
{
	for (size_t i = 0; i < METHOD_COUNT; i++)
		if (strncmp(methods[i].path, path, len) == 0 && methods[i].path[len] == '\0')
			return &methods[i];
	return NULL;
}

bool
method_service_known(const char *path, size_t len)
{
	const char *slash = len > 1 ? memchr(path + 1, '/', len - 1) : NULL;

	if (slash == NULL)
		return false;
	for (size_t i = 0; i < METHOD_COUNT; i++)
		if (strncmp(methods[i].path, path, (size_t)(slash - path) + 1) == 0)
			return true;
	return false;
}

size_t
method_max_bytes(const struct method *m, bool first)
{
	uint32_t msg = first ? m->msg_first : m->msg_more;

	MUST(msg < edge_gateway_consensus.msg_count);
	return edge_gateway_consensus.msgs[msg].max_bytes;
}

bool
method_valid(const struct method *m, const uint8_t *data, size_t len)
{
	union scratch scratch;

	if (m->request == NULL)
		return true;
	MUST(m->request_size <= sizeof(scratch));
	/* Callback members without a function are skipped: payloads and maps are not looked at here. */
	memset(&scratch, 0, m->request_size);
	return pb_unpack(data, len, m->request, &scratch) == 0;
}
