/* api: where a message is; see api.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/acl.h"
#include "consensusd/api_impl.h"
#include "consensusd/engine.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum { API_MESSAGE_MAX_BYTES = 8192 };

/* A question while the database is asked. */
struct question {
	struct api *api;
	uint64_t call;
	struct ulid stream, message_id; /* id of zero: it is asked for by its seq */
	uint64_t seq;                   /* 0: not known yet */
	bool known;                     /* the database knows the message */
	char tenant[TENANT_TEXT_SIZE];  /* as the database has it */
	mesh_v1_MessageStatus status;
};

/* From the least to what counts most. */
static const char *const states[] = {"waiting", "stored", "processed", "failed"};
enum state { WAITING, STORED, PROCESSED, FAILED, STATES };

static enum state
state_of(const char *text)
{
	for (int i = 0; i < STATES; i++) {
		if (strcmp(text, states[i]) == 0)
			return (enum state)i;
	}
	return WAITING;
}

static mesh_v1_MessageTarget *
target_of(mesh_v1_MessageStatus *m, uint64_t node)
{
	char text[NODEID_TEXT_SIZE];
	mesh_v1_MessageTarget *t;

	nodeid_format(text, node);
	for (pb_size_t i = 0; i < m->targets_count; i++) {
		if (strcmp(m->targets[i].node_id, text) == 0)
			return &m->targets[i];
	}
	/* As many as a stream may have. */
	if (m->targets_count == sizeof(m->targets) / sizeof(m->targets[0]))
		return NULL;
	t = &m->targets[m->targets_count++];
	memcpy(t->node_id, text, sizeof(text));
	snprintf(t->state, sizeof(t->state), "%s", states[WAITING]);
	return t;
}

/* What is known only grows. */
static void
raise(mesh_v1_MessageTarget *t, enum state state, const char *error)
{
	if (t == NULL || state < state_of(t->state))
		return;
	snprintf(t->state, sizeof(t->state), "%s", states[state]);
	snprintf(t->error, sizeof(t->error), "%s", error);
}

/* The same where the database knows better why. */
static void
raise_unless(mesh_v1_MessageTarget *t, enum state state, const char *error)
{
	if (t != NULL && state_of(t->state) < state)
		raise(t, state, error);
}

/* It became a target later: that it has no such message to process says nothing. */
static bool
never_for(const struct engine *e, const struct ulid *stream, const struct store_message *row)
{
	struct source *s = source_find(e, stream);
	const struct flow *f = s != NULL ? stream_flow(s->stream, row->dst_node) : NULL;

	return f != NULL && f->first_seq > row->seq;
}

static void
take_row(struct question *q, const struct store_message *row)
{
	const struct engine *e = q->api->engine;
	mesh_v1_MessageTarget *t;
	enum state state = WAITING;

	if (row->closed && row->seq > row->close_seq)
		return;
	q->known = true;
	snprintf(q->tenant, sizeof(q->tenant), "%s", row->tenant_id);
	q->seq = row->seq;
	if (!ulid_is_zero(&row->message_id))
		ulid_format(q->status.message_id, &row->message_id);
	/* Of other targets a target knows nothing. */
	if (row->src_node != e->self && row->dst_node != e->self)
		return;
	if (never_for(e, &q->stream, row))
		return;
	t = target_of(&q->status, row->dst_node);
	if (row->failed || row->dead)
		state = FAILED;
	else if (row->logged || row->committed_seq >= row->seq)
		state = PROCESSED;
	else if (row->kept && row->src_node != e->self)
		state = STORED;
	raise(t, state, row->error);
	if (t != NULL)
		t->updated = (int64_t)row->updated_unix_ms;
}

static void
take_flows(struct question *q, const struct source *s)
{
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		const struct flow *f = &s->stream->flows[i];
		mesh_v1_MessageTarget *t;

		if (!flow_concerns(f, q->seq))
			continue;
		t = target_of(&q->status, f->node);
		if (flow_failed(f, q->seq))
			raise_unless(t, FAILED, "it is a dead letter there, where the reason is");
		else if (f->processed >= q->seq)
			raise(t, PROCESSED, "");
		else if (f->state == FLOW_REFUSED || f->state == FLOW_GONE)
			raise(t, FAILED, s->flows[i].error);
		else if (f->stored >= q->seq)
			raise(t, STORED, "");
	}
}

static void
take_target(struct question *q, const struct sink *k)
{
	mesh_v1_MessageTarget *t = target_of(&q->status, k->engine->self);

	if (failures_has(&k->target->failures, q->seq) && k->target->processed_seq >= q->seq)
		raise_unless(t, FAILED, "it is a dead letter");
	else if (k->target->processed_seq >= q->seq)
		raise(t, PROCESSED, "");
	else if (k->target->stored_seq >= q->seq)
		raise(t, STORED, "");
}

/* False: this node knows nothing of such a message. */
static bool
fill(struct question *q)
{
	const struct source *s = source_find(q->api->engine, &q->stream);
	const struct sink *k = sink_find(q->api->engine, &q->stream);
	enum state least = PROCESSED;
	struct ulid id = q->message_id;

	if (q->seq == 0 || (s == NULL && k == NULL && !q->known))
		return false;
	if (s != NULL && q->seq >= s->stream->next_seq)
		return false;
	if (s != NULL)
		take_flows(q, s);
	if (k != NULL)
		take_target(q, k);
	for (pb_size_t i = 0; i < q->status.targets_count; i++) {
		enum state state = state_of(q->status.targets[i].state);

		if (state == FAILED || (least != FAILED && state < least))
			least = state;
	}
	snprintf(q->status.state, sizeof(q->status.state), "%s", states[least]);
	q->status.seq = (int64_t)q->seq;
	if (ulid_is_zero(&id) && s != NULL)
		(void)idwindow_at(&s->stream->ids, q->seq, &id);
	if (q->status.message_id[0] == '\0' && !ulid_is_zero(&id))
		ulid_format(q->status.message_id, &id);
	return true;
}

/* Whoever publishes to the stream, or subscribes to it, may ask. */
static bool
may_ask(struct question *q, const struct call *call)
{
	const struct engine *e = q->api->engine;
	const struct store_stream *row = api_stream_row(e, &q->stream);

	return acl_may_see(e->acl, call->who, row != NULL ? row->tenant_id : q->tenant, &q->stream);
}

static void
answer(struct question *q, struct call *call)
{
	char id[ULID_TEXT_SIZE];

	if (fill(q) && !may_ask(q, call)) {
		call_done(call, CODE_PERMISSION_DENIED, "policies deny stream %s to this client",
		    q->status.stream_id);
		return;
	}
	if (q->status.seq != 0) {
		api_reply_message(call, mesh_v1_MessageStatus_fields, &q->status, API_MESSAGE_MAX_BYTES);
		return;
	}
	ulid_format(id, &q->message_id);
	if (ulid_is_zero(&q->message_id))
		call_done(call, CODE_NOT_FOUND, "this node knows no message %llu of stream %s",
		    (unsigned long long)q->seq, q->status.stream_id);
	else
		call_done(call, CODE_NOT_FOUND,
		    "this node knows no message %s of stream %s, or has forgotten its id: ask by seq", id,
		    q->status.stream_id);
}

/* Whether it is known without the database where it failed. */
static bool
in_memory(const struct question *q)
{
	const struct source *s = source_find(q->api->engine, &q->stream);
	const struct sink *k = sink_find(q->api->engine, &q->stream);

	if (k != NULL && q->seq <= k->target->failures.from)
		return false;
	return s == NULL || !stream_is_unsure(s->stream, q->seq);
}

static void
on_message(void *arg, const struct store_message *row, int err)
{
	struct question *q = arg;
	struct call *call;

	if (row != NULL) {
		take_row(q, row);
		return;
	}
	call = call_find(&q->api->calls, q->call);
	/* What is in memory is enough, if the message is found there, and all that is to be said of it. */
	if (call != NULL && err != 0 && (q->seq == 0 || !in_memory(q) || !fill(q)))
		call_done(
		    call, CODE_UNAVAILABLE, "the database of this node can't be asked: %s", err_text(err));
	else if (call != NULL)
		answer(q, call);
	mem_free(q);
}

/* The seq of the message id as memory has it; 0: the database may know. */
static uint64_t
seq_of(const struct question *q)
{
	const struct engine *e = q->api->engine;
	const struct source *s = source_find(e, &q->stream);
	uint64_t seq;
	bool found;

	found = s != NULL ? stream_find_id(s->stream, &e->ids, &q->message_id, &seq)
			  : idcache_find(&e->ids.numbered, &q->stream, &q->message_id, &seq);
	return found ? seq : 0;
}

/* Reads the request; false: it was refused. */
static bool
take_request(struct call *call, const mesh_v1_MessageStatusReq *req, struct question *q)
{
	if (ulid_parse(req->stream_id, &q->stream) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "stream_id '%s' is not a ULID", req->stream_id);
		return false;
	}
	if (req->seq < 0 || (req->seq == 0) == (req->message_id[0] == '\0')) {
		call_done(
		    call, CODE_INVALID_ARGUMENT, "a message is named by its seq, from 1, or its message_id");
		return false;
	}
	if (req->seq == 0 &&
	    (ulid_parse(req->message_id, &q->message_id) != 0 || ulid_is_zero(&q->message_id))) {
		call_done(call, CODE_INVALID_ARGUMENT, "message_id '%s' is not a ULID", req->message_id);
		return false;
	}
	q->seq = (uint64_t)req->seq;
	ulid_format(q->status.stream_id, &q->stream);
	if (q->seq == 0)
		q->seq = seq_of(q);
	return true;
}

void
api_message_status(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_MessageStatusReq req = mesh_v1_MessageStatusReq_init_zero;
	struct call *call = api_unary(a, c, m);
	struct question *q;
	int err;

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_MessageStatusReq_fields, &req) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "malformed MessageStatusReq");
		return;
	}
	q = mem_calloc(1, sizeof(*q));
	if (q == NULL) {
		call_done(call, CODE_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	q->api = a;
	q->call = call->handle;
	if (!take_request(call, &req, q)) {
		mem_free(q);
		return;
	}
	err = store_read_message(a->engine->store, &q->stream, q->seq, &q->message_id, on_message, q);
	if (err != 0)
		on_message(q, NULL, err);
}
