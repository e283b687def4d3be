/* topology: see topology.h. */
#include "gatewayd/topology.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/os/conf.h"
#include "common/os/daemon.h"
#include "gatewayd/call.h"
#include "gatewayd/core/wire.h"
#include "gatewayd/gateway.h"
#include "gatewayd/gather.h"
#include "gatewayd/limits.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

enum { REQUEST_MAX_BYTES = 4096 }; /* to transportd; longer than any request of these types */

/* --- the answer: the wish was taken, and the links are these --- */

enum { DONE_WISH, DONE_LINKS }; /* parts */

static void
done_finish(struct gather *g)
{
	const struct gather_part *wish = &g->parts[DONE_WISH];
	struct call *c = g->call;
	const uint8_t *data;
	struct buf out, view;
	size_t len;
	int rc;

	if (wish->status == GRPC_UNAVAILABLE) {
		call_fail(c, wish->status, "%s: %s", wish->backend->name, wish->text);
		return;
	}
	if (wish->status != GRPC_OK) {
		call_fail(c, wish->status, "%s", wish->text);
		return;
	}
	buf_init(&out, LIST_MAX_BYTES);
	rc = wire_put_varint(&out, mesh_v1_TopologyStatus_success_tag, true);
	gather_view(&g->parts[DONE_LINKS], &view);
	while (rc == 0 && gather_next(&view, &data, &len) == 1)
		rc = wire_put_bytes(&out, mesh_v1_TopologyStatus_links_tag, data, len);
	if (rc != 0)
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "the wish was taken, but the answer is too long");
	else if (call_send(c, buf_head(&out), buf_left(&out)))
		call_finish(c, GRPC_OK, "");
	buf_fini(&out);
}

/* Passes the wish on, and asks for the links behind it. */
static void
ask(struct gather *g, enum backend_id id, uint32_t msg, const pb_msgdesc_t *fields, const void *request)
{
	uint8_t mem[REQUEST_MAX_BYTES];
	struct buf b;

	buf_init_fixed(&b, mem, sizeof(mem));
	if (fields != NULL && pb_pack(&b, fields, request) != 0) {
		call_fail(g->call, GRPC_INVALID_ARGUMENT, "the request is too long");
		return;
	}
	if ((g = gather_again(g, done_finish)) == NULL)
		return;
	gather_add(g, id, msg, buf_head(&b), buf_left(&b));
	gather_add(g, BACKEND_TRANSPORT, GT_LIST_LINKS, NULL, 0);
	gather_start(g);
}

/* --- which nodes are meant --- */

struct found {
	char id[NODEID_TEXT_SIZE];
	const uint8_t *info; /* NodeInfo; NULL: routerd does not know it */
	size_t info_len;
};

static bool
field_is(const uint8_t *info, size_t len, uint32_t field, const char *text)
{
	const uint8_t *value;
	size_t value_len;

	return wire_find_bytes(info, len, field, &value, &value_len) == 1 && value_len == strlen(text) &&
	       memcmp(value, text, value_len) == 0;
}

static void
take(struct found *out, const uint8_t *info, size_t len)
{
	const uint8_t *id;
	size_t id_len;

	if (wire_find_bytes(info, len, mesh_v1_NodeInfo_node_id_tag, &id, &id_len) != 1 ||
	    id_len >= sizeof(out->id))
		return;
	memcpy(out->id, id, id_len);
	out->id[id_len] = '\0';
	out->info = info;
	out->info_len = len;
}

/* The node that text, an id or a name, means.  False: none, or several; the call has ended. */
static bool
find(struct gather *g, const char *what, const char *text, struct found *out)
{
	const struct gather_part *nodes = &g->parts[0];
	uint64_t node = 0;
	bool is_id = nodeid_parse(text, &node) == 0;
	unsigned count = 0;
	const uint8_t *data;
	struct buf view;
	size_t len;

	memset(out, 0, sizeof(*out));
	if (is_id)
		nodeid_format(out->id, node);
	gather_view(nodes, &view);
	while (gather_next(&view, &data, &len) == 1) {
		if (is_id ? field_is(data, len, mesh_v1_NodeInfo_node_id_tag, out->id)
			  : field_is(data, len, mesh_v1_NodeInfo_node_name_tag, text)) {
			take(out, data, len);
			count++;
		}
	}
	if (count > 1)
		call_fail(g->call, GRPC_INVALID_ARGUMENT, "%s '%s': %u nodes have this name; give the id",
		    what, text, count);
	else if (count == 0 && !is_id && nodes->status != GRPC_OK)
		call_fail(g->call, GRPC_UNAVAILABLE,
		    "%s '%s': names are not known now, routerd: %s; give the id", what, text, nodes->text);
	else if (count == 0 && !is_id)
		call_fail(g->call, GRPC_NOT_FOUND, "%s '%s' is not known here", what, text);
	return count == 1 || (count == 0 && is_id);
}

/* A node may be linked by its id before the mesh knows it; routerd being away proves nothing. */
static bool
find_target(struct gather *g, const char *text, bool may_be_new, struct found *out)
{
	if (text[0] == '\0') {
		call_fail(g->call, GRPC_INVALID_ARGUMENT, "target_node_id: which node is the link with?");
		return false;
	}
	if (!find(g, "target_node_id", text, out))
		return false;
	if (out->info != NULL || may_be_new || g->parts[0].status != GRPC_OK)
		return true;
	call_fail(g->call, GRPC_NOT_FOUND, "target_node_id '%s' is not known here", text);
	return false;
}

/* In place: a name becomes an id.  Empty stays. */
static bool
find_source(struct gather *g, char *text, size_t size)
{
	const char *own = conf_str(g->call->gw->daemon->conf, "mesh", "node-name");
	struct found found;

	if (own != NULL && strcmp(text, own) == 0)
		text[0] = '\0';
	if (text[0] == '\0')
		return true;
	if (!find(g, "source_node_id", text, &found))
		return false;
	snprintf(text, size, "%s", found.id);
	return true;
}

/* --- where a node can be dialled --- */

static void
put_address(mesh_v1_AddLinkReq *req, const char *text, size_t len)
{
	char *out;

	if (len == 0 || len >= sizeof(req->addresses[0]) ||
	    req->addresses_count == sizeof(req->addresses) / sizeof(req->addresses[0]))
		return;
	out = req->addresses[req->addresses_count++];
	memcpy(out, text, len);
	out[len] = '\0';
}

/* NodeInfo.metadata["addresses"], separated by spaces: the only entry that routerd writes. */
static void
known_addresses(const struct found *node, mesh_v1_AddLinkReq *req)
{
	const uint8_t *entry, *value;
	size_t entry_len, len, start = 0;

	if (node->info == NULL ||
	    wire_find_bytes(node->info, node->info_len, mesh_v1_NodeInfo_metadata_tag, &entry, &entry_len) !=
		1 ||
	    wire_find_bytes(entry, entry_len, 2, &value, &len) != 1)
		return;
	for (size_t i = 0; i <= len; i++) {
		if (i < len && value[i] != ' ')
			continue;
		put_address(req, (const char *)value + start, i - start);
		start = i + 1;
	}
}

/* --- the calls --- */

bool
topology_mesh_is_ours(struct call *c, const char *mesh_id)
{
	const char *own = conf_str(c->gw->daemon->conf, "mesh", "id");

	if (mesh_id[0] == '\0' || (own != NULL && strcasecmp(own, mesh_id) == 0))
		return true;
	call_fail(c, GRPC_NOT_FOUND, "mesh_id '%s' is not the mesh of this node", mesh_id);
	return false;
}

static void
add_finish(struct gather *g)
{
	mesh_v1_AddLinkReq req = mesh_v1_AddLinkReq_init_zero;
	struct found target;

	/* It was decoded once, before it came here. */
	MUST(pb_unpack(buf_head(&g->note), buf_left(&g->note), mesh_v1_AddLinkReq_fields, &req) == 0);
	if (!topology_mesh_is_ours(g->call, req.mesh_id) ||
	    !find_source(g, req.source_node_id, sizeof(req.source_node_id)) ||
	    !find_target(g, req.target_node_id, req.addresses_count > 0, &target))
		return;
	snprintf(req.target_node_id, sizeof(req.target_node_id), "%s", target.id);
	if (req.addresses_count == 0)
		known_addresses(&target, &req);
	ask(g, BACKEND_TRANSPORT, GT_ADD_LINK, mesh_v1_AddLinkReq_fields, &req);
}

static void
drop_finish(struct gather *g)
{
	mesh_v1_DropLinkReq req = mesh_v1_DropLinkReq_init_zero;
	struct found target;

	MUST(pb_unpack(buf_head(&g->note), buf_left(&g->note), mesh_v1_DropLinkReq_fields, &req) == 0);
	if (!topology_mesh_is_ours(g->call, req.mesh_id) ||
	    !find_source(g, req.source_node_id, sizeof(req.source_node_id)) ||
	    !find_target(g, req.target_node_id, false, &target))
		return;
	snprintf(req.target_node_id, sizeof(req.target_node_id), "%s", target.id);
	ask(g, BACKEND_TRANSPORT, GT_DROP_LINK, mesh_v1_DropLinkReq_fields, &req);
}

/* First the nodes, then finish with the request. */
static void
begin(struct call *c, const uint8_t *data, size_t len, void (*finish)(struct gather *g))
{
	struct gather *g = gather_new(c, finish);

	if (g == NULL)
		return;
	if (buf_put_bytes(&g->note, data, len) != 0) {
		call_fail(
		    c, GRPC_RESOURCE_EXHAUSTED, "the request is too long, or gatewayd is out of memory");
		return;
	}
	gather_add(g, BACKEND_ROUTER, GR_LIST_NODES, NULL, 0);
	gather_start(g);
}

static void
add_message(struct call *c, const uint8_t *data, size_t len)
{
	begin(c, data, len, add_finish);
}

static void
drop_message(struct call *c, const uint8_t *data, size_t len)
{
	begin(c, data, len, drop_finish);
}

static void
full_message(struct call *c, const uint8_t *data, size_t len)
{
	mesh_v1_EstablishFullLinksReq req = mesh_v1_EstablishFullLinksReq_init_zero;
	struct gather *g;

	MUST(pb_unpack(data, len, mesh_v1_EstablishFullLinksReq_fields, &req) == 0);
	if (!topology_mesh_is_ours(c, req.mesh_id) || (g = gather_new(c, done_finish)) == NULL)
		return;
	gather_add(g, BACKEND_ROUTER, GR_FULL_LINKS, NULL, 0);
	gather_add(g, BACKEND_TRANSPORT, GT_LIST_LINKS, NULL, 0);
	gather_start(g);
}

void
topology_leave_begin(struct call *c)
{
	struct gather *g = gather_new(c, done_finish);

	if (g == NULL)
		return;
	gather_add(g, BACKEND_ROUTER, GR_LEAVE, NULL, 0);
	gather_add(g, BACKEND_TRANSPORT, GT_LIST_LINKS, NULL, 0);
	gather_start(g);
}

/* An Empty, or why not. */
static void
event_finish(struct gather *g)
{
	const struct gather_part *p = &g->parts[0];

	if (p->status == GRPC_UNAVAILABLE)
		call_fail(g->call, p->status, "%s: %s", p->backend->name, p->text);
	else if (p->status != GRPC_OK)
		call_fail(g->call, p->status, "%s", p->text);
	else if (call_send(g->call, (const uint8_t *)"", 0))
		call_finish(g->call, GRPC_OK, "");
}

static void
event_message(struct call *c, const uint8_t *data, size_t len)
{
	mesh_v1_UserEventReq req = mesh_v1_UserEventReq_init_zero;
	struct gather *g;

	MUST(pb_unpack(data, len, mesh_v1_UserEventReq_fields, &req) == 0);
	if (!topology_mesh_is_ours(c, req.mesh_id) || (g = gather_new(c, event_finish)) == NULL)
		return;
	if (len == 0 || len > edge_gateway_router.msgs[GR_USER_EVENT].max_bytes) {
		call_fail(c, GRPC_INVALID_ARGUMENT, "an event has a name and at most 512 bytes");
		return;
	}
	gather_add(g, BACKEND_ROUTER, GR_USER_EVENT, data, len);
	gather_start(g);
}

const struct call_ops topology_event_ops = {.message = event_message, .ended = gather_ended};
const struct call_ops topology_add_ops = {.message = add_message, .ended = gather_ended};
const struct call_ops topology_drop_ops = {.message = drop_message, .ended = gather_ended};
const struct call_ops topology_full_ops = {.message = full_message, .ended = gather_ended};
