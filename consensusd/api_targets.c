/* api: other targets for a stream that is open; see api.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "consensusd/acl.h"
#include "consensusd/api_impl.h"
#include "consensusd/caller.h"
#include "consensusd/core/node_list.h"
#include "consensusd/engine.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

/* Targets of the stream as they are to be.  One more than it may have is room to see that. */
struct targets {
	uint64_t nodes[2 * STORE_TARGETS_MAX];
	size_t count;
	uint64_t added[STORE_TARGETS_MAX];
	size_t added_count;
};

static bool
add_all(struct call *call, const struct engine *e, const mesh_v1_StreamTargetsReq *req, struct targets *t)
{
	for (pb_size_t i = 0; i < req->add_count; i++) {
		uint64_t node = api_stream_node(call, e, req->add[i]);

		if (node == 0)
			return false;
		if (!node_list_has(t->added, t->added_count, node))
			t->added[t->added_count++] = node;
		if (!node_list_has(t->nodes, t->count, node))
			t->nodes[t->count++] = node;
	}
	return true;
}

/* A target can be removed by its id also when nobody knows the node any more. */
static uint64_t
leaving(struct call *call, const struct engine *e, const struct source *s, const char *text)
{
	uint64_t node;

	if (nodeid_parse(text, &node) == 0 && node_list_has(s->row.dst_nodes, s->row.dst_count, node))
		return node;
	return api_stream_node(call, e, text);
}

static bool
remove_all(struct call *call, const struct engine *e, const struct source *s,
    const mesh_v1_StreamTargetsReq *req, struct targets *t)
{
	for (pb_size_t i = 0; i < req->remove_count; i++) {
		uint64_t node = leaving(call, e, s, req->remove[i]);

		if (node == 0)
			return false;
		if (node_list_has(t->added, t->added_count, node)) {
			call_done(call, CODE_INVALID_ARGUMENT, "node '%s' is to be added and removed",
			    req->remove[i]);
			return false;
		}
		t->count = node_list_drop(t->nodes, t->count, node);
	}
	return true;
}

/* What can be said of the set alone. */
static bool
count_fits(struct call *call, const struct source *s, const struct targets *t)
{
	if (t->count == 0)
		call_done(call, CODE_FAILED_PRECONDITION,
		    "stream %s would have no target left: close it instead", s->id_text);
	else if (t->count > STORE_TARGETS_MAX)
		call_done(call, CODE_INVALID_ARGUMENT, "stream %s would have %zu targets: 1 to %d",
		    s->id_text, t->count, STORE_TARGETS_MAX);
	else
		return true;
	return false;
}

/* As opening does: policies let all that are new have it. */
static bool
permitted(struct call *call, const struct engine *e, const struct source *s, const struct targets *t)
{
	char why[ACL_WHY_SIZE];

	for (size_t i = 0; i < t->added_count; i++) {
		if (acl_node_may(
			e->acl, ACL_SUBSCRIBE, t->added[i], s->row.tenant_id, &s->row.stream_id, why))
			continue;
		metric_inc(&stats.acl_publish);
		call_done(call, CODE_PERMISSION_DENIED, "%s", why);
		return false;
	}
	return true;
}

static void
refuse(struct call *call, const struct source *s, int err, size_t count)
{
	switch (err) {
	case ERR_STALE:
		call_done(call, CODE_ABORTED, "the targets of stream %s are being changed by another call",
		    s->id_text);
		break;
	case ERR_STATE:
		call_done(call, CODE_FAILED_PRECONDITION, "stream %s is being closed", s->id_text);
		break;
	case ERR_RANGE:
		call_done(call, CODE_FAILED_PRECONDITION,
		    "stream %s would have %zu targets, and its publishers are answered by a quorum of %u",
		    s->id_text, count, (unsigned)s->row.policy.quorum);
		break;
	case ERR_LIMIT:
		call_done(call, CODE_RESOURCE_EXHAUSTED,
		    "stream %s: at most %d targets, with those that were removed and have not heard of it",
		    s->id_text, STORE_TARGETS_MAX);
		break;
	default:
		call_done(call, CODE_UNAVAILABLE,
		    "the targets of stream %s can't be changed now: %s; try again", s->id_text,
		    err_text(err));
	}
}

static void
change(struct call *call, struct engine *e, struct source *s, const mesh_v1_StreamTargetsReq *req)
{
	struct targets t = {.count = s->row.dst_count};
	uint64_t handle = call->handle;
	int err;

	memcpy(t.nodes, s->row.dst_nodes, s->row.dst_count * sizeof(t.nodes[0]));
	if (!add_all(call, e, req, &t) || !remove_all(call, e, s, req, &t) || !count_fits(call, s, &t) ||
	    !permitted(call, e, s, &t))
		return;
	log_notice("stream %s: %s wants other targets: %u added, %u removed, then %zu", s->id_text,
	    call->who != NULL ? caller_text(call->who) : "a client", (unsigned)req->add_count,
	    (unsigned)req->remove_count, t.count);
	err = source_change_targets(s, t.nodes, t.count, handle);
	if (err == SOURCE_SAME)
		api_stream_reply(call, s, s->row.epoch);
	else if (err != 0)
		refuse(call, s, err, t.count);
}

void
api_stream_targets(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_StreamTargetsReq req = mesh_v1_StreamTargetsReq_init_zero;
	struct call *call = api_unary(a, c, m);
	struct source *s;
	bool was_closed;

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_StreamTargetsReq_fields, &req) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT,
		    "malformed StreamTargetsReq: a text is too long, or more than %d nodes",
		    STORE_TARGETS_MAX);
		return;
	}
	if (!a->engine->loaded) {
		call_done(call, CODE_UNAVAILABLE, "the database of this node is away");
		return;
	}
	s = api_stream_find(call, a->engine, req.stream_id, req.tenant_id, &was_closed);
	if (was_closed)
		call_done(call, CODE_FAILED_PRECONDITION, "stream %s was closed", req.stream_id);
	else if (s != NULL)
		change(call, a->engine, s, &req);
}
