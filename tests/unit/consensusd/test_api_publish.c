/* Publishing: when it is answered and what is said then, who may publish, and what is checked. */
#include "tests/unit/consensusd/env.h"

#include "common/base/be.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "common/os/crypto.h"
#include "consensusd/digest.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define M1 "01ARZ3NDEKTSV4RRFFQ69G6001"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1], *const c = &env.nodes[2];

static void
subscribe_all(struct env_node *n, const char *tenant)
{
	mesh_v1_StreamSelector sel = env_selector(tenant, "");

	n->auto_ack = true;
	env_subscribe(n, 9, &sel);
}

static struct env_call *
publish(struct env_node *n, const mesh_v1_Chunk *chunk, const char *payload)
{
	env_forget(n, 2);
	env_publish_send(n, GC_PUBLISH, 2, chunk, payload, strlen(payload));
	return env_wait(n, 2);
}

static mesh_v1_PublishResult
result_of(const struct env_call *call)
{
	mesh_v1_PublishResult r = mesh_v1_PublishResult_init_zero;

	if (call->replies != 1)
		fail_msg("%u: %s", call->code, call->message);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_PublishResult_fields, &r), 0);
	assert_true(r.success);
	return r;
}

static mesh_v1_StreamHandle
handle_of(const struct env_call *call)
{
	mesh_v1_StreamHandle h = mesh_v1_StreamHandle_init_zero;

	if (call->replies != 1)
		fail_msg("%u: %s", call->code, call->message);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_StreamHandle_fields, &h), 0);
	return h;
}

static void
assert_refused(const struct env_call *call, enum code code, const char *part)
{
	assert_int_equal(call->done, 1);
	if (strstr(call->message, part) == NULL)
		fail_msg("'%s' does not say '%s'", call->message, part);
	assert_int_equal(call->code, code);
}

/* --- levels --- */

static void
test_policy_refused(void **state)
{
	(void)state;
	assert_refused(env_open_policy(a, S1, "bc", "soon", 0, false), CODE_INVALID_ARGUMENT, "'soon'");
	assert_refused(env_open_policy(a, S1, "bc", "quorum", 0, false), CODE_INVALID_ARGUMENT, "2 targets");
	assert_refused(env_open_policy(a, S1, "bc", "quorum", 3, false), CODE_INVALID_ARGUMENT, "2 targets");
	assert_refused(env_open_policy(a, S1, "bc", "quorum", -1, false), CODE_INVALID_ARGUMENT, "2 targets");
	assert_refused(env_open_policy(a, S1, "bc", "all", 2, false), CODE_INVALID_ARGUMENT, "ack_quorum");
	handle_of(env_open_policy(a, S1, "bc", "quorum", 2, false));
	/* What is not asked for again is as it is. */
	handle_of(env_open_policy(a, S1, "bc", "", 0, false));
	handle_of(env_open_policy(a, S1, "bc", "quorum", 2, false));
	assert_refused(
	    env_open_policy(a, S1, "bc", "quorum", 1, false), CODE_ALREADY_EXISTS, "another policy");
	assert_refused(env_open_policy(a, S1, "bc", "all", 0, false), CODE_ALREADY_EXISTS, "another policy");
}

/* Nobody subscribes: it is answered all the same, and again in the same way. */
static void
test_accepted(void **state)
{
	static const char *const levels[] = {"accepted", "committed"};
	mesh_v1_PublishResult r;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		mesh_v1_StreamHandle h = handle_of(env_open_policy(a, "", "bc", levels[i], 0, false));
		mesh_v1_Chunk chunk = env_chunk(h.stream_id, 1);

		assert_string_equal(h.ack, levels[i]);
		for (int again = 0; again < 2; again++) {
			r = result_of(publish(a, &chunk, "x"));
			assert_string_equal(r.level, levels[i]);
			assert_int_equal(r.processed_nodes_count, 0);
			assert_int_equal(r.pending_nodes_count, 2);
			assert_int_equal(r.failed_nodes_count, 0);
			assert_int_equal(r.seq, 1);
		}
	}
	assert_int_equal(a->engine.sources->stream->committed_seq, 0);
}

static void
test_quorum(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 1);
	mesh_v1_PublishResult r;
	mesh_v1_StreamHandle h;
	char text[NODEID_TEXT_SIZE];

	(void)state;
	h = handle_of(env_open_policy(a, S1, "bc", "quorum", 1, false));
	assert_string_equal(h.ack, "quorum");
	assert_int_equal(h.ack_quorum, 1);
	subscribe_all(b, "one");
	r = result_of(publish(a, &chunk, "x"));
	assert_string_equal(r.level, "quorum");
	assert_int_equal(r.processed_nodes_count, 1);
	nodeid_format(text, b->engine.self);
	assert_string_equal(r.processed_nodes[0], text);
	nodeid_format(text, c->engine.self);
	assert_int_equal(r.pending_nodes_count, 1);
	assert_string_equal(r.pending_nodes[0], text);
	/* It stays in the outbox for the other. */
	assert_int_equal(a->engine.sources->stream->committed_seq, 0);
}

static bool
refused(struct env *e)
{
	struct source *s = e->nodes[0].engine.sources;

	return s != NULL && source_refused_flow(s) != NULL;
}

/* One of two is enough: a target that refuses is named, and no reason to stop. */
static void
test_quorum_of_rest(void **state)
{
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	mesh_v1_PublishResult r;

	(void)state;
	snprintf(req.tenant_id, sizeof(req.tenant_id), "two");
	snprintf(req.stream_id, sizeof(req.stream_id), S1);
	snprintf(req.ack, sizeof(req.ack), "quorum");
	req.ack_quorum = 1;
	snprintf(req.target_nodes[0], 64, "b");
	snprintf(req.target_nodes[1], 64, "c");
	req.target_nodes_count = 2;
	env_forget(a, 1);
	env_send_pb(a->gateway, GC_OPEN_STREAM, 1, mesh_v1_OpenClientDataStreamReq_fields, &req);
	handle_of(env_wait(a, 1));
	env_run(&env, refused);
	subscribe_all(b, "two");
	r = result_of(publish(a, &chunk, "x"));
	assert_int_equal(r.processed_nodes_count, 1);
	assert_int_equal(r.pending_nodes_count, 0);
	assert_int_equal(r.failed_nodes_count, 1);
}

static bool
b_processed(struct env *e)
{
	return e->nodes[0].engine.sources->stream->flows[0].processed == 1;
}

static bool
four_published(struct env *e)
{
	return waiters_count(&e->nodes[0].engine.sources->stream->waiters) > 0 &&
	       e->nodes[0].engine.sources->stream->next_seq == 5;
}

/* At its deadline a call says how far the message is; so does one whose target refuses. */
static void
test_expire(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	env_open(a, "one", S1, "bc");
	subscribe_all(b, "one");
	env_forget(a, 2);
	env_publish_send(a, GC_PUBLISH, 2, &chunk, "x", 1);
	env_run(&env, b_processed);
	assert_int_equal(channel_send(a->gateway, GC_EXPIRE, 2, NULL, 0), 0);
	assert_refused(env_wait(a, 2), CODE_DEADLINE_EXCEEDED, "processed by b (");
	assert_non_null(strstr(a->calls[2].message, "; not by c ("));
	assert_non_null(strstr(a->calls[2].message, "message 1 of stream " S1));
	/* A streaming call: its first message that is not done. */
	env_forget(a, 3);
	env_publish_send(a, GC_PUBLISH_ITEM, 3, &chunk, "y", 1);
	env_publish_send(a, GC_PUBLISH_ITEM, 3, &chunk, "z", 1);
	assert_int_equal(channel_send(a->gateway, GC_EXPIRE, 3, NULL, 0), 0);
	assert_refused(env_wait(a, 3), CODE_DEADLINE_EXCEEDED, "message 2");
	/* What is over is no mistake. */
	assert_int_equal(channel_send(a->gateway, GC_EXPIRE, 3, NULL, 0), 0);
	env_forget(a, 2);
	env_publish_send(a, GC_PUBLISH, 2, &chunk, "w", 1);
	env_run(&env, four_published);
	source_flow_broken(&a->engine.sources->flows[1], "it is broken");
	assert_refused(env_wait(a, 2), CODE_FAILED_PRECONDITION, "it is broken (");
	assert_non_null(strstr(a->calls[2].message, "c ("));
}

/* --- digests --- */

static void
set_digest(mesh_v1_Chunk *chunk, const char *payload)
{
	crypto_hash(chunk->digest.bytes, payload, strlen(payload));
	chunk->digest.size = CRYPTO_HASH_BYTES;
}

static void
assert_delivered(const char *payload, bool with_digest)
{
	mesh_v1_ClientData d = mesh_v1_ClientData_init_zero;
	struct pb_slice body = {0};
	uint8_t digest[CRYPTO_HASH_BYTES];

	pb_slice_decode(&d.payload, &body);
	assert_int_equal(pb_unpack(buf_head(&b->calls[9].body), buf_left(&b->calls[9].body),
			     mesh_v1_ClientData_fields, &d),
	    0);
	assert_int_equal(body.len, strlen(payload));
	assert_memory_equal(body.data, payload, body.len);
	crypto_hash(digest, payload, strlen(payload));
	assert_int_equal(d.digest.size, with_digest ? CRYPTO_HASH_BYTES : 0);
	if (with_digest)
		assert_memory_equal(d.digest.bytes, digest, sizeof(digest));
}

static void
test_digest(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	env_open(a, "one", S1, "b");
	subscribe_all(b, "one");
	set_digest(&chunk, "some payload");
	result_of(publish(a, &chunk, "some payload"));
	assert_delivered("some payload", true);
	assert_refused(publish(a, &chunk, "some payloaD"), CODE_DATA_LOSS, "12 bytes");
	chunk.digest.size = 31;
	assert_refused(publish(a, &chunk, "some payload"), CODE_INVALID_ARGUMENT, "31 bytes");
	chunk.digest.size = 0;
	result_of(publish(a, &chunk, "another"));
	assert_delivered("another", false);
	/* A streaming call ends with the wrong one. */
	set_digest(&chunk, "right");
	env_forget(a, 3);
	env_publish_send(a, GC_PUBLISH_ITEM, 3, &chunk, "right", 5);
	env_publish_send(a, GC_PUBLISH_ITEM, 3, &chunk, "wrong", 5);
	assert_refused(env_wait(a, 3), CODE_DATA_LOSS, "digest");
	/* An empty payload has one as well. */
	set_digest(&chunk, "");
	assert_int_equal(result_of(publish(a, &chunk, "")).seq, 4);
	assert_delivered("", true);
}

/* In any chunk; each chunk's checksum is its own. */
static void
test_digest_of_chunks(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	env_open(a, "one", S1, "b");
	subscribe_all(b, "one");
	for (int with = 0; with < 2; with++) {
		static const char *const parts[] = {"one ", "two"};

		chunk = env_chunk(S1, with + 1);
		chunk.total_chunks = 2;
		for (chunk.chunk_seq = 0; chunk.chunk_seq < 2; chunk.chunk_seq++) {
			const char *part = parts[chunk.chunk_seq];

			chunk.digest.size = 0;
			if (chunk.chunk_seq == with)
				set_digest(&chunk, "one two");
			be_store32(chunk.checksum.bytes, crc32c(0, part, strlen(part)));
			chunk.checksum.size = 4;
			result_of(publish(a, &chunk, part));
		}
		assert_delivered("one two", true);
	}
	chunk = env_chunk(S1, 3);
	chunk.total_chunks = 2;
	set_digest(&chunk, "one two");
	result_of(publish(a, &chunk, "one "));
	chunk.chunk_seq = 1;
	set_digest(&chunk, "one three");
	assert_refused(publish(a, &chunk, "two"), CODE_INVALID_ARGUMENT, "digest");
	chunk.chunk_seq = 0;
	set_digest(&chunk, "one two");
	result_of(publish(a, &chunk, "one "));
	chunk.chunk_seq = 1;
	chunk.digest.size = 0;
	chunk.checksum.size = 4;
	memset(chunk.checksum.bytes, 0, 4);
	assert_refused(publish(a, &chunk, "two"), CODE_DATA_LOSS, "checksum");
	chunk.checksum.size = 0;
	assert_refused(publish(a, &chunk, "tWo"), CODE_DATA_LOSS, "digest");
	assert_int_equal(a->engine.assembly.count, 0);
	assert_int_equal(b->calls[9].items, 2);
}

/* Headers come from another node. */
static void
test_digest_bad_headers(void **state)
{
	static const struct {
		uint8_t bytes[4];
		size_t len;
	} bad[] = {{{0x42}, 1}, {{0x42, 0x80}, 2}, {{0x42, 1}, 2}, {{0x52, 0}, 2}, {{0x52, 1, 'x'}, 3},
	    {{0x42, 1, 'x', 0x52}, 4}};
	uint8_t good[2 + 1 + DIGEST_FIELD_BYTES] = {0x42, 1, 'x'}, digest[DIGEST_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(digest_check(bad[i].bytes, bad[i].len, "p", 1), ERR_FORMAT);
	crypto_hash(digest, "p", 1);
	digest_put(good + 3, digest);
	assert_int_equal(digest_check(good, sizeof(good), "p", 1), 0);
	assert_int_equal(digest_check(good, sizeof(good), "P", 1), ERR_CHECKSUM);
	assert_int_equal(digest_check(good, sizeof(good) - 1, "p", 1), ERR_FORMAT);
	assert_int_equal(digest_check(good, 3, "p", 1), 0);
	assert_int_equal(digest_check(NULL, 0, "p", 1), 0);
}

static bool
subscription_ended(struct env *e)
{
	return e->nodes[1].calls[9].done == 1;
}

/* A source that says the wrong thing of what it sends: the target finds it before the subscriber does. */
static void
test_digest_at_target(void **state)
{
	static const uint8_t wrong[DIGEST_BYTES];
	mesh_v1_StreamSelector sel = env_selector("one", S1);
	uint8_t headers[DIGEST_FIELD_BYTES];
	uint64_t seq;
	struct publish p = {
	    .headers = headers, .headers_len = sizeof(headers), .payload = headers, .payload_len = 4};

	(void)state;
	env_open(a, "one", S1, "b");
	env_subscribe(b, 9, &sel);
	digest_put(headers, wrong);
	assert_int_equal(source_publish(a->engine.sources, &p, 0, &seq), PUBLISH_NEW);
	env_run(&env, subscription_ended);
	assert_refused(&b->calls[9], CODE_DATA_LOSS, "checksum");
	assert_int_equal(b->calls[9].items, 0);
}

/* --- producers --- */

static void
test_fence(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	assert_int_equal(handle_of(env_open_policy(a, S1, "b", "", 0, true)).producer_epoch, 1);
	subscribe_all(b, "one");
	chunk.producer_epoch = 1;
	result_of(publish(a, &chunk, "first"));
	/* A streaming call of the first producer. */
	env_forget(a, 3);
	env_publish_send(a, GC_PUBLISH_ITEM, 3, &chunk, "second", 6);
	assert_int_equal(handle_of(env_open_policy(a, S1, "b", "", 0, true)).producer_epoch, 2);
	assert_refused(env_wait(a, 3), CODE_FAILED_PRECONDITION, "epoch 2");
	assert_int_equal(fake_dbs[0].rows[0].epoch, 2);
	assert_refused(publish(a, &chunk, "late"), CODE_FAILED_PRECONDITION, "has begun 2");
	chunk.producer_epoch = 3;
	assert_refused(publish(a, &chunk, "early"), CODE_INVALID_ARGUMENT, "it has 2");
	chunk.producer_epoch = 2;
	assert_int_equal(result_of(publish(a, &chunk, "third")).seq, 3);
	chunk.producer_epoch = 0;
	assert_int_equal(result_of(publish(a, &chunk, "fourth")).seq, 4);
	assert_int_equal(b->engine.sinks->target->epoch, 2);
	assert_int_equal(fake_dbs[1].rows[0].epoch, 2);
	assert_int_equal(b->calls[9].items, 4);
	assert_false(b->calls[9].out_of_order);
	/* Without targets and all: the stream is there. */
	assert_int_equal(handle_of(env_open_policy(a, S1, "", "", 0, true)).producer_epoch, 3);
}

static bool
both_answered(struct env *e)
{
	return e->nodes[0].calls[4].replies == 1 && e->nodes[0].calls[5].replies == 1;
}

/* Two at once: both get an epoch, and not the same. */
static void
test_fence_race(void **state)
{
	(void)state;
	env_open(a, "one", S1, "b");
	env_fence(a, 4, S1);
	env_fence(a, 5, S1);
	env_run(&env, both_answered);
	assert_int_equal(handle_of(&a->calls[4]).producer_epoch, 2);
	assert_int_equal(handle_of(&a->calls[5]).producer_epoch, 3);
	assert_int_equal(fake_dbs[0].rows[0].epoch, 3);
}

/* --- where is it? --- */

static struct env_call *
ask_message(struct env_node *n, const char *stream, int64_t seq, const char *id)
{
	mesh_v1_MessageStatusReq req = mesh_v1_MessageStatusReq_init_zero;

	env_forget(n, 6);
	snprintf(req.stream_id, sizeof(req.stream_id), "%s", stream);
	snprintf(req.message_id, sizeof(req.message_id), "%s", id);
	req.seq = seq;
	env_send_pb(n->gateway, GC_MESSAGE, 6, mesh_v1_MessageStatusReq_fields, &req);
	return env_wait(n, 6);
}

static mesh_v1_MessageStatus
status_of(const struct env_call *call)
{
	mesh_v1_MessageStatus m = mesh_v1_MessageStatus_init_zero;

	if (call->replies != 1)
		fail_msg("%u: %s", call->code, call->message);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_MessageStatus_fields, &m), 0);
	return m;
}

static bool
c_stored(struct env *e)
{
	return e->nodes[0].engine.sources->stream->flows[1].stored == 1;
}

static bool
all_forgot(struct env *e)
{
	return e->nodes[0].engine.sources == NULL && e->nodes[1].engine.sinks == NULL &&
	       e->nodes[2].engine.sinks == NULL;
}

static void
test_message(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	mesh_v1_MessageStatus m;

	(void)state;
	assert_refused(ask_message(a, S1, 1, ""), CODE_NOT_FOUND, "no message 1");
	assert_refused(ask_message(a, S1, 0, ""), CODE_INVALID_ARGUMENT, "seq");
	assert_refused(ask_message(a, S1, 1, M1), CODE_INVALID_ARGUMENT, "or its message_id");
	assert_refused(ask_message(a, S1, -1, ""), CODE_INVALID_ARGUMENT, "seq");
	assert_refused(ask_message(a, "no", 1, ""), CODE_INVALID_ARGUMENT, "'no'");
	assert_refused(ask_message(a, S1, 0, "no"), CODE_INVALID_ARGUMENT, "'no'");
	handle_of(env_open_policy(a, S1, "bc", "quorum", 1, false));
	subscribe_all(b, "one");
	snprintf(chunk.message_id, sizeof(chunk.message_id), M1);
	result_of(publish(a, &chunk, "x"));
	env_run(&env, c_stored);
	for (int by_id = 0; by_id < 2; by_id++) {
		m = status_of(by_id ? ask_message(a, S1, 0, M1) : ask_message(a, S1, 1, ""));
		assert_int_equal(m.seq, 1);
		assert_string_equal(m.message_id, M1);
		assert_int_equal(m.targets_count, 2);
		assert_string_equal(m.targets[0].state, "processed");
		assert_string_equal(m.targets[1].state, "stored");
		assert_string_equal(m.state, "stored");
	}
	/* At a target: of that one. */
	m = status_of(ask_message(c, S1, 0, M1));
	assert_int_equal(m.targets_count, 1);
	assert_int_equal(m.seq, 1);
	assert_string_equal(m.state, "stored");
	assert_refused(ask_message(a, S1, 2, ""), CODE_NOT_FOUND, "no message 2");
	assert_refused(ask_message(a, S1, 0, "01ARZ3NDEKTSV4RRFFQ69G6099"), CODE_NOT_FOUND, "6099");
	subscribe_all(c, "one");
	/* When the stream is closed, the tables tell. */
	env_close(a, 3, S1);
	env_wait(a, 3);
	env_run(&env, all_forgot);
	m = status_of(ask_message(a, S1, 1, ""));
	assert_int_equal(m.targets_count, 2);
	assert_string_equal(m.state, "processed");
	assert_refused(ask_message(a, S1, 2, ""), CODE_NOT_FOUND, "no message 2");
}

/* --- retention --- */

static struct env_call *
open_retention(const char *targets, int64_t bytes, int64_t ms, const char *overflow, const char *ack)
{
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;

	env_forget(a, 1);
	snprintf(req.tenant_id, sizeof(req.tenant_id), "one");
	snprintf(req.stream_id, sizeof(req.stream_id), S1);
	snprintf(req.overflow, sizeof(req.overflow), "%s", overflow);
	snprintf(req.ack, sizeof(req.ack), "%s", ack);
	req.retention_bytes = bytes;
	req.retention_ms = ms;
	for (; *targets != '\0'; targets++)
		snprintf(req.target_nodes[req.target_nodes_count++], 64, "%c", *targets);
	env_send_pb(a->gateway, GC_OPEN_STREAM, 1, mesh_v1_OpenClientDataStreamReq_fields, &req);
	return env_wait(a, 1);
}

static void
test_retention_refused(void **state)
{
	(void)state;
	assert_refused(open_retention("b", -1, 0, "", ""), CODE_INVALID_ARGUMENT, "negative");
	assert_refused(open_retention("b", 0, 0, "drop", ""), CODE_INVALID_ARGUMENT, "beyond which");
	assert_refused(open_retention("b", 1, 0, "keep", ""), CODE_INVALID_ARGUMENT, "'keep'");
	handle_of(open_retention("b", 100, 0, "drop", ""));
	assert_refused(open_retention("b", 200, 0, "drop", ""), CODE_ALREADY_EXISTS, "policy");
	handle_of(open_retention("b", 0, 0, "", ""));
}

/* Publishers are refused while what is kept is too much, or too old. */
static void
test_retention_hold(void **state)
{
	static char payload[2000];
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	memset(payload, 'x', sizeof(payload) - 1);
	handle_of(open_retention("b", 4000, 3600 * 1000, "hold", "accepted"));
	for (int i = 0; i < 3; i++)
		result_of(publish(a, &chunk, payload));
	assert_refused(publish(a, &chunk, payload), CODE_RESOURCE_EXHAUSTED, "retention_bytes");
	subscribe_all(b, "one");
	while (publish(a, &chunk, "small")->replies == 0)
		assert_int_equal(a->calls[2].code, CODE_RESOURCE_EXHAUSTED);
	a->engine.sources->stream->ledger.count = 0; /* as if all were processed */
	ledger_add_at(&a->engine.sources->stream->ledger, 4, 1, 1);
	assert_refused(publish(a, &chunk, "old"), CODE_RESOURCE_EXHAUSTED, "3600000 ms");
}

static bool
some_skipped(struct env *e)
{
	return e->nodes[0].engine.sources->stream->skipped_seq >= 3;
}

static bool
b_has_last(struct env *e)
{
	const struct source *s = e->nodes[0].engine.sources;

	return s->stream->flows[0].processed == 8 && e->nodes[1].calls[9].items > 0 &&
	       e->nodes[0].engine.sources->stream->durable_seq == 8;
}

/* The oldest are given up; the target goes on behind them, and its subscriber learns how many it missed. */
static void
test_retention_drop(void **state)
{
	static char payload[2000];
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	mesh_v1_MessageStatus m;
	unsigned items;

	(void)state;
	memset(payload, 'x', sizeof(payload) - 1);
	handle_of(open_retention("b", 4000, 0, "drop", "accepted"));
	env.filter = env_no_data;
	for (int i = 0; i < 8; i++)
		result_of(publish(a, &chunk, payload));
	env_run(&env, some_skipped);
	assert_string_equal(a->last_event, "stream_skipped");
	assert_true(a->engine.sources->stream->ledger.total_bytes <= 3 * 4200);
	env.filter = NULL;
	subscribe_all(b, "one");
	env_run(&env, b_has_last);
	items = b->calls[9].items;
	assert_true(items < 8 && a->engine.sources->stream->skipped_seq == 8 - items);
	assert_int_equal(b->calls[9].last_seq, 8);
	assert_int_equal(a->engine.sources->stream->committed_seq, 8);
	m = status_of(ask_message(a, S1, 1, ""));
	assert_string_equal(m.state, "failed");
	m = status_of(ask_message(b, S1, 1, ""));
	assert_string_equal(m.state, "failed");
	m = status_of(ask_message(a, S1, 8, ""));
	assert_string_equal(m.state, "processed");
	/* It can be closed: nothing is missing. */
	env_close(a, 3, S1);
	env_wait(a, 3);
	env_run(&env, all_forgot);
}

static bool
one_durable(struct env *e)
{
	return e->nodes[0].engine.sources->stream->durable_seq >= 1;
}

/* Who waits for what is given up is told; so is who asks again. */
static void
test_retention_lost(void **state)
{
	static char payload[2000];
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	memset(payload, 'x', sizeof(payload) - 1);
	handle_of(open_retention("bc", 4000, 0, "drop", ""));
	env.filter = env_no_data;
	env_forget(a, 3);
	for (int i = 0; i < 8; i++) {
		env_forget(a, 10 + (uint32_t)i);
		env_publish_send(a, GC_PUBLISH, 10 + (uint32_t)i, &chunk, payload, sizeof(payload));
		if (i == 0)
			env_run(&env, one_durable);
	}
	assert_refused(env_wait(a, 10), CODE_DATA_LOSS, "not processed by b (");
	chunk.seq = 1;
	assert_refused(publish(a, &chunk, payload), CODE_DATA_LOSS, "message 1");
	env.filter = NULL;
}

static bool
four_durable(struct env *e)
{
	return e->nodes[0].engine.sources->stream->durable_seq >= 4;
}

static bool
a_gave_up(struct env *e)
{
	return e->nodes[0].engine.sources->stream->skipped_seq >= 3;
}

static bool
a_has_heard(struct env *e)
{
	const struct source *s = e->nodes[0].engine.sources;

	for (size_t i = 0; s != NULL && i < s->stream->flow_count; i++)
		if (s->stream->flows[i].state != FLOW_OPEN)
			return false;
	return e->nodes[0].engine.loaded && channel_up(e->nodes[0].gateway) && s != NULL;
}

static struct env_call *
again(const char *payload)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	struct env_call *call;

	/* The group begins anew, too: until it leads and targets have spoken, nobody knows. */
	chunk.seq = 1;
	do
		call = publish(a, &chunk, payload);
	while (call->replies == 0 && call->code == CODE_UNAVAILABLE);
	return call;
}

static bool
all_processed(struct env *e)
{
	return e->nodes[0].engine.sources->stream->committed_seq == 9;
}

static bool
both_asked(struct env *e)
{
	(void)e;
	return fake_dbs[0].store->question_count == 2;
}

static bool
both_told(struct env *e)
{
	return e->nodes[0].calls[3].items == 2;
}

/* What succeeded and lies below what was given up since succeeded after a restart, too; what was lost is. */
static void
test_retention_restart(void **state)
{
	static char payload[2000];
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	memset(payload, 'x', sizeof(payload) - 1);
	handle_of(open_retention("bc", 4000, 0, "drop", ""));
	subscribe_all(b, "one");
	subscribe_all(c, "one");
	result_of(publish(a, &chunk, "small"));
	env.filter = env_no_data;
	for (int i = 0; i < 8; i++) {
		env_forget(a, 10 + (uint32_t)i);
		env_publish_send(a, GC_PUBLISH, 10 + (uint32_t)i, &chunk, payload, sizeof(payload));
		if (i == 2)
			env_run(&env, four_durable);
	}
	env_run(&env, a_gave_up);
	env_stop(a);
	env.filter = NULL;
	env_start(a);
	env_run(&env, env_ready);
	env_run(&env, a_has_heard);
	assert_true(stream_is_unsure(a->engine.sources->stream, 2));
	result_of(again("small"));
	chunk.seq = 2;
	assert_refused(publish(a, &chunk, payload), CODE_DATA_LOSS, "message 2");
	/* Of one call results are in order, though the database is asked for the first of these. */
	env_run(&env, all_processed);
	chunk.seq = 1;
	env_forget(a, 3);
	env_publish_send(a, GC_PUBLISH_ITEM, 3, &chunk, "small", 5);
	chunk.seq = 9;
	env_publish_send(a, GC_PUBLISH_ITEM, 3, &chunk, payload, sizeof(payload));
	fake_dbs[0].hold_messages = true;
	env_run(&env, both_asked);
	assert_int_equal(a->calls[3].items, 0);
	fake_messages_go(&fake_dbs[0]);
	env_run(&env, both_told);
	assert_int_equal(a->calls[3].last_seq, 9);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_policy_refused),
	    TEST(test_accepted),
	    TEST(test_quorum),
	    TEST(test_quorum_of_rest),
	    TEST(test_expire),
	    TEST(test_digest),
	    TEST(test_digest_of_chunks),
	    TEST(test_digest_at_target),
	    cmocka_unit_test(test_digest_bad_headers),
	    TEST(test_fence),
	    TEST(test_fence_race),
	    TEST(test_retention_refused),
	    TEST(test_retention_hold),
	    TEST(test_retention_drop),
	    TEST(test_retention_lost),
	    TEST(test_retention_restart),
	    TEST(test_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
