/* Messages that their publishers know by ids alone: what a node knows of them, whatever happens. */
#include "tests/unit/consensusd/env.h"

#include "common/base/be.h"
#include "common/base/mem.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];
static unsigned wanted;

static void
number_id(char out[ULID_TEXT_SIZE], unsigned n)
{
	struct ulid id = {{0x11}};

	be_store32(id.b + 12, n);
	ulid_format(out, &id);
}

static void
send_id(uint32_t call, const char *stream, int64_t seq, unsigned n)
{
	mesh_v1_Chunk chunk = env_chunk(stream, seq);

	number_id(chunk.message_id, n);
	env_publish_send(a, GC_PUBLISH_ITEM, call, &chunk, "x", 1);
}

static bool
a_confirmed(struct env *e)
{
	return e->nodes[0].calls[2].items >= wanted;
}

/* Publishes ids first to last, and waits until all are processed. */
static void
publish_ids(const char *stream, unsigned first, unsigned last)
{
	env_forget(a, 2);
	for (unsigned n = first; n <= last; n++)
		send_id(2, stream, 0, n);
	wanted = last - first + 1;
	env_run(&env, a_confirmed);
}

static bool
is_cleared(struct env *e)
{
	(void)e;
	return fake_dbs[0].box_counts[STORE_OUTBOX] == 0;
}

/* The seq of one that is published (again), by its id. */
static int64_t
publish_one(const char *stream, unsigned n)
{
	mesh_v1_Chunk chunk = env_chunk(stream, 0);
	mesh_v1_PublishResult r = mesh_v1_PublishResult_init_zero;
	struct env_call *call;

	number_id(chunk.message_id, n);
	env_forget(a, 3);
	env_publish_send(a, GC_PUBLISH, 3, &chunk, "x", 1);
	call = env_wait(a, 3);
	if (call->replies != 1)
		fail_msg("%u: %s", call->code, call->message);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_PublishResult_fields, &r), 0);
	return r.seq;
}

static void
restart(void)
{
	env_stop(a);
	a->identities = a->health = 0;
	env_start(a);
	env_run(&env, env_ready);
}

static void
start(const char *streams)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	b->auto_ack = true;
	env_open(a, "one", S1, "b");
	if (strcmp(streams, S1) != 0)
		env_open(a, "one", S2, "b");
	env_subscribe(b, 9, &sel);
}

/* Processed long ago, gone from outbox and memory, and after a restart: the same answer. */
static void
test_processed(void **state)
{
	(void)state;
	start(S1);
	publish_ids(S1, 1, 100);
	env_run(&env, is_cleared);
	restart();
	for (int life = 0; life < 3; life++) {
		for (unsigned n = 1; n <= 100; n += 11)
			assert_int_equal(publish_one(S1, n), n);
		restart();
	}
	assert_int_equal(publish_one(S1, 101), 101);
	assert_int_equal(b->calls[9].items, 101);
}

/* Ids of other streams, and those that are given along with the seq, take nothing of it. */
static void
test_others(void **state)
{
	(void)state;
	start(S2);
	publish_ids(S1, 1, 50);
	env_forget(a, 2);
	for (unsigned n = 1; n <= 300; n++)
		send_id(2, S2, n, 1000 + n);
	wanted = 300;
	env_run(&env, a_confirmed);
	assert_int_equal(a->engine.ids.total, 50);
	publish_ids(S2, 2000, 2400);
	/* The same id is another message in another stream. */
	assert_int_equal(publish_one(S2, 1), 702);
	for (int life = 0; life < 2; life++) {
		assert_int_equal(publish_one(S1, 1), 1);
		assert_int_equal(publish_one(S1, 50), 50);
		/* The newest 256. */
		assert_int_equal(publish_one(S2, 2400), 701);
		assert_int_equal(publish_one(S2, 1), 702);
		restart();
	}
	assert_int_equal(source_find(&a->engine, &a->engine.sources->row.stream_id)->ids_known, true);
}

static bool
pruned(struct env *e)
{
	(void)e;
	return fake_dbs[0].ids_count < 40;
}

/* The database keeps no more than a window, and a little. */
static void
test_pruned(void **state)
{
	(void)state;
	start(S1);
	for (unsigned n = 0; n < 100; n++)
		publish_ids(S1, 1 + n * 10, 10 + n * 10);
	env_run(&env, pruned);
	assert_true(fake_dbs[0].ids_count >= 25);
	assert_int_equal(a->engine.ids.total, 256);
	restart();
	assert_int_equal(publish_one(S1, 1000), 1000);
	assert_int_equal(publish_one(S1, 745), 745);
	assert_int_equal(a->engine.ids.total, 256);
	/* This one is forgotten. */
	assert_int_equal(publish_one(S1, 1), 1001);
}

/* As long as the ids can't be read, nothing is published by them. */
static void
test_not_read(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	struct env_call *call;

	(void)state;
	start(S1);
	publish_ids(S1, 1, 20);
	fake_dbs[0].hold_ids = true;
	restart();
	number_id(chunk.message_id, 7);
	for (int i = 0; i < 3; i++) {
		env_forget(a, 3);
		env_publish_send(a, GC_PUBLISH, 3, &chunk, "x", 1);
		call = env_wait(a, 3);
		assert_int_equal(call->code, CODE_UNAVAILABLE);
		assert_non_null(strstr(call->message, "try again"));
	}
	/* Those who name the seq need not wait. */
	env_forget(a, 2);
	send_id(2, S1, 21, 21);
	wanted = 1;
	env_run(&env, a_confirmed);
	fake_dbs[0].hold_ids = false;
	do {
		env_forget(a, 3);
		env_publish_send(a, GC_PUBLISH, 3, &chunk, "x", 1);
		call = env_wait(a, 3);
	} while (call->code == CODE_UNAVAILABLE);
	assert_int_equal(publish_one(S1, 7), 7);
	assert_int_equal(publish_one(S1, 22), 22);
	assert_int_equal(b->calls[9].items, 22);
}

/* The same when memory is short. */
static void
test_no_memory(void **state)
{
	(void)state;
	start(S1);
	publish_ids(S1, 1, 20);
	restart();
	source_free(a->engine.sources);
	assert_int_equal(a->engine.ids.total, 0);
	assert_int_equal(source_load(&a->engine, &fake_dbs[0].rows[0]), 0);
	assert_false(source_knows_ids(a->engine.sources));
	for (unsigned k = 1; !source_knows_ids(a->engine.sources); k++) {
		mem_fail_at(k);
		source_read_ids(a->engine.sources);
		mem_fail_at(0);
		a->engine.sources->ids_again = MONO_ZERO;
	}
	assert_int_equal(a->engine.ids.total, 20);
}

/* --- where is it? --- */

static bool
forgot(struct env *e)
{
	return e->nodes[0].engine.sources == NULL;
}

static void
check_status(int64_t seq, unsigned n)
{
	mesh_v1_MessageStatusReq req = {.stream_id = S1, .seq = seq};
	mesh_v1_MessageStatus m = mesh_v1_MessageStatus_init_zero;
	char id[ULID_TEXT_SIZE];
	struct env_call *call;

	number_id(id, n);
	if (seq == 0)
		number_id(req.message_id, n);
	env_forget(a, 6);
	env_send_pb(a->gateway, GC_MESSAGE, 6, mesh_v1_MessageStatusReq_fields, &req);
	call = env_wait(a, 6);
	if (call->replies != 1)
		fail_msg("%u: %s", call->code, call->message);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_MessageStatus_fields, &m), 0);
	assert_int_equal(m.seq, n);
	assert_string_equal(m.message_id, id);
	assert_string_equal(m.state, "processed");
}

/* It has left outbox and memory, and is found by its id all the same. */
static void
test_status(void **state)
{
	mesh_v1_StreamHandle h = {.stream_id = S1};

	(void)state;
	start(S1);
	publish_ids(S1, 1, 30);
	env_run(&env, is_cleared);
	for (int life = 0; life < 2; life++) {
		check_status(0, 7);
		check_status(7, 7);
		restart();
	}
	/* Also when the stream is closed. */
	env_send_pb(a->gateway, GC_CLOSE_STREAM, 4, mesh_v1_StreamHandle_fields, &h);
	env_wait(a, 4);
	env_run(&env, forgot);
	check_status(0, 7);
	assert_int_equal(a->engine.ids.total, 0);
}

/* A number that is taken by another message, as far as the window knows. */
static void
test_taken(void **state)
{
	(void)state;
	start(S1);
	publish_ids(S1, 1, 10);
	restart();
	env_forget(a, 2);
	send_id(2, S1, 5, 6);
	assert_int_equal(env_wait(a, 2)->code, CODE_ALREADY_EXISTS);
	env_forget(a, 2);
	send_id(2, S1, 5, 5);
	wanted = 1;
	env_run(&env, a_confirmed);
	/* One that has an id of its own: nobody could know it, so it is ours. */
	env_forget(a, 2);
	send_id(2, S1, 5, 77);
	assert_int_equal(env_wait(a, 2)->code, CODE_ALREADY_EXISTS);
}

static int
setup(void **state)
{
	env_settings = " dedupe-window 256\n";
	return env_setup(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_processed),
	    TEST(test_others),
	    TEST(test_pruned),
	    TEST(test_not_read),
	    TEST(test_no_memory),
	    TEST(test_status),
	    TEST(test_taken),
	};

	stats_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
