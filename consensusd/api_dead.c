/* api: dead letters of streams, the messages that were given up at this node; see api.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "consensusd/acl.h"
#include "consensusd/api_impl.h"
#include "consensusd/engine.h"
#include "consensusd/replay.h"
#include "consensusd/sink.h"
#include "consensusd/stats.h"
#include "consensusd/store.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum { LIST_COUNT = 100, LETTER_MAX_BYTES = 1024, LIST_MAX_BYTES = STORE_LETTERS_MAX * LETTER_MAX_BYTES };

/* A call that waits for the database. */
struct dead_op {
	TAILQ_ENTRY(dead_op) entry;
	struct api *api;
	uint64_t call; /* handle */
	/* Of a list: letters, packed, and how long each is. */
	struct buf all;
	size_t lens[STORE_LETTERS_MAX];
	size_t count;
	int err;
	/* Of one. */
	bool discard, found, denied, put;
	struct ulid stream;
	uint64_t seq;
	mesh_v1_StreamDeadLetter letter;
};

static struct dead_op *
op_new(struct api *a, struct call *call)
{
	struct dead_op *op = mem_calloc(1, sizeof(*op));

	if (op == NULL) {
		call_done(call, CODE_RESOURCE_EXHAUSTED, "%s", err_text(ERR_NOMEM));
		return NULL;
	}
	op->api = a;
	op->call = call->handle;
	buf_init(&op->all, LIST_MAX_BYTES);
	TAILQ_INSERT_TAIL(&a->dead_ops, op, entry);
	return op;
}

static void
op_free(struct dead_op *op)
{
	TAILQ_REMOVE(&op->api->dead_ops, op, entry);
	buf_fini(&op->all);
	mem_free(op);
}

void
api_dead_free(struct api *a)
{
	while (!TAILQ_EMPTY(&a->dead_ops))
		op_free(TAILQ_FIRST(&a->dead_ops));
}

/* Ends the call, if it is still there, and the op. */
static void
op_refuse(struct dead_op *op, enum code code, const char *text)
{
	struct call *call = call_find(&op->api->calls, op->call);

	if (call != NULL)
		call_done(call, code, "%s", text);
	op_free(op);
}

static void
op_failed(struct dead_op *op, int err)
{
	if (err == ERR_UNAVAIL)
		op_refuse(op, CODE_UNAVAILABLE, "the database of this node is away");
	else
		op_refuse(op, CODE_RESOURCE_EXHAUSTED, err_text(err));
}

static void
letter_fill(mesh_v1_StreamDeadLetter *m, const struct store_dead_letter *row)
{
	*m = (mesh_v1_StreamDeadLetter)mesh_v1_StreamDeadLetter_init_zero;
	m->position = (int64_t)row->position;
	ulid_format(m->stream_id, &row->stream_id);
	ulid_format(m->message_id, &row->message_id);
	m->seq = (int64_t)row->seq;
	memcpy(m->tenant_id, row->tenant_id, sizeof(m->tenant_id));
	nodeid_format(m->source_node, row->src_node);
	m->attempts = (int32_t)row->attempts;
	memcpy(m->error, row->error, sizeof(m->error));
	m->failed_at = (int64_t)row->failed_unix_ms;
	m->bytes = (int64_t)row->bytes;
}

/* --- listing --- */

static void
list_reply(struct dead_op *op)
{
	mesh_v1_StreamDeadLetterList m = mesh_v1_StreamDeadLetterList_init_zero;
	struct call *call = call_find(&op->api->calls, op->call);
	struct pb_slice *items = mem_calloc(op->count + 1, sizeof(*items));
	const struct pb_list list = {items, op->count};
	size_t at = 0;

	for (size_t i = 0; items != NULL && i < op->count; i++) {
		items[i] = (struct pb_slice){buf_head(&op->all) + at, op->lens[i]};
		at += op->lens[i];
	}
	pb_list_encode(&m.letters, &list);
	if (call != NULL && items != NULL)
		api_reply_message(
		    call, mesh_v1_StreamDeadLetterList_fields, &m, LIST_MAX_BYTES + LIST_MAX_BYTES / 8);
	else if (call != NULL)
		call_done(call, CODE_RESOURCE_EXHAUSTED, "%s", err_text(ERR_NOMEM));
	mem_free(items);
	op_free(op);
}

/* Whoever may not have a stream's messages may not look at them, or decide about them, here either. */
static bool
may_have(const struct dead_op *op, const struct store_dead_letter *row)
{
	const struct call *call = call_find(&op->api->calls, op->call);
	char why[ACL_WHY_SIZE];

	return call != NULL &&
	       acl_may(op->api->engine->acl, ACL_SUBSCRIBE, call->who, row->tenant_id, &row->stream_id, why);
}

static void
on_list(void *arg, const struct store_dead_letter *row, int err)
{
	struct dead_op *op = arg;
	size_t before = buf_left(&op->all);

	if (row != NULL && op->err == 0 && op->count < STORE_LETTERS_MAX && may_have(op, row)) {
		letter_fill(&op->letter, row);
		op->err = pb_pack(&op->all, mesh_v1_StreamDeadLetter_fields, &op->letter);
		op->lens[op->count++] = buf_left(&op->all) - before;
	}
	if (row != NULL)
		return;
	if (err == 0)
		err = op->err;
	if (err == 0)
		list_reply(op);
	else
		op_failed(op, err);
}

void
api_dead_list(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_StreamDeadLetterReq in = mesh_v1_StreamDeadLetterReq_init_zero;
	struct call *call = api_unary(a, c, m);
	struct dead_op *op;
	struct ulid stream;
	int err;

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_StreamDeadLetterReq_fields, &in) != 0 || in.after < 0 ||
	    in.limit < 0) {
		call_done(call, CODE_INVALID_ARGUMENT,
		    "malformed StreamDeadLetterReq: after and limit can't be negative");
		return;
	}
	if (in.stream_id[0] != '\0' && ulid_parse(in.stream_id, &stream) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "stream_id '%s' is not a ULID", in.stream_id);
		return;
	}
	op = op_new(a, call);
	if (op == NULL)
		return;
	err = store_read_letters(a->engine->store, in.stream_id[0] != '\0' ? &stream : NULL, in.tenant_id,
	    (uint64_t)in.after, in.limit == 0 ? LIST_COUNT : (size_t)in.limit, on_list, op);
	if (err != 0)
		op_failed(op, err);
}

/* --- resolving --- */

static void
resolved(struct dead_op *op)
{
	struct call *call = call_find(&op->api->calls, op->call);

	if (call != NULL)
		api_reply_message(call, mesh_v1_StreamDeadLetter_fields, &op->letter, LETTER_MAX_BYTES);
	op_free(op);
}

void
api_dead_durable(void *arg)
{
	struct dead_op *op = arg;

	log_notice(
	    "dead letter %llu of stream %s was discarded", (unsigned long long)op->seq, op->letter.stream_id);
	sink_letters_gone(op->api->engine);
	resolved(op);
}

static void
discard(struct dead_op *op)
{
	const struct store_letter row = {
	    .kind = STORE_LETTER_DISCARD, .stream_id = op->stream, .seq = op->seq};
	struct engine *e = op->api->engine;
	struct sink *k = sink_find(e, &op->stream);
	uint8_t class = k != NULL ? k->class : FRAME_CLASS_CLIENT;
	int64_t ticket;

	if (k != NULL && replay_del(k, op->seq) != 0) {
		op_refuse(op, CODE_FAILED_PRECONDITION,
		    "it was delivered to the stream's handler, which has not answered yet");
		return;
	}
	ticket = order_reserve(&e->order[class]) != 0 ? ERR_NOMEM : store_put_letter(e->store, class, &row);
	if (ticket < 0) {
		op_failed(op, (int)ticket);
		return;
	}
	op->put = true;
	order_add(&e->order[class], (uint64_t)ticket, ORDER_LETTER, op, op->seq);
}

static void
replay(struct dead_op *op)
{
	struct sink *k = sink_find(op->api->engine, &op->stream);
	int err = k != NULL ? replay_add(k, op->seq) : ERR_NOENT;

	if (err == ERR_NOENT)
		op_refuse(op, CODE_FAILED_PRECONDITION,
		    "the stream is closed, or not this node's: its letters can only be discarded");
	else if (err == ERR_FULL)
		op_refuse(op, CODE_RESOURCE_EXHAUSTED, "as many letters of the stream wait as may");
	else if (err != 0)
		op_failed(op, err);
	else
		resolved(op);
}

static bool
resolving(const struct api *a, const struct dead_op *mine)
{
	const struct dead_op *op;

	TAILQ_FOREACH (op, &a->dead_ops, entry) {
		if (op != mine && op->put && op->seq == mine->seq &&
		    ulid_compare(&op->stream, &mine->stream) == 0)
			return true;
	}
	return false;
}

static void
on_one(void *arg, const struct store_dead_letter *row, int err)
{
	struct dead_op *op = arg;

	if (row != NULL) {
		letter_fill(&op->letter, row);
		op->found = true;
		op->denied = !may_have(op, row);
	} else if (err != 0) {
		op_failed(op, err);
	} else if (!op->found || resolving(op->api, op)) {
		op_refuse(op, CODE_NOT_FOUND, "there is no such dead letter at this node");
	} else if (op->denied) {
		metric_inc(&stats.acl_subscribe);
		op_refuse(op, CODE_PERMISSION_DENIED, "a policy denies the stream's messages to this client");
	} else if (op->discard) {
		discard(op);
	} else {
		replay(op);
	}
}

void
api_dead_resolve(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_ResolveStreamDeadLetterReq in = mesh_v1_ResolveStreamDeadLetterReq_init_zero;
	struct call *call = api_unary(a, c, m);
	struct dead_op *op;
	struct ulid stream;
	bool wants_discard;
	int err;

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_ResolveStreamDeadLetterReq_fields, &in) != 0 || in.seq <= 0 ||
	    ulid_parse(in.stream_id, &stream) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT,
		    "malformed ResolveStreamDeadLetterReq: a ULID, a seq, an action");
		return;
	}
	wants_discard = strcmp(in.action, "discard") == 0;
	if (!wants_discard && strcmp(in.action, "replay") != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "action is replay or discard");
		return;
	}
	op = op_new(a, call);
	if (op == NULL)
		return;
	op->discard = wants_discard;
	op->stream = stream;
	op->seq = (uint64_t)in.seq;
	err = store_read_letter(a->engine->store, &stream, op->seq, on_one, op);
	if (err != 0)
		op_failed(op, err);
}
