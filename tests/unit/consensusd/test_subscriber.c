/* Who has a stream at its target, messages that are refused, retries, and dead letters. */
#include "tests/unit/consensusd/env.h"

#include "consensusd/limits.h"
#include "consensusd/stats.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];

static void
publish_many(struct env_node *n, uint32_t call, const char *stream, int count, size_t size)
{
	static uint8_t payload[100000];
	mesh_v1_Chunk chunk = env_chunk(stream, 0);

	if (n->calls[call].items == 0)
		env_forget(n, call);
	for (int i = 0; i < count; i++)
		env_publish_send(n, GC_PUBLISH_ITEM, call, &chunk, payload, size);
}

static unsigned wanted;

static bool
a_confirmed(struct env *e)
{
	return e->nodes[0].calls[2].items >= wanted;
}

static void
until(bool (*what)(struct env *e), unsigned count)
{
	wanted = count;
	env_run(&env, what);
}

static uint64_t
subscription_of(const struct env_call *call)
{
	mesh_v1_ClientData d = mesh_v1_ClientData_init_zero;

	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_ClientData_fields, &d), 0);
	return d.subscription;
}

static void
until_items(unsigned call, unsigned count)
{
	while (b->calls[call].items < count)
		env_run(&env, env_ready);
}

/* A subscription to a tenant goes without what is taken, and gets it when it is free; late acks do nothing.
 */
static void
test_fenced(void **state)
{
	mesh_v1_StreamSelector all = env_selector("one", ""), sel = env_selector("one", S1);
	mesh_v1_StreamAck ack = mesh_v1_StreamAck_init_zero;
	int64_t left_out = stats.left_out.value, fenced = stats.fenced.value;
	uint64_t older;

	(void)state;
	env_open(a, "one", S1, "b");
	env_open(a, "one", S2, "b");
	publish_many(a, 2, S1, 4, 10);
	env_subscribe(b, 9, &sel);
	until_items(9, 4);
	older = subscription_of(&b->calls[9]);
	env_subscribe(b, 10, &all);
	publish_many(a, 3, S2, 3, 10);
	until_items(10, 3);
	assert_int_equal(stats.left_out.value, left_out + 1);
	all.take_over = true;
	env_subscribe(b, 11, &all);
	assert_int_equal(env_wait(b, 9)->code, CODE_ABORTED);
	assert_int_equal(env_wait(b, 10)->code, CODE_ABORTED);
	until_items(11, 7);
	assert_true(subscription_of(&b->calls[11]) > older);
	/* A late ack of the one that lost it. */
	snprintf(ack.stream_id, sizeof(ack.stream_id), "%s", S1);
	ack.seq = 4;
	ack.subscription = older;
	env_forget(b, 12);
	env_send_pb(b->gateway, GC_ACK, 12, mesh_v1_StreamAck_fields, &ack);
	assert_int_equal(env_wait(b, 12)->code, CODE_FAILED_PRECONDITION);
	assert_int_equal(stats.fenced.value, fenced + 1);
	ack.subscription = subscription_of(&b->calls[11]);
	env_forget(b, 12);
	env_send_pb(b->gateway, GC_ACK, 12, mesh_v1_StreamAck_fields, &ack);
	(void)env_wait(b, 12);
	assert_int_equal(b->calls[12].replies, 1);
	until(a_confirmed, 4);
	/* A subscription that has other streams stays when it loses one; its ack of that one ends it. */
	env_subscribe(b, 9,
	    &(mesh_v1_StreamSelector){
		.tenant_id = "one", .take_over = true, .stream_ids_count = 1, .stream_ids = {S1}});
	env_ack(b, 11, S1, 4);
	assert_int_equal(env_wait(b, 11)->code, CODE_FAILED_PRECONDITION);
	/* What it had goes to who waits for it. */
	all.take_over = false;
	env_subscribe(b, 10, &all);
	until_items(10, 3);
	assert_int_equal(channel_send(b->gateway, GC_CANCEL, 9, NULL, 0), 0);
	publish_many(a, 2, S1, 1, 10);
	until_items(10, 4);
}

/* Two that name a stream which is not there yet: the first gets it, the other hears of it. */
static void
test_both_wait(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	env_subscribe(b, 9, &sel);
	env_subscribe(b, 10, &sel);
	env_open(a, "one", S1, "b");
	assert_int_equal(env_wait(b, 10)->code, CODE_ALREADY_EXISTS);
	publish_many(a, 2, S1, 1, 10);
	until_items(9, 1);
}

/* --- messages that can't be processed --- */

static mesh_v1_ClientData
last_of(unsigned call)
{
	mesh_v1_ClientData d = mesh_v1_ClientData_init_zero;

	assert_int_equal(pb_unpack(buf_head(&b->calls[call].body), buf_left(&b->calls[call].body),
			     mesh_v1_ClientData_fields, &d),
	    0);
	return d;
}

static void
open_failing(const char *stream, int max_attempts)
{
	mesh_v1_OpenClientDataStreamReq req = {.tenant_id = "one",
	    .target_nodes_count = 1,
	    .target_nodes = {"b"},
	    .max_attempts = max_attempts,
	    .retry_ms = 1};

	snprintf(req.stream_id, sizeof(req.stream_id), "%s", stream);
	env_forget(a, 1);
	env_send_pb(a->gateway, GC_OPEN_STREAM, 1, mesh_v1_OpenClientDataStreamReq_fields, &req);
	(void)env_wait(a, 1);
	assert_int_equal(a->calls[1].replies, 1);
}

static void
until_last(unsigned call, int64_t seq, int attempt)
{
	while (b->calls[call].items == 0 || last_of(call).seq != seq || last_of(call).attempt != attempt)
		env_run(&env, env_ready);
}

static struct fake_letter_list *
letters(void)
{
	return &fake_dbs[1].letters;
}

static void
test_nack(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);
	unsigned items;

	(void)state;
	open_failing(S1, 3);
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 5, 10);
	until_items(9, 5);
	assert_int_equal(last_of(9).attempt, 1);
	/* The third and what is behind it comes again, in order. */
	env_nack(b, 9, S1, 3, false);
	until_items(9, 8);
	env_nack(b, 9, S1, 3, false);
	until_items(9, 11);
	assert_int_equal(letters()->count, 0);
	/* The third time it is a dead letter; the stream goes on behind it. */
	env_ack(b, 9, S1, 2);
	until(a_confirmed, 2);
	env_nack(b, 9, S1, 3, false);
	until(a_confirmed, 3);
	assert_int_equal(letters()->count, 1);
	assert_int_equal(letters()->all[0]->dead.attempts, 3);
	assert_string_equal(letters()->all[0]->dead.error, "no 3");
	assert_int_equal(fake_dbs[1].attempts.count, 0);
	items = b->calls[9].items;
	env_ack(b, 9, S1, 5);
	until(a_confirmed, 5);
	assert_int_equal(b->calls[9].items, items);
	assert_int_equal(b->calls[9].done, 0);
	assert_int_equal(b->engine.letters, 1);
}

/* One that is not the lowest, at once: it waits for the offset; what was delivered stays delivered. */
static void
test_dead_at_once(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	open_failing(S1, 0);
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 4, 10);
	until_items(9, 4);
	env_nack(b, 9, S1, 2, true);
	env_nack(b, 9, S1, 3, true);
	env_nack(b, 9, S1, 3, false); /* of no effect */
	env_ack(b, 9, S1, 1);
	until(a_confirmed, 3);
	assert_int_equal(letters()->count, 2);
	env_ack(b, 9, S1, 4);
	until(a_confirmed, 4);
	assert_int_equal(b->calls[9].items, 4);
}

static void
test_nack_refused(void **state)
{
	mesh_v1_StreamNack in = mesh_v1_StreamNack_init_zero;
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	open_failing(S1, 0);
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 3, 10);
	until_items(9, 3);
	env_ack(b, 9, S1, 1);
	until(a_confirmed, 1);
	snprintf(in.stream_id, sizeof(in.stream_id), "%s", S1);
	for (int i = 0; i < 4; i++) {
		static const struct {
			int64_t seq, retry_ms;
			uint64_t subscription;
			uint32_t code;
		} cases[] = {{4, 0, 0, CODE_OUT_OF_RANGE}, {1, 0, 0, CODE_OUT_OF_RANGE},
		    {2, RETRY_MAX_MS + 1, 0, CODE_INVALID_ARGUMENT}, {2, 0, 5, CODE_FAILED_PRECONDITION}};

		in.seq = cases[i].seq;
		in.retry_ms = cases[i].retry_ms;
		in.subscription = cases[i].subscription;
		env_forget(b, 12);
		env_send_pb(b->gateway, GC_NACK, 12, mesh_v1_StreamNack_fields, &in);
		assert_int_equal(env_wait(b, 12)->code, cases[i].code);
	}
	/* What waits can't be acknowledged. */
	in = (mesh_v1_StreamNack){.stream_id = S1, .seq = 2, .retry_ms = RETRY_MAX_MS};
	env_forget(b, 12);
	env_send_pb(b->gateway, GC_NACK, 12, mesh_v1_StreamNack_fields, &in);
	(void)env_wait(b, 12);
	assert_int_equal(b->calls[12].replies, 1);
	env_ack(b, 9, S1, 3);
	assert_int_equal(env_wait(b, 9)->code, CODE_OUT_OF_RANGE);
}

/* Attempts are counted over restarts and takers-over, and a subscriber that goes away says nothing. */
static void
test_attempts_survive(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	open_failing(S1, 0);
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 1, 10);
	until_items(9, 1);
	env_nack(b, 9, S1, 1, false);
	until_last(9, 1, 2);
	env_nack(b, 9, S1, 1, false);
	until_last(9, 1, 3);
	while (fake_dbs[1].attempts.count == 0 || fake_dbs[1].attempts.all[0]->row.attempts != 2)
		env_run(&env, env_ready);
	sel.take_over = true;
	env_subscribe(b, 10, &sel);
	until_last(10, 1, 3);
	env_stop(b);
	b->identities = b->health = 0;
	env_start(b);
	env_run(&env, env_ready);
	env_subscribe(b, 11, &sel);
	until_last(11, 1, 3);
	env_nack(b, 11, S1, 1, false);
	until_last(11, 1, 4);
}

static bool
b_failing(struct env *e)
{
	return e->nodes[1].engine.failing == wanted && stats.failing.value == (int64_t)wanted;
}

/* A stream that stands still is counted, after a restart too, and named when it does for long. */
static void
test_failing(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);
	char text[256];

	(void)state;
	open_failing(S1, 0);
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 3, 10);
	until_items(9, 3);
	/* Others before it are not done: it holds nothing up. */
	env_nack(b, 9, S1, 3, false);
	until_last(9, 3, 2);
	assert_int_equal(b->engine.failing, 0);
	env_ack(b, 9, S1, 2);
	until(b_failing, 1);
	assert_false(sink_stuck(&b->engine, text, sizeof(text)));
	env_nack(b, 9, S1, 3, false);
	until_last(9, 3, 3);
	env_stop(b);
	assert_int_equal(stats.failing.value, 0);
	b->identities = b->health = 0;
	env_start(b);
	until(b_failing, 1);
	env_run(&env, env_ready);
	env_subscribe(b, 10, &sel);
	until_last(10, 3, 3);
	env_nack(b, 10, S1, 3, false);
	until_last(10, 3, 4);
	assert_true(sink_stuck(&b->engine, text, sizeof(text)));
	assert_non_null(
	    strstr(text, "1 streams stand still at messages that fail: message 3 of " S1 ", 3 times: no 3"));
	env_ack(b, 10, S1, 3);
	until(b_failing, 0);
	assert_false(sink_stuck(&b->engine, text, sizeof(text)));
}

/* Above dead-letters-max the stream waits, and goes on when there is room. */
static void
test_letters_full(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	open_failing(S1, 1);
	b->engine.letters_max = 1;
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 3, 10);
	until_items(9, 3);
	env_nack(b, 9, S1, 1, false);
	env_nack(b, 9, S1, 2, false);
	until(a_confirmed, 1);
	while (b->engine.letters_waiting == 0)
		env_run(&env, env_ready);
	env_ack(b, 9, S1, 3);
	env_run(&env, env_ready);
	assert_int_equal(a->calls[2].items, 1);
	sink_letters_gone(&b->engine);
	until(a_confirmed, 3);
	assert_int_equal(b->engine.letters_waiting, 0);
	assert_int_equal(letters()->count, 2);
}

/* More dead letters in a row than may wait at once. */
static void
test_many_dead(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	open_failing(S1, 1);
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, S1, 30, 10);
	until_items(9, 30);
	for (int seq = 2; seq <= 30; seq++)
		env_nack(b, 9, S1, seq, true);
	env_run(&env, env_ready);
	env_ack(b, 9, S1, 1);
	until(a_confirmed, 1 + RETRY_ITEMS_MAX);
	/* The rest was taken back, and is delivered and refused again. */
	until_items(9, 30 + 30 - 1 - RETRY_ITEMS_MAX);
	for (int seq = 2 + RETRY_ITEMS_MAX; seq <= 30; seq++)
		env_nack(b, 9, S1, seq, true);
	until(a_confirmed, 30);
	assert_int_equal(letters()->count, 29);
}

/* --- dead letters once more --- */

static struct env_call *
resolve(const char *stream, int64_t seq, const char *action)
{
	mesh_v1_ResolveStreamDeadLetterReq in = mesh_v1_ResolveStreamDeadLetterReq_init_zero;

	snprintf(in.stream_id, sizeof(in.stream_id), "%s", stream);
	snprintf(in.action, sizeof(in.action), "%s", action);
	in.seq = seq;
	env_forget(b, 12);
	env_send_pb(b->gateway, GC_RESOLVE_STREAM, 12, mesh_v1_ResolveStreamDeadLetterReq_fields, &in);
	return env_wait(b, 12);
}

static void
kill_all(const char *stream, int count)
{
	mesh_v1_StreamSelector sel = env_selector("one", stream);

	open_failing(stream, 1);
	env_subscribe(b, 9, &sel);
	publish_many(a, 2, stream, count, 10);
	until_items(9, (unsigned)count);
	for (int seq = 1; seq <= count; seq++)
		env_nack(b, 9, stream, seq, false);
	until(a_confirmed, (unsigned)count);
	assert_int_equal(letters()->count, count);
}

static void
until_letters(size_t count)
{
	while (letters()->count != count)
		env_run(&env, env_ready);
}

static void
test_replay(void **state)
{
	mesh_v1_ClientData d;

	(void)state;
	kill_all(S1, 3);
	publish_many(a, 2, S1, 1, 10);
	until_items(9, 4);
	assert_int_equal(resolve(S1, 2, "replay")->replies, 1);
	assert_int_equal(resolve(S1, 2, "replay")->replies, 1); /* twice is once */
	assert_int_equal(resolve(S1, 1, "replay")->replies, 1);
	until_items(9, 5);
	d = last_of(9);
	assert_true(d.dead_letter && d.seq == 2 && d.attempt == 2);
	assert_int_equal(resolve(S1, 2, "discard")->code, CODE_FAILED_PRECONDITION);
	/* Acknowledged by its seq, which is no ack of the stream's order. */
	env_ack(b, 9, S1, 2);
	until_letters(2);
	until_items(9, 6);
	assert_int_equal(a->calls[2].items, 3);
	d = last_of(9);
	assert_true(d.dead_letter && d.seq == 1);
	/* Refused again, it stays, and is told of no more. */
	env_nack(b, 9, S1, 1, false);
	while (letters()->all[0]->dead.attempts != 2)
		env_run(&env, env_ready);
	assert_int_equal(letters()->count, 2);
	assert_int_equal(b->engine.letters, 2);
	env_ack(b, 9, S1, 4);
	until(a_confirmed, 4);
	assert_int_equal(b->calls[9].items, 6);
}

/* What a subscriber did not answer is for the next one. */
static void
test_replay_again(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	kill_all(S1, 1);
	assert_int_equal(resolve(S1, 1, "replay")->replies, 1);
	until_items(9, 2);
	sel.take_over = true;
	env_subscribe(b, 10, &sel);
	until_items(10, 1);
	assert_true(last_of(10).dead_letter);
	env_ack(b, 10, S1, 1);
	until_letters(0);
	assert_int_equal(b->engine.letters, 0);
	assert_int_equal(resolve(S1, 1, "replay")->code, CODE_NOT_FOUND);
}

static void
test_discard(void **state)
{
	(void)state;
	kill_all(S1, 2);
	assert_int_equal(resolve(S1, 2, "forget")->code, CODE_INVALID_ARGUMENT);
	assert_int_equal(resolve("x", 2, "discard")->code, CODE_INVALID_ARGUMENT);
	assert_int_equal(resolve(S1, 5, "discard")->code, CODE_NOT_FOUND);
	assert_int_equal(resolve(S1, 2, "discard")->replies, 1);
	until_letters(1);
	assert_int_equal(b->engine.letters, 1);
	fake_dbs[1].away = true;
	fake_changed(&fake_dbs[1]);
	while (store_ready(b->engine.store))
		env_run(&env, env_ready);
	assert_int_equal(resolve(S1, 1, "discard")->code, CODE_UNAVAILABLE);
	fake_dbs[1].away = false;
	fake_changed(&fake_dbs[1]);
}

static void
test_letters_listed(void **state)
{
	mesh_v1_StreamDeadLetterReq in = {.limit = 2};
	mesh_v1_StreamDeadLetterList list = mesh_v1_StreamDeadLetterList_init_zero;
	struct pb_slice item[4];
	struct pb_raw_list rows = {.items = item, .max = 4};

	(void)state;
	kill_all(S1, 3);
	pb_raw_list_decode(&list.letters, &rows);
	env_forget(b, 12);
	env_send_pb(b->gateway, GC_STREAM_LETTERS, 12, mesh_v1_StreamDeadLetterReq_fields, &in);
	assert_int_equal(env_wait(b, 12)->replies, 1);
	assert_int_equal(pb_unpack(buf_head(&b->calls[12].body), buf_left(&b->calls[12].body),
			     mesh_v1_StreamDeadLetterList_fields, &list),
	    0);
	assert_int_equal(rows.count, 2);
}

/* A stream that nobody is needed for. */
static void
test_discarding(void **state)
{
	mesh_v1_OpenClientDataStreamReq req = {.tenant_id = "one",
	    .target_nodes_count = 1,
	    .target_nodes = {"b"},
	    .handler = "discard",
	    .stream_id = S1};
	mesh_v1_StreamSelector sel = env_selector("one", S1), all = env_selector("one", "");
	int64_t before = stats.discarded.value;

	(void)state;
	env_subscribe(b, 9, &all);
	env_subscribe(b, 10, &sel);
	env_forget(a, 1);
	env_send_pb(a->gateway, GC_OPEN_STREAM, 1, mesh_v1_OpenClientDataStreamReq_fields, &req);
	(void)env_wait(a, 1);
	assert_int_equal(env_wait(b, 10)->code, CODE_FAILED_PRECONDITION);
	publish_many(a, 2, S1, 50, 1000);
	until(a_confirmed, 50);
	assert_int_equal(b->calls[9].items, 0);
	assert_int_equal(stats.discarded.value, before + 50);
	env_subscribe(b, 10, &sel);
	assert_int_equal(env_wait(b, 10)->code, CODE_FAILED_PRECONDITION);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_fenced),
	    TEST(test_both_wait),
	    TEST(test_nack),
	    TEST(test_dead_at_once),
	    TEST(test_nack_refused),
	    TEST(test_attempts_survive),
	    TEST(test_failing),
	    TEST(test_letters_full),
	    TEST(test_many_dead),
	    TEST(test_replay),
	    TEST(test_replay_again),
	    TEST(test_discard),
	    TEST(test_letters_listed),
	    TEST(test_discarding),
	};

	stats_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
