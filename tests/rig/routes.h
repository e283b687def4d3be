/*
 * routes: what routerd and consensusd would send to a transportd of the rig.
 */
#ifndef TESTS_RIG_ROUTES_H
#define TESTS_RIG_ROUTES_H

#include "tests/rig/transport.h"

/* --- what routerd would do --- */

/* One more path in a message, the best one first: hop_count node ids. */
static inline void
rig_path(mesh_ipc_FibRoute *r, uint32_t path_id, const uint64_t *hops, size_t hop_count)
{
	mesh_ipc_FibPath *p = &r->paths[r->paths_count++];

	*p = (mesh_ipc_FibPath){.path_id = path_id, .weight = 1, .hops_count = (pb_size_t)hop_count};
	memcpy(p->hops, hops, hop_count * sizeof(hops[0]));
	r->destination = hops[hop_count - 1];
	r->class_mask = 15;
}

/* The paths to one more destination. */
static inline void
rig_send_route(struct rig_node *n, const mesh_ipc_FibRoute *r)
{
	RIG_MUST(rig_send_pb(n->router, RT_FIB_ROUTE, mesh_ipc_FibRoute_fields, r) == 0);
	n->routes++;
}

/* One path to dst for all classes: hop_count node ids, the last one dst. */
static inline void
rig_route(struct rig_node *n, uint64_t dst, const uint64_t *hops, size_t hop_count)
{
	mesh_ipc_FibRoute r = mesh_ipc_FibRoute_init_default;

	RIG_MUST(hops[hop_count - 1] == dst);
	rig_path(&r, 7, hops, hop_count);
	rig_send_route(n, &r);
}

static inline bool
rig_has_routes(void *arg)
{
	struct rig_node *n = arg;
	unsigned links, destinations = 0;

	(void)sscanf(n->status.daemons[0].detail, "%u links, %u destinations", &links, &destinations);
	if (n->status.daemons_count != 0 && destinations >= n->routes)
		return true;
	if (channel_up(n->gateway))
		RIG_MUST(channel_send(n->gateway, GT_NODE_STATUS, RIG_ASK_STATUS, NULL, 0) == 0);
	return false;
}

/* Until the routes that were given to a node are in its table: siblings' messages have no common order. */
static inline bool
rig_wait_routes(struct rig_node *n)
{
	return rig_wait(n->rig, rig_has_routes, n, RIG_WAIT_MS);
}

/* --- what consensusd would do --- */

static inline int
rig_data(struct buf *out, const struct rig_node *from, uint64_t dst, const void *payload, size_t len)
{
	struct frame f = {
	    .type = FRAME_DATA,
	    .class = FRAME_CLASS_CLIENT,
	    .ttl = FRAME_TTL_DEFAULT,
	    .src = from->id,
	    .visit_count = 1,
	    .visit = {dst},
	    .payload = payload,
	    .payload_len = (uint32_t)len,
	};

	return frame_encode(&f, out);
}

#endif
