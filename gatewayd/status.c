/*
 * status: see status.h.
 *
 * Lists are sub-messages that the siblings have encoded: they are written as repeated fields without
 * being decoded.  Two encoded messages of one type written after each other are that message merged
 * (protobuf's encoding guide, "Last One Wins"); so the parts of a NodeStatus and a link's detail come
 * together.
 */
#include "gatewayd/status.h"

#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/daemon.h"
#include "common/os/metrics.h"
#include "gatewayd/call.h"
#include "gatewayd/conns.h"
#include "gatewayd/core/exposition.h"
#include "gatewayd/core/wire.h"
#include "gatewayd/gateway.h"
#include "gatewayd/gateway_metrics.h"
#include "gatewayd/gather.h"
#include "gatewayd/health.h"
#include "gatewayd/limits.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"

enum { ANSWER_MAX_BYTES = LIST_MAX_BYTES };

/* Sends what was put together, or says why it could not be. */
static void
answer_finish(struct call *c, struct buf *out, int rc)
{
	if (rc == ERR_LIMIT)
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "the answer is too long");
	else if (rc != 0)
		call_fail(c, GRPC_INTERNAL, "the answer could not be put together: %s", err_text(rc));
	else if (call_send(c, buf_head(out), buf_left(out)))
		call_finish(c, GRPC_OK, "");
	buf_fini(out);
}

/* A part that the answer can't do without: false ends the call with the sibling's name and reason. */
static bool
part_needed(struct gather *g, const struct gather_part *p)
{
	if (p->status == GRPC_OK)
		return true;
	call_fail(g->call, p->status, "%s: %s", p->backend->name, p->text);
	return false;
}

/* All answers of a part as a repeated field. */
static int
list_put(struct buf *out, uint32_t field, const struct gather_part *p)
{
	const uint8_t *data;
	struct buf view;
	size_t len;
	int rc;

	gather_view(p, &view);
	while (gather_next(&view, &data, &len) == 1)
		if ((rc = wire_put_bytes(out, field, data, len)) != 0)
			return rc;
	return 0;
}

/* --- ListRoutes, ListStreams: one part, one list --- */

static void
list_finish(struct gather *g)
{
	struct call *c = g->call;
	struct buf out;
	int rc;

	if (!part_needed(g, &g->parts[0]))
		return;
	buf_init(&out, ANSWER_MAX_BYTES);
	rc = list_put(&out, 1, &g->parts[0]); /* RouteList.routes, StreamList.streams */
	answer_finish(c, &out, rc);
}

static void
routes_message(struct call *c, const uint8_t *data, size_t len)
{
	struct gather *g = gather_new(c, list_finish);

	(void)data, (void)len;
	if (g == NULL)
		return;
	gather_add(g, BACKEND_ROUTER, GR_LIST_ROUTES, NULL, 0);
	gather_start(g);
}

static void
streams_message(struct call *c, const uint8_t *data, size_t len)
{
	struct gather *g;

	if (len > edge_gateway_consensus.msgs[GC_LIST_STREAMS].max_bytes) {
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "the request is too long");
		return;
	}
	if ((g = gather_new(c, list_finish)) == NULL)
		return;
	gather_add(g, BACKEND_CONSENSUS, GC_LIST_STREAMS, data, len);
	gather_start(g);
}

/* --- GetNodeStatus: the parts of all daemons --- */

/* Adds a NODE_STATUS part for each sibling, in the order of backend_id. */
static void
daemons_add(struct gather *g)
{
	for (unsigned i = 0; i < BACKEND_COUNT; i++)
		gather_add(g, (enum backend_id)i, g->call->gw->backends[i].msg_node_status, NULL, 0);
}

static int
daemon_put(
    struct buf *out, const char *name, const char *state, const char *detail, int64_t pid, int64_t uptime_ms)
{
	uint8_t mem[512];
	struct buf b;
	int rc;

	buf_init_fixed(&b, mem, sizeof(mem));
	rc = wire_put_str(&b, mesh_v1_DaemonStatus_name_tag, name);
	if (rc == 0)
		rc = wire_put_str(&b, mesh_v1_DaemonStatus_state_tag, state);
	if (rc == 0)
		rc = wire_put_str(&b, mesh_v1_DaemonStatus_detail_tag, detail);
	if (rc == 0)
		rc = wire_put_varint(&b, mesh_v1_DaemonStatus_pid_tag, (uint64_t)pid);
	if (rc == 0)
		rc = wire_put_varint(&b, mesh_v1_DaemonStatus_uptime_ms_tag, (uint64_t)uptime_ms);
	if (rc == 0)
		rc = wire_put_bytes(out, mesh_v1_NodeStatus_daemons_tag, buf_head(&b), buf_left(&b));
	return rc;
}

static int
own_part_put(struct buf *out, struct gateway *gw)
{
	const struct conf *conf = gw->daemon->conf;
	const struct {
		uint32_t field;
		const char *text;
	} texts[] = {
	    {mesh_v1_NodeStatus_mesh_id_tag, conf_str(conf, "mesh", "id")},
	    {mesh_v1_NodeStatus_mesh_name_tag, conf_str(conf, "mesh", "name")},
	    {mesh_v1_NodeStatus_node_name_tag, conf_str(conf, "mesh", "node-name")},
	    {mesh_v1_NodeStatus_version_tag, mesh_version},
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && rc == 0; i++)
		if (texts[i].text != NULL)
			rc = wire_put_str(out, texts[i].field, texts[i].text);
	if (rc == 0)
		rc = daemon_put(
		    out, "gatewayd", "running", "", getpid(), (clock_mono().us - gw->started_us) / 1000);
	/* Written even if it is false: it has to replace what the siblings say of their own parts. */
	if (rc == 0)
		rc = buf_put_u8(out, mesh_v1_NodeStatus_serving_tag << 3);
	if (rc == 0)
		rc = buf_put_u8(out, health_serving(gw->health));
	return rc;
}

static void
node_finish(struct gather *g)
{
	struct call *c = g->call;
	struct buf out;
	int rc = 0;

	buf_init(&out, ANSWER_MAX_BYTES);
	for (size_t i = 0; i < g->count && rc == 0; i++) {
		const struct gather_part *p = &g->parts[i];
		const uint8_t *data;
		struct buf view;
		size_t len;

		gather_view(p, &view);
		if (p->status != GRPC_OK)
			rc = daemon_put(&out, p->backend->name, "down", p->text, 0, 0);
		else if (gather_next(&view, &data, &len) == 1)
			rc = buf_put_bytes(&out, data, len);
	}
	if (rc == 0)
		rc = own_part_put(&out, c->gw);
	answer_finish(c, &out, rc);
}

static void
node_message(struct call *c, const uint8_t *data, size_t len)
{
	struct gather *g = gather_new(c, node_finish);

	(void)data, (void)len;
	if (g == NULL)
		return;
	daemons_add(g);
	gather_start(g);
}

/* --- GetMeshStatus: nodes and links of routerd, details of transportd's links, consensusd's Raft groups ---
 */

enum { MESH_NODES = BACKEND_COUNT, MESH_LINKS, MESH_OWN_LINKS, MESH_GROUPS }; /* parts after the daemons' */

static bool
same_field(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len, uint32_t field)
{
	const uint8_t *x, *y;
	size_t x_len, y_len;

	return wire_find_bytes(a, a_len, field, &x, &x_len) == 1 &&
	       wire_find_bytes(b, b_len, field, &y, &y_len) == 1 && x_len == y_len &&
	       memcmp(x, y, x_len) == 0;
}

/* transportd's view of a link that routerd lists, or nothing. */
static void
own_link_find(
    const struct gather_part *own, const uint8_t *link, size_t len, const uint8_t **out, size_t *out_len)
{
	struct buf view;

	gather_view(own, &view);
	while (gather_next(&view, out, out_len) == 1)
		if (same_field(link, len, *out, *out_len, mesh_v1_LinkInfo_source_node_id_tag) &&
		    same_field(link, len, *out, *out_len, mesh_v1_LinkInfo_target_node_id_tag))
			return;
	*out_len = 0;
}

/* The fields that only transportd knows; what both say is routerd's, which is what paths come from. */
static int
link_put(struct buf *out, const uint8_t *link, size_t len, const uint8_t *own, size_t own_len)
{
	const uint8_t *detail = NULL;
	size_t detail_len = 0;
	uint8_t head[16];
	struct buf h;
	int rc;

	if (own_len > 0 &&
	    wire_find_bytes(own, own_len, mesh_v1_LinkInfo_detail_tag, &detail, &detail_len) < 0)
		return ERR_FORMAT;
	buf_init_fixed(&h, head, sizeof(head));
	if (detail != NULL && (rc = wire_put_head(&h, mesh_v1_LinkInfo_detail_tag, detail_len)) != 0)
		return rc;
	rc = wire_put_head(out, mesh_v1_MeshStatus_links_tag, len + buf_left(&h) + detail_len);
	if (rc == 0)
		rc = buf_put_bytes(out, link, len);
	if (rc == 0)
		rc = buf_put_bytes(out, buf_head(&h), buf_left(&h));
	if (rc == 0 && detail_len > 0)
		rc = buf_put_bytes(out, detail, detail_len);
	return rc;
}

static int
links_put(struct buf *out, const struct gather_part *links, const struct gather_part *own)
{
	const uint8_t *data, *detail;
	size_t len, detail_len;
	struct buf view;
	int rc;

	/* Without routerd the links of this node are what is known. */
	if (links->status != GRPC_OK)
		return list_put(out, mesh_v1_MeshStatus_links_tag, own);
	gather_view(links, &view);
	while (gather_next(&view, &data, &len) == 1) {
		own_link_find(own, data, len, &detail, &detail_len);
		if ((rc = link_put(out, data, len, detail, detail_len)) != 0)
			return rc;
	}
	return 0;
}

/* The status of a node or of a Raft group. */
static bool
trouble(const uint8_t *status, size_t len)
{
	static const char *const texts[] = {"suspect", "dead", "unreachable", "no-leader", "no-quorum"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (len == strlen(texts[i]) && memcmp(status, texts[i], len) == 0)
			return true;
	return false;
}

/* Grows whenever a node issues a new LSA: incarnations weigh more than sequence numbers. */
static int64_t
lsdb_version(const struct gather_part *nodes, bool *all_alive)
{
	uint64_t sum = 0, incarnation, seq;
	const uint8_t *data, *status;
	size_t len, status_len;
	struct buf view;

	*all_alive = true;
	gather_view(nodes, &view);
	while (gather_next(&view, &data, &len) == 1) {
		if (wire_find_varint(data, len, mesh_v1_NodeInfo_incarnation_tag, &incarnation) == 1)
			sum += incarnation << 24;
		if (wire_find_varint(data, len, mesh_v1_NodeInfo_lsa_seq_tag, &seq) == 1)
			sum += seq;
		if (wire_find_bytes(data, len, mesh_v1_NodeInfo_status_tag, &status, &status_len) == 1 &&
		    trouble(status, status_len))
			*all_alive = false;
	}
	return (int64_t)(sum & INT64_MAX);
}

static bool
groups_ok(const struct gather_part *groups)
{
	const uint8_t *data, *status;
	size_t len, status_len;
	struct buf view;

	gather_view(groups, &view);
	while (gather_next(&view, &data, &len) == 1)
		if (wire_find_bytes(data, len, mesh_v1_RaftGroupInfo_status_tag, &status, &status_len) == 1 &&
		    trouble(status, status_len))
			return false;
	return true;
}

/* The node's id, from whichever daemon tells it. */
static int
node_id_put(struct buf *out, const struct gather *g)
{
	const uint8_t *data, *id;
	size_t len, id_len;
	struct buf view;

	for (size_t i = 0; i < BACKEND_COUNT; i++) {
		gather_view(&g->parts[i], &view);
		if (gather_next(&view, &data, &len) == 1 &&
		    wire_find_bytes(data, len, mesh_v1_NodeStatus_node_id_tag, &id, &id_len) == 1)
			return wire_put_bytes(out, mesh_v1_MeshStatus_node_id_tag, id, id_len);
	}
	return 0;
}

static int
mesh_head_put(struct buf *out, const struct gather *g)
{
	const struct gateway *gw = g->call->gw;
	const char *id = conf_str(gw->daemon->conf, "mesh", "id");
	const char *name = conf_str(gw->daemon->conf, "mesh", "name");
	bool ok = health_serving(gw->health) && groups_ok(&g->parts[MESH_GROUPS]), all_alive;
	int64_t version = lsdb_version(&g->parts[MESH_NODES], &all_alive);
	int rc;

	for (size_t i = 0; i < g->count; i++)
		ok = ok && g->parts[i].status == GRPC_OK;
	rc = wire_put_str(out, mesh_v1_MeshStatus_mesh_id_tag, id != NULL ? id : "");
	if (rc == 0)
		rc = wire_put_str(out, mesh_v1_MeshStatus_mesh_name_tag, name != NULL ? name : "");
	if (rc == 0)
		rc = wire_put_varint(out, mesh_v1_MeshStatus_lsdb_version_tag, (uint64_t)version);
	if (rc == 0)
		rc = wire_put_str(out, mesh_v1_MeshStatus_status_tag, ok && all_alive ? "ok" : "degraded");
	if (rc == 0)
		rc = wire_put_varint(out, mesh_v1_MeshStatus_last_updated_tag, clock_unix_ms());
	return rc != 0 ? rc : node_id_put(out, g);
}

static void
mesh_finish(struct gather *g)
{
	struct call *c = g->call;
	struct buf out;
	int rc;

	buf_init(&out, ANSWER_MAX_BYTES);
	rc = mesh_head_put(&out, g);
	if (rc == 0)
		rc = list_put(&out, mesh_v1_MeshStatus_nodes_tag, &g->parts[MESH_NODES]);
	if (rc == 0)
		rc = links_put(&out, &g->parts[MESH_LINKS], &g->parts[MESH_OWN_LINKS]);
	if (rc == 0)
		rc = list_put(&out, mesh_v1_MeshStatus_raft_groups_tag, &g->parts[MESH_GROUPS]);
	answer_finish(c, &out, rc);
}

void
status_mesh_begin(struct call *c)
{
	struct gather *g = gather_new(c, mesh_finish);

	if (g == NULL)
		return;
	daemons_add(g);
	gather_add(g, BACKEND_ROUTER, GR_LIST_NODES, NULL, 0);
	gather_add(g, BACKEND_ROUTER, GR_LIST_LINKS, NULL, 0);
	gather_add(g, BACKEND_TRANSPORT, GT_LIST_LINKS, NULL, 0);
	gather_add(g, BACKEND_CONSENSUS, GC_LIST_GROUPS, NULL, 0);
	gather_start(g);
}

static void
mesh_message(struct call *c, const uint8_t *data, size_t len)
{
	(void)data, (void)len;
	status_mesh_begin(c);
}

/* --- GetMetrics: the texts of all daemons --- */

static void
metrics_finish(struct gather *g)
{
	struct exposition_text texts[BACKEND_COUNT + 1];
	struct call *c = g->call;
	struct gateway *gw = c->gw;
	struct buf own, text, out;
	size_t n = 0;
	int rc;

	buf_init(&own, ANSWER_MAX_BYTES);
	buf_init(&text, ANSWER_MAX_BYTES);
	buf_init(&out, ANSWER_MAX_BYTES);
	gateway_metrics_now(conns_count(gw->conns), calls_count(gw->calls), gw->memory_bytes);
	rc = metrics_print(&own, "gatewayd");
	texts[n++] = (struct exposition_text){buf_head(&own), buf_left(&own)};
	for (size_t i = 0; i < g->count; i++) {
		struct buf view;

		gather_view(&g->parts[i], &view);
		if (gather_next(&view, &texts[n].data, &texts[n].len) == 1)
			n++;
	}
	if (rc == 0)
		rc = exposition_merge(&text, texts, n);
	if (rc == 0)
		rc = wire_put_bytes(&out, mesh_v1_MetricsText_text_tag, buf_head(&text), buf_left(&text));
	buf_fini(&own);
	buf_fini(&text);
	answer_finish(c, &out, rc);
}

static void
metrics_message(struct call *c, const uint8_t *data, size_t len)
{
	struct gather *g = gather_new(c, metrics_finish);

	(void)data, (void)len;
	if (g == NULL)
		return;
	for (unsigned i = 0; i < BACKEND_COUNT; i++)
		gather_add(g, (enum backend_id)i, c->gw->backends[i].msg_metrics, NULL, 0);
	gather_start(g);
}

const struct call_ops status_mesh_ops = {.message = mesh_message, .ended = gather_ended};
const struct call_ops status_node_ops = {.message = node_message, .ended = gather_ended};
const struct call_ops status_routes_ops = {.message = routes_message, .ended = gather_ended};
const struct call_ops status_streams_ops = {.message = streams_message, .ended = gather_ended};
const struct call_ops status_metrics_ops = {.message = metrics_message, .ended = gather_ended};
