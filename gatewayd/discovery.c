/* discovery: see discovery.h. */
#include "gatewayd/discovery.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf.h"
#include "common/os/daemon.h"
#include "gatewayd/call.h"
#include "gatewayd/core/wire.h"
#include "gatewayd/gateway.h"
#include "gatewayd/gather.h"
#include "gatewayd/limits.h"
#include "gatewayd/topology.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

/* A node of the answer: its NodeInfo as routerd has encoded it. */
struct match {
	const uint8_t *data;
	size_t len, place; /* place: in routerd's order, by id */
	uint32_t hops;
};

struct matches {
	struct match *all;
	size_t count, cap;
};

/* --- which nodes --- */

static bool
has(const char (*list)[sizeof(((mesh_v1_NodeInfo *)0)->services[0])], size_t count, const char *wanted)
{
	if (wanted[0] == '\0')
		return true;
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i], wanted) == 0)
			return true;
	return false;
}

static bool
status_fits(const char *wanted, const char *is)
{
	if (strcmp(wanted, "any") == 0)
		return true;
	return strcmp(wanted[0] != '\0' ? wanted : "alive", is) == 0;
}

static bool
fits(const mesh_v1_DiscoverNodesReq *req, const mesh_v1_NodeInfo *n)
{
	return has(n->services, n->services_count, req->service) &&
	       has(n->capabilities, n->capabilities_count, req->capability) &&
	       (req->region_id[0] == '\0' || strcmp(req->region_id, n->region_id) == 0) &&
	       status_fits(req->status, n->status);
}

static int
add(struct matches *m, const uint8_t *data, size_t len, uint32_t hops)
{
	if (m->count == m->cap) {
		size_t cap = m->cap == 0 ? 64 : 2 * m->cap;
		struct match *all = mem_reallocarray(m->all, cap, sizeof(*all));

		if (all == NULL)
			return ERR_NOMEM;
		m->all = all;
		m->cap = cap;
	}
	m->all[m->count] = (struct match){.data = data, .len = len, .place = m->count, .hops = hops};
	m->count++;
	return 0;
}

/* The nearest first. */
static int
by_distance(const void *a, const void *b)
{
	const struct match *x = a, *y = b;

	if (x->hops != y->hops)
		return x->hops < y->hops ? -1 : 1;
	return x->place < y->place ? -1 : 1;
}

static int
select_nodes(const struct gather_part *p, const mesh_v1_DiscoverNodesReq *req, struct matches *out)
{
	const uint8_t *data;
	struct buf view;
	size_t len;
	int err;

	gather_view(p, &view);
	while (gather_next(&view, &data, &len) == 1) {
		mesh_v1_NodeInfo n = mesh_v1_NodeInfo_init_zero;

		if ((err = pb_unpack(data, len, mesh_v1_NodeInfo_fields, &n)) != 0)
			return err;
		if (fits(req, &n) && (err = add(out, data, len, n.hops)) != 0)
			return err;
	}
	if (out->count > 1)
		qsort(out->all, out->count, sizeof(out->all[0]), by_distance);
	return 0;
}

/* --- the answer --- */

static int
put_reply(struct gather *g, const struct matches *m, struct buf *out)
{
	int err = wire_put_str(
	    out, mesh_v1_DiscoverNodesReply_mesh_id_tag, conf_str(g->call->gw->daemon->conf, "mesh", "id"));

	for (size_t i = 0; i < m->count && err == 0; i++)
		err =
		    wire_put_bytes(out, mesh_v1_DiscoverNodesReply_nodes_tag, m->all[i].data, m->all[i].len);
	return err;
}

static void
finish(struct gather *g)
{
	mesh_v1_DiscoverNodesReq req = mesh_v1_DiscoverNodesReq_init_zero;
	const struct gather_part *p = &g->parts[0];
	struct matches m = {0};
	struct buf out;
	int err;

	if (p->status != GRPC_OK) {
		call_fail(g->call, p->status, "%s: %s", p->backend->name, p->text);
		return;
	}
	/* It was decoded once, before it came here. */
	MUST(pb_unpack(buf_head(&g->note), buf_left(&g->note), mesh_v1_DiscoverNodesReq_fields, &req) == 0);
	buf_init(&out, LIST_MAX_BYTES);
	if ((err = select_nodes(p, &req, &m)) == 0)
		err = put_reply(g, &m, &out);
	if (err == ERR_LIMIT)
		call_fail(g->call, GRPC_RESOURCE_EXHAUSTED, "the answer is too long: ask for fewer nodes");
	else if (err != 0)
		call_fail(g->call, GRPC_INTERNAL, "the answer could not be put together: %s", err_text(err));
	else if (call_send(g->call, buf_head(&out), buf_left(&out)))
		call_finish(g->call, GRPC_OK, "");
	buf_fini(&out);
	mem_free(m.all);
}

static void
message(struct call *c, const uint8_t *data, size_t len)
{
	mesh_v1_DiscoverNodesReq req = mesh_v1_DiscoverNodesReq_init_zero;
	struct gather *g;

	/* method_valid() has decoded it already. */
	MUST(pb_unpack(data, len, mesh_v1_DiscoverNodesReq_fields, &req) == 0);
	if (!topology_mesh_is_ours(c, req.mesh_id) || (g = gather_new(c, finish)) == NULL)
		return;
	if (buf_put_bytes(&g->note, data, len) != 0) {
		call_fail(
		    c, GRPC_RESOURCE_EXHAUSTED, "the request is too long, or gatewayd is out of memory");
		return;
	}
	gather_add(g, BACKEND_ROUTER, GR_LIST_NODES, NULL, 0);
	gather_start(g);
}

const struct call_ops discovery_ops = {.message = message, .ended = gather_ended};
