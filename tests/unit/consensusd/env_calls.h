/*
 * env_calls: calls of the API that a test makes at the nodes of env.h, which includes this.
 */
#ifndef TESTS_UNIT_CONSENSUSD_ENV_CALLS_H
#define TESTS_UNIT_CONSENSUSD_ENV_CALLS_H

#include "tests/unit/consensusd/env.h"

/* --- calls --- */

static inline void
env_forget(struct env_node *n, uint32_t call)
{
	struct buf body = n->calls[call].body;

	buf_reset(&body);
	memset(&n->calls[call], 0, sizeof(n->calls[call]));
	n->calls[call].body = body;
}

static struct env_node *env_waits_node;
static uint32_t env_waits_call;

static inline bool
env_answered(struct env *e)
{
	const struct env_call *c = &env_waits_node->calls[env_waits_call];

	(void)e;
	return c->replies + c->done > 0;
}

/* Waits for the end of a call. */
static inline struct env_call *
env_wait(struct env_node *n, uint32_t call)
{
	env_waits_node = n;
	env_waits_call = call;
	env_run(n->env, env_answered);
	return &n->calls[call];
}

static inline void
env_open_send(struct env_node *n, uint32_t call, const char *tenant, const char *stream, const char *targets)
{
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;

	env_forget(n, call);
	snprintf(req.tenant_id, sizeof(req.tenant_id), "%s", tenant);
	snprintf(req.stream_id, sizeof(req.stream_id), "%s", stream);
	for (; *targets != '\0'; targets++)
		snprintf(req.target_nodes[req.target_nodes_count++], 64, "%c", *targets);
	env_send_pb(n->gateway, GC_OPEN_STREAM, call, mesh_v1_OpenClientDataStreamReq_fields, &req);
}

/* With what the tenant "one" asks for. */
static inline struct env_call *
env_open_policy(
    struct env_node *n, const char *stream, const char *targets, const char *ack, int quorum, bool fence)
{
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;

	env_forget(n, 1);
	snprintf(req.tenant_id, sizeof(req.tenant_id), "one");
	snprintf(req.stream_id, sizeof(req.stream_id), "%s", stream);
	snprintf(req.ack, sizeof(req.ack), "%s", ack);
	req.ack_quorum = quorum;
	req.fence = fence;
	for (; *targets != '\0'; targets++)
		snprintf(req.target_nodes[req.target_nodes_count++], 64, "%c", *targets);
	env_send_pb(n->gateway, GC_OPEN_STREAM, 1, mesh_v1_OpenClientDataStreamReq_fields, &req);
	return env_wait(n, 1);
}

/* With one entry of metadata, encoded. */
static inline struct env_call *
env_open_meta(struct env_node *n, const char *stream, const char *targets, const void *entry, size_t len)
{
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;
	const struct pb_slice slice = {entry, len};
	const struct pb_list list = {&slice, 1};

	env_forget(n, 1);
	snprintf(req.tenant_id, sizeof(req.tenant_id), "one");
	snprintf(req.stream_id, sizeof(req.stream_id), "%s", stream);
	for (; *targets != '\0'; targets++)
		snprintf(req.target_nodes[req.target_nodes_count++], 64, "%c", *targets);
	pb_list_encode(&req.metadata, &list);
	env_send_pb(n->gateway, GC_OPEN_STREAM, 1, mesh_v1_OpenClientDataStreamReq_fields, &req);
	return env_wait(n, 1);
}

static inline struct env_call *
env_open(struct env_node *n, const char *tenant, const char *stream, const char *targets)
{
	env_open_send(n, 1, tenant, stream, targets);
	return env_wait(n, 1);
}

static inline void
env_publish_send(struct env_node *n, uint32_t type, uint32_t call, const mesh_v1_Chunk *base,
    const void *payload, size_t len)
{
	mesh_v1_Chunk c = *base;
	struct pb_slice slice = {payload, len};

	pb_slice_encode(&c.payload, &slice);
	env_send_pb(n->gateway, type, call, mesh_v1_Chunk_fields, &c);
}

static inline mesh_v1_Chunk
env_chunk(const char *stream, int64_t seq)
{
	mesh_v1_Chunk c = mesh_v1_Chunk_init_zero;

	snprintf(c.stream_id, sizeof(c.stream_id), "%s", stream);
	c.seq = seq;
	return c;
}

static inline void
env_subscribe(struct env_node *n, uint32_t call, const mesh_v1_StreamSelector *sel)
{
	env_forget(n, call);
	env_send_pb(n->gateway, GC_SUBSCRIBE, call, mesh_v1_StreamSelector_fields, sel);
}

static inline mesh_v1_StreamSelector
env_selector(const char *tenant, const char *stream)
{
	mesh_v1_StreamSelector sel = mesh_v1_StreamSelector_init_zero;

	snprintf(sel.tenant_id, sizeof(sel.tenant_id), "%s", tenant);
	if (stream[0] != '\0')
		snprintf(sel.stream_ids[sel.stream_ids_count++], 27, "%s", stream);
	return sel;
}

/* Asks for the stream to be closed; env_wait() for the answer. */
static inline void
env_close(struct env_node *n, uint32_t call, const char *stream)
{
	mesh_v1_StreamHandle h = mesh_v1_StreamHandle_init_zero;

	snprintf(h.stream_id, sizeof(h.stream_id), "%s", stream);
	env_forget(n, call);
	env_send_pb(n->gateway, GC_CLOSE_STREAM, call, mesh_v1_StreamHandle_fields, &h);
}

/* Begins the next producer epoch of a stream of the tenant one; env_wait() for the answer. */
static inline void
env_fence(struct env_node *n, uint32_t call, const char *stream)
{
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;

	snprintf(req.tenant_id, sizeof(req.tenant_id), "one");
	snprintf(req.stream_id, sizeof(req.stream_id), "%s", stream);
	req.fence = true;
	env_forget(n, call);
	env_send_pb(n->gateway, GC_OPEN_STREAM, call, mesh_v1_OpenClientDataStreamReq_fields, &req);
}

/* A message that a subscription got is refused: "no 7". */
static inline void
env_nack(struct env_node *n, uint32_t call, const char *stream, int64_t seq, bool dead)
{
	mesh_v1_StreamSelector sel = mesh_v1_StreamSelector_init_zero;

	sel.nacks_count = 1;
	snprintf(sel.nacks[0].stream_id, sizeof(sel.nacks[0].stream_id), "%s", stream);
	snprintf(sel.nacks[0].reason, sizeof(sel.nacks[0].reason), "no %lld", (long long)seq);
	sel.nacks[0].seq = seq;
	sel.nacks[0].dead_letter = dead;
	env_send_pb(n->gateway, GC_SUBSCRIBE_MORE, call, mesh_v1_StreamSelector_fields, &sel);
}

/* For env.filter: targets can't be reached by data. */
static inline bool
env_no_data(struct env *e, size_t from, struct frame *f)
{
	(void)e, (void)from;
	return f->type != FRAME_DATA;
}

#endif
