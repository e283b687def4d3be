/* The API as gatewayd speaks it: streams, publishing, status; what is refused and what is said about it. */
#include "tests/unit/consensusd/env.h"

#include "common/base/be.h"
#include "common/base/crc32c.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"
#define M1 "01ARZ3NDEKTSV4RRFFQ69G6001"
#define M2 "01ARZ3NDEKTSV4RRFFQ69G6002"

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

	assert_int_equal(call->replies, 1);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_PublishResult_fields, &r), 0);
	assert_true(r.success);
	return r;
}

static void
assert_refused(const struct env_call *call, enum code code, const char *part)
{
	assert_int_equal(call->done, 1);
	assert_int_equal(call->code, code);
	if (strstr(call->message, part) == NULL)
		fail_msg("'%s' does not say '%s'", call->message, part);
}

/* --- streams --- */

static void
test_open(void **state)
{
	mesh_v1_StreamHandle h = mesh_v1_StreamHandle_init_zero;
	struct env_call *call = env_open(a, "one", S1, "bc");

	(void)state;
	assert_int_equal(call->replies, 1);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_StreamHandle_fields, &h), 0);
	assert_string_equal(h.stream_id, S1);
	assert_string_equal(h.tenant_id, "one");
	assert_int_equal(h.target_nodes_count, 2);
	assert_string_equal(h.status, "open");
	assert_int_equal(h.next_seq, 1);
	/* Again: the same stream; otherwise: another one. */
	assert_int_equal(env_open(a, "one", S1, "cb")->replies, 1);
	assert_refused(env_open(a, "one", S1, "b"), CODE_ALREADY_EXISTS, "other targets");
	assert_refused(env_open(a, "two", S1, "bc"), CODE_ALREADY_EXISTS, "another tenant");
	assert_int_equal(env_open(a, "one", "", "b")->replies, 1);
}

static void
test_open_refused(void **state)
{
	(void)state;
	assert_refused(env_open(a, "one", S1, "bx"), CODE_NOT_FOUND, "'x'");
	assert_refused(env_open(a, "one", S1, ""), CODE_INVALID_ARGUMENT, "1 to 16");
	assert_refused(env_open(a, "ONE", S1, "b"), CODE_INVALID_ARGUMENT, "'ONE'");
	assert_refused(env_open(a, "none", S1, "b"), CODE_FAILED_PRECONDITION, "key of tenant none");
	assert_refused(env_open(a, "one", "01ARZ", "b"), CODE_INVALID_ARGUMENT, "ULID");
	a->engine.streams_max = 0;
	assert_refused(env_open(a, "one", S1, "b"), CODE_RESOURCE_EXHAUSTED, "streams-max");
	assert_refused(env_open_meta(a, S1, "b", "\x0a\x08striping\x12\x05maybe", 17), CODE_INVALID_ARGUMENT,
	    "'on' or 'off', not 'maybe'");
	assert_refused(env_open_meta(a, S1, "b", "\x0a\x08striping", 10), CODE_INVALID_ARGUMENT,
	    "'on' or 'off', not ''");
	assert_refused(env_open_meta(a, S1, "b", "\x0a\x08strip", 7), CODE_INVALID_ARGUMENT, "metadata");
	/* Not a message at all. */
	env_forget(a, 1);
	assert_int_equal(channel_send(a->gateway, GC_OPEN_STREAM, 1, "\xff\xff\xff", 3), 0);
	assert_refused(env_wait(a, 1), CODE_INVALID_ARGUMENT, "malformed");
}

static bool
both_forgot(struct env *e)
{
	return e->nodes[0].engine.sources == NULL && e->nodes[1].engine.sinks == NULL;
}

static struct env_call *
close_stream(struct env_node *n, const char *stream)
{
	env_close(n, 3, stream);
	return env_wait(n, 3);
}

static void
test_close(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	env_open(a, "one", S1, "b");
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	result_of(publish(a, &chunk, "last words"));
	assert_int_equal(close_stream(a, S1)->replies, 1);
	env_run(&env, both_forgot);
	/* The subscription to just this stream has ended well. */
	assert_int_equal(env_wait(b, 9)->code, CODE_OK);
	assert_int_equal(fake_dbs[0].rows[0].state, STORE_STREAM_CLOSED);
	assert_int_equal(fake_dbs[1].rows[0].state, STORE_STREAM_CLOSED);
	/* Closed stays closed, and closing again is no error. */
	assert_int_equal(close_stream(a, S1)->replies, 1);
	assert_refused(env_open(a, "one", S1, "b"), CODE_ALREADY_EXISTS, "closed");
	assert_refused(publish(a, &chunk, "too late"), CODE_NOT_FOUND, S1);
	assert_refused(close_stream(a, S2), CODE_NOT_FOUND, S2);
	assert_string_equal(b->last_event, "stream_closed");
}

static void
test_close_empty(void **state)
{
	(void)state;
	env_open(a, "one", S1, "ab");
	assert_int_equal(close_stream(a, S1)->replies, 1);
	env_run(&env, both_forgot);
	assert_null(a->engine.sinks);
}

static bool
refused(struct env *e)
{
	struct source *s = e->nodes[0].engine.sources;

	return s != NULL && source_refused_flow(s) != NULL;
}

/* c has no key of tenant two: the stream is of no use until it does. */
static void
test_target_refuses(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	assert_int_equal(env_open(a, "two", S1, "bc")->replies, 1);
	env_run(&env, refused);
	assert_refused(publish(a, &chunk, "x"), CODE_FAILED_PRECONDITION, "node c has no key of tenant two");
	/* The key comes: the next question is answered, and it works. */
	keyring_dir_put(&c->dir, "tenants/two.key", KEY_B "\n", 0600);
	assert_int_equal(keyring_reload(c->keyring), 0);
	engine_transport_up(&a->engine);
	subscribe_all(b, "two");
	subscribe_all(c, "two");
	while (publish(a, &chunk, "y")->replies == 0)
		assert_int_equal(a->calls[2].code, CODE_FAILED_PRECONDITION);
	assert_int_equal(result_of(&a->calls[2]).processed_nodes_count, 2);
}

/* --- publishing --- */

static void
test_publish(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 1);
	uint8_t payload[] = "some payload";
	mesh_v1_PublishResult r;

	(void)state;
	env_open(a, "one", S1, "bc");
	subscribe_all(b, "one");
	subscribe_all(c, "one");
	be_store32(chunk.checksum.bytes, crc32c(0, payload, strlen((char *)payload)));
	chunk.checksum.size = 4;
	snprintf(chunk.message_id, sizeof(chunk.message_id), "%s", M1);
	snprintf(chunk.tenant_id, sizeof(chunk.tenant_id), "one");
	r = result_of(publish(a, &chunk, (char *)payload));
	assert_int_equal(r.seq, 1);
	assert_int_equal(r.message_id, 1);
	assert_string_equal(r.stream_id, S1);
	assert_string_equal(r.message_ulid, M1);
	assert_int_equal(r.processed_nodes_count, 2);
	assert_int_equal(b->calls[9].items, 1);
	assert_int_equal(c->calls[9].items, 1);
}

static void
test_publish_again(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	env_open(a, "one", S1, "b");
	subscribe_all(b, "one");
	snprintf(chunk.message_id, sizeof(chunk.message_id), "%s", M1);
	assert_int_equal(result_of(publish(a, &chunk, "one")).seq, 1);
	/* The same id: the same message, however it is named. */
	assert_int_equal(result_of(publish(a, &chunk, "one")).seq, 1);
	chunk.seq = 1;
	assert_int_equal(result_of(publish(a, &chunk, "one")).seq, 1);
	chunk.seq = 2;
	assert_refused(publish(a, &chunk, "one"), CODE_ALREADY_EXISTS, "message_id");
	/* The same seq, no id: the same message. */
	chunk = env_chunk(S1, 1);
	assert_int_equal(result_of(publish(a, &chunk, "one")).seq, 1);
	chunk.seq = 3;
	assert_refused(publish(a, &chunk, "three"), CODE_OUT_OF_RANGE, "the next one is 2");
	chunk.seq = 2;
	assert_int_equal(result_of(publish(a, &chunk, "two")).seq, 2);
	assert_int_equal(b->calls[9].items, 2);
}

static void
test_publish_refused(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	char *large = malloc(4128769 + 1);

	(void)state;
	assert_refused(publish(a, &chunk, "x"), CODE_NOT_FOUND, S1);
	env_open(a, "one", S1, "b");
	chunk.seq = -1;
	assert_refused(publish(a, &chunk, "x"), CODE_INVALID_ARGUMENT, "seqs begin at 1");
	chunk = env_chunk("not a stream", 0);
	assert_refused(publish(a, &chunk, "x"), CODE_INVALID_ARGUMENT, "not a ULID");
	chunk = env_chunk(S1, 0);
	snprintf(chunk.tenant_id, sizeof(chunk.tenant_id), "two");
	assert_refused(publish(a, &chunk, "x"), CODE_PERMISSION_DENIED, "two");
	chunk = env_chunk(S1, 0);
	snprintf(chunk.message_id, sizeof(chunk.message_id), "nothing");
	assert_refused(publish(a, &chunk, "x"), CODE_INVALID_ARGUMENT, "nothing");
	chunk = env_chunk(S1, 0);
	chunk.checksum.size = 4;
	assert_refused(publish(a, &chunk, "x"), CODE_DATA_LOSS, "CRC32C");
	chunk = env_chunk(S1, 0);
	chunk.total_chunks = -2;
	assert_refused(publish(a, &chunk, "x"), CODE_INVALID_ARGUMENT, "not negative");
	memset(large, 'x', 4128769);
	large[4128769] = '\0';
	chunk = env_chunk(S1, 0);
	assert_refused(publish(a, &chunk, large), CODE_INVALID_ARGUMENT, "message-max");
	free(large);
	env_forget(a, 2);
	assert_int_equal(channel_send(a->gateway, GC_PUBLISH, 2, "\x0a\x7f", 2), 0);
	assert_refused(env_wait(a, 2), CODE_INVALID_ARGUMENT, "malformed");
}

static void
test_publish_stream(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	struct env_call *call;

	(void)state;
	env_open(a, "one", S1, "b");
	subscribe_all(b, "one");
	env_forget(a, 2);
	for (int i = 0; i < 2000; i++)
		env_publish_send(a, GC_PUBLISH_ITEM, 2, &chunk, "message", 7);
	assert_int_equal(channel_send(a->gateway, GC_PUBLISH_END, 2, NULL, 0), 0);
	call = env_wait(a, 2);
	assert_int_equal(call->code, CODE_OK);
	assert_int_equal(call->items, 2000);
	assert_int_equal(call->last_seq, 2000);
	assert_false(call->out_of_order);
	assert_int_equal(b->calls[9].items, 2000);
	assert_false(b->calls[9].out_of_order);
	assert_true(fake_dbs[0].row_count == 1 && fake_dbs[0].rows[0].outbox_last_seq == 2000);
	/* An empty one ends at once. */
	env_forget(a, 2);
	assert_int_equal(channel_send(a->gateway, GC_PUBLISH_END, 2, NULL, 0), 0);
	assert_int_equal(env_wait(a, 2)->code, CODE_OK);
}

static void
test_chunks(void **state)
{
	static uint8_t part[1000000];
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	env_open(a, "one", S1, "b");
	subscribe_all(b, "one");
	/* One call: the chunks follow each other. */
	env_forget(a, 2);
	chunk.total_chunks = 4;
	for (chunk.chunk_seq = 0; chunk.chunk_seq < 4; chunk.chunk_seq++)
		env_publish_send(a, GC_PUBLISH_ITEM, 2, &chunk, part, sizeof(part));
	assert_int_equal(channel_send(a->gateway, GC_PUBLISH_END, 2, NULL, 0), 0);
	assert_int_equal(env_wait(a, 2)->code, CODE_OK);
	assert_int_equal(a->calls[2].items, 1);
	assert_true(b->calls[9].bytes > 4 * sizeof(part));
	/* Several calls: they need something in common. */
	chunk.total_chunks = 2;
	chunk.chunk_seq = 0;
	assert_refused(publish(a, &chunk, "first "), CODE_INVALID_ARGUMENT, "in common");
	snprintf(chunk.message_id, sizeof(chunk.message_id), "%s", M2);
	result_of(publish(a, &chunk, "first "));
	assert_int_equal(a->engine.assembly.count, 1);
	chunk.chunk_seq = 1;
	assert_int_equal(result_of(publish(a, &chunk, "second")).seq, 2);
	assert_int_equal(a->engine.assembly.count, 0);
	assert_refused(publish(a, &chunk, "second"), CODE_OUT_OF_RANGE, "chunk 0");
}

static bool
held(struct env *e)
{
	return e->nodes[0].calls[2].held;
}

static bool
released_and_done(struct env *e)
{
	return !e->nodes[0].calls[2].held && e->nodes[0].calls[2].items == 3000;
}

static bool
unwell(struct env *e)
{
	return !e->nodes[0].serving;
}

/* Without a database nothing is acknowledged; streaming publishers are told to wait. */
static void
test_database_away(void **state)
{
	static uint8_t payload[200];
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	env_open(a, "one", S1, "b");
	subscribe_all(b, "one");
	fake_dbs[0].away = true;
	fake_changed(&fake_dbs[0]);
	env_run(&env, unwell);
	env_forget(a, 2);
	for (int i = 0; i < 3000; i++)
		env_publish_send(a, GC_PUBLISH_ITEM, 2, &chunk, payload, sizeof(payload));
	env_run(&env, held);
	assert_int_equal(a->calls[2].items, 0);
	fake_dbs[0].away = false;
	fake_changed(&fake_dbs[0]);
	env_run(&env, released_and_done);
	assert_true(a->serving);
	assert_int_equal(a->calls[2].last_seq, 3000);
	assert_int_equal(b->calls[9].items, 3000);
}

static bool
backlogged(struct env *e)
{
	return e->nodes[0].engine.sources->stream->ledger.total_bytes > 1400000;
}

/* Nobody processes: the outbox grows to its mark, and then publishers wait or are told so. */
static void
test_backlog(void **state)
{
	static char payload[10001];
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	memset(payload, 'x', 10000);
	env_open(a, "one", S1, "b");
	env_forget(a, 2);
	for (int i = 0; i < 145; i++)
		env_publish_send(a, GC_PUBLISH_ITEM, 2, &chunk, payload, 10000);
	env_run(&env, backlogged);
	assert_true(a->calls[2].held);
	env_forget(a, 4);
	env_publish_send(a, GC_PUBLISH, 4, &chunk, payload, 10000);
	assert_refused(env_wait(a, 4), CODE_RESOURCE_EXHAUSTED, "stream-backlog");
	subscribe_all(b, "one");
	while (a->calls[2].items < 145)
		env_run(&env, env_ready);
	assert_false(a->calls[2].held);
}

static void
test_cancel(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	env_open(a, "one", S1, "b");
	env_forget(a, 2);
	env_publish_send(a, GC_PUBLISH, 2, &chunk, "kept", 4);
	assert_int_equal(channel_send(a->gateway, GC_CANCEL, 2, NULL, 0), 0);
	assert_int_equal(channel_send(a->gateway, GC_CANCEL, 55, NULL, 0), 0);
	/* What was published stays: the next one is the second. */
	subscribe_all(b, "one");
	env_forget(a, 4);
	env_publish_send(a, GC_PUBLISH, 4, &chunk, "next", 4);
	assert_int_equal(result_of(env_wait(a, 4)).seq, 2);
	assert_int_equal(a->calls[2].replies + a->calls[2].done, 0);
	assert_int_equal(b->calls[9].items, 2);
}

/* --- status --- */

static void
test_status(void **state)
{
	mesh_v1_NodeStatus st = mesh_v1_NodeStatus_init_zero;
	mesh_v1_StreamInfo info = mesh_v1_StreamInfo_init_zero;
	struct env_call *call;

	(void)state;
	env_open(a, "one", S1, "b");
	assert_int_equal(channel_send(a->gateway, GC_NODE_STATUS, 5, NULL, 0), 0);
	call = env_wait(a, 5);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_NodeStatus_fields, &st), 0);
	assert_string_equal(st.mesh_id, ENV_MESH);
	assert_string_equal(st.node_name, "a");
	assert_string_equal(st.daemons[0].name, "consensusd");
	assert_string_equal(st.daemons[0].state, "running");
	assert_int_equal(channel_send(a->gateway, GC_METRICS, 6, NULL, 0), 0);
	call = env_wait(a, 6);
	assert_true(buf_left(&call->body) > 1000);
	assert_int_equal(channel_send(a->gateway, GC_LIST_STREAMS, 7, NULL, 0), 0);
	call = env_wait(a, 7);
	assert_int_equal(call->items, 1);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_StreamInfo_fields, &info), 0);
	assert_string_equal(info.stream_id, S1);
	assert_string_equal(info.role, "source");
	assert_int_equal(info.targets_count, 1);
	assert_true(fake_dbs[0].nodes_put >= 3);
}

static bool
signed_something(struct env *e)
{
	(void)e;
	return buf_left(&env_signature) > 0;
}

/* Each sibling gets signatures of its own kind of statement only. */
static void
test_sign(void **state)
{
	(void)state;
	assert_int_equal(channel_send(a->transport, CT_SIGN, 3, "statement", 9), 0);
	env_run(&env, signed_something);
	assert_int_equal(crypto_verify(a->engine.public_key, CRYPTO_CONTEXT_HELLO, "statement", 9,
			     buf_head(&env_signature)),
	    0);
	assert_int_not_equal(
	    crypto_verify(a->engine.public_key, CRYPTO_CONTEXT_LSA, "statement", 9, buf_head(&env_signature)),
	    0);
	buf_reset(&env_signature);
	assert_int_equal(channel_send(a->router, CR_SIGN, 3, "statement", 9), 0);
	env_run(&env, signed_something);
	assert_int_equal(
	    crypto_verify(a->engine.public_key, CRYPTO_CONTEXT_LSA, "statement", 9, buf_head(&env_signature)),
	    0);
	assert_int_equal(a->identity.node_id, a->engine.self);
	assert_true(a->identity.incarnation > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_open),
	    TEST(test_open_refused),
	    TEST(test_close),
	    TEST(test_close_empty),
	    TEST(test_target_refuses),
	    TEST(test_publish),
	    TEST(test_publish_again),
	    TEST(test_publish_refused),
	    TEST(test_publish_stream),
	    TEST(test_chunks),
	    TEST(test_database_away),
	    TEST(test_backlog),
	    TEST(test_cancel),
	    TEST(test_status),
	    TEST(test_sign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
