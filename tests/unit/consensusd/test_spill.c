/*
 * Batches in Redis: what a source reads back from a real server, of this life and of the one before; and that
 * nothing is lost or doubled when the server is killed, emptied, hung or lies.
 */
#include "tests/unit/consensusd/env.h"

#include "consensusd/cache_redis.h"
#include "consensusd/limits.h"
#include "consensusd/spill.h"
#include "tests/unit/consensusd/redis_server.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define KEY "queue:stream:" S1

enum { MESSAGE_BYTES = 2000, MESSAGES = 200 };

static struct redis_server server;
static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];
static unsigned wanted;
static int64_t before_read, before_missed, before_rejected, before_put;

static int
setup(void **state)
{
	static char settings[256];

	redis_server_init(&server);
	redis_server_start(&server);
	snprintf(settings, sizeof(settings), " redis-socket \"%s\"\n redis-queue-max 2MB\n", server.path);
	env_settings = settings;
	before_read = stats.redis_queue_read.value;
	before_missed = stats.redis_queue_missed.value;
	before_rejected = stats.redis_rejected.value;
	before_put = stats.redis_queue_put.value;
	return env_setup(state);
}

static int
teardown(void **state)
{
	int err = env_teardown(state);

	redis_server_fini(&server);
	return err;
}

static struct source *
the_source(void)
{
	struct source *s = a->engine.sources;

	assert_non_null(s);
	return s;
}

static bool
a_counted(struct env *e)
{
	(void)e;
	return the_source()->spill.state == SPILL_COUNTED;
}

static bool
a_durable(struct env *e)
{
	(void)e;
	return a->engine.sources != NULL && the_source()->stream->durable_seq >= wanted;
}

static bool
a_put(struct env *e)
{
	(void)e;
	return stats.redis_queue_put.value - before_put >= wanted;
}

static bool
b_stored(struct env *e)
{
	(void)e;
	return b->up && b->engine.sinks != NULL && b->engine.sinks->target->stored_seq >= wanted;
}

static bool
a_processed(struct env *e)
{
	(void)e;
	return a->engine.sources != NULL && the_source()->stream->committed_seq >= wanted;
}

static bool
b_has(struct env *e)
{
	(void)e;
	return b->calls[9].items >= wanted;
}

static void
until(bool (*what)(struct env *e), unsigned count)
{
	wanted = count;
	env_run(&env, what);
}

/* b is gone, and a knows that. */
static void
b_away(void)
{
	uint64_t id = b->engine.self;

	env_stop(b);
	nodes_find(&a->engine.nodes, id)->status = NODE_STATUS_UNREACHABLE;
}

static bool
b_known(struct env *e)
{
	const struct node *n = nodes_find(&a->engine.nodes, b->engine.self);

	(void)e;
	return n != NULL && n->status == NODE_STATUS_ALIVE;
}

static void
b_back(void)
{
	env_start(b);
	env_run(&env, env_ready);
	env_directory(a);
	env_run(&env, b_known);
}

/* One message at a time, so that there are many batches. */
static void
publish(unsigned count)
{
	static uint8_t payload[MESSAGE_BYTES];
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	unsigned from = (unsigned)the_source()->stream->durable_seq;

	env_forget(a, 2);
	for (unsigned i = 1; i <= count; i++) {
		memset(payload, (int)(from + i), sizeof(payload));
		env_publish_send(a, GC_PUBLISH_ITEM, 2, &chunk, payload, sizeof(payload));
		if (i % 5 == 0)
			until(a_durable, from + i);
	}
	until(a_durable, from + count);
}

/* So many nodes are connected: before that nothing is put there, and the backlog fills. */
static void
await_connected(long nodes)
{
	while (redis_server_cli(&server, 0, "client list | grep -c cmd=") <= nodes)
		env_run(&env, env_ready);
}

/* What is published while b is away is in Redis, but for the first messages: what is there is counted first.
 */
static void
publish_away(void)
{
	assert_int_equal(env_open(a, "one", S1, "b")->replies, 1);
	await_connected(3);
	b_away();
	while (the_source()->spill.state == SPILL_NEW)
		publish(5);
	env_run(&env, a_counted);
	before_put = stats.redis_queue_put.value;
	publish(MESSAGES);
	until(a_put, 10);
}

/* Goes on at b, and sees that all came, once and in order, with the right content. */
static void
deliver(void)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);
	unsigned count = (unsigned)the_source()->stream->durable_seq;

	if (!b->up)
		b_back();
	/* Somebody takes it: it may be more than an inbox holds. */
	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
	until(b_stored, count);
	until(b_has, count);
	until(a_processed, count);
	assert_int_equal(b->calls[9].items, count);
	assert_int_equal(b->calls[9].last_seq, count);
	assert_false(b->calls[9].out_of_order);
}

static int64_t
batches_read(void)
{
	return stats.redis_queue_read.value - before_read;
}

static void
restart_a(void)
{
	env_stop(a);
	env_start(a);
	env_run(&env, env_ready);
	env_run(&env, a_counted);
}

/* --- what it is for --- */

static void
test_read_back_after_restart(void **state)
{
	(void)state;
	publish_away();
	restart_a();
	deliver();
	assert_true(batches_read() > 10);
	/* What all have processed goes, and the counters know. */
	while (redis_server_cli(&server, 0, "exists " KEY) != 0)
		env_run(&env, env_ready);
	assert_int_equal(stats.redis_queue.value, 0);
	assert_int_equal(stats.redis_rejected.value, before_rejected);
}

static bool
a_trimmed(struct env *e)
{
	engine_wake(&a->engine);
	(void)e;
	return a->engine.sources->stream->tail.bytes <= 65536;
}

/* The target is there, as far as anybody knows; memory is short. */
static void
test_read_back_what_was_trimmed(void **state)
{
	size_t max = a->engine.budget.max_bytes;

	(void)state;
	assert_int_equal(env_open(a, "one", S1, "b")->replies, 1);
	await_connected(3);
	env_stop(b);
	publish(MESSAGES);
	a->engine.budget.max_bytes = 1;
	/* The first that is dropped has what is there counted. */
	env_run(&env, a_trimmed);
	env_run(&env, a_counted);
	a->engine.budget.max_bytes = max;
	publish(80);
	a->engine.budget.max_bytes = 1;
	before_put = stats.redis_queue_put.value;
	env_run(&env, a_trimmed);
	assert_true(stats.redis_queue_put.value > before_put);
	a->engine.budget.max_bytes = max;
	deliver();
	assert_true(batches_read() > 0);
}

static void
test_bounded(void **state)
{
	char command[128];
	long bytes;

	(void)state;
	publish_away();
	publish(MESSAGES); /* 800 KB in all; a stream has a quarter of 2 MB */
	snprintf(command, sizeof(command), "memory usage " KEY);
	bytes = redis_server_cli(&server, 0, command);
	assert_in_range(bytes, 256 << 10, 768 << 10);
	assert_in_range(stats.redis_queue.value, 256 << 10, 512 << 10);
	bytes = redis_server_cli(&server, 0, "ttl " KEY);
	assert_in_range(bytes, SPILL_TTL_S - 60, SPILL_TTL_S);
	/* The oldest have to come from the outbox, then the newest from here. */
	restart_a();
	deliver();
	assert_true(batches_read() > 10);
}

/* --- a server that fails --- */

static void
test_emptied(void **state)
{
	(void)state;
	publish_away();
	restart_a();
	redis_server_cli(&server, 0, "flushall");
	deliver();
	assert_int_equal(batches_read(), 0);
	assert_true(stats.redis_queue_missed.value > before_missed);
}

static void
test_killed(void **state)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	(void)state;
	publish_away();
	restart_a();
	redis_server_kill(&server);
	deliver();
	assert_int_equal(batches_read(), 0);
	/* It comes back empty, and is used again. */
	b_away();
	redis_server_start(&server);
	await_connected(2);
	before_put = stats.redis_queue_put.value;
	while (stats.redis_queue_put.value == before_put)
		publish(5);
	restart_a();
	env_forget(b, 9);
	b_back();
	env_subscribe(b, 9, &sel); /* it may be more than fits into its inbox */
	until(b_stored, (unsigned)the_source()->stream->durable_seq);
}

/* It hangs when it is asked: the outbox is read instead, after a moment; what it says then is not wanted. */
static void
test_hung(void **state)
{
	(void)state;
	publish_away();
	restart_a();
	kill(server.pid, SIGSTOP);
	deliver();
	assert_int_equal(batches_read(), 0);
	assert_true(stats.redis_queue_missed.value > before_missed);
	kill(server.pid, SIGCONT);
	publish(20);
	until(a_processed, (unsigned)the_source()->stream->durable_seq);
	assert_false(b->calls[9].out_of_order);
}

/* --- a server that lies --- */

/* What a script in Redis does to each batch: s is what was put there, score its seq. */
static void
tamper(const char *script)
{
	char command[900];

	snprintf(command, sizeof(command),
	    "eval \"local m=redis.call('zrange',KEYS[1],0,-1,'withscores') for i=1,#m,2 do local s=m[i] "
	    "local score=m[i+1] redis.call('zrem',KEYS[1],s) %s redis.call('zadd',KEYS[1],score,s) end "
	    "return 7\""
	    " 1 " KEY,
	    script);
	assert_int_equal(redis_server_cli(&server, 0, command), 7);
}

static void
check_lie(const char *script)
{
	publish_away();
	restart_a();
	tamper(script);
	deliver();
	assert_int_equal(batches_read(), 0);
	assert_true(stats.redis_rejected.value > before_rejected);
}

static void
test_payload_changed(void **state)
{
	(void)state;
	check_lie("s=s:sub(1,1000)..string.char((s:byte(1001)+1)%256)..s:sub(1002)");
}

static void
test_epoch_changed(void **state)
{
	(void)state;
	check_lie("s=s:sub(1,50)..string.char((s:byte(51)+1)%256)..s:sub(52)");
}

static void
test_cut(void **state)
{
	(void)state;
	check_lie("s=s:sub(1,9000)");
}

static void
test_emptied_batches(void **state)
{
	(void)state;
	check_lie("s='x'..score");
}

/* Right batches at wrong places are of no use, and do no harm. */
static void
test_shuffled(void **state)
{
	(void)state;
	publish_away();
	restart_a();
	tamper("score=500-score");
	deliver();
}

/* The server holds one that is larger than any that was put there: the connection ends. */
static void
test_too_large(void **state)
{
	(void)state;
	publish_away();
	restart_a();
	tamper("s=s:rep(90)");
	deliver();
	assert_int_equal(batches_read(), 0);
}

/* This life's batches are believed by this process's mark alone: a right signature is not enough, so what an
 * older life has signed with the same seqs can't come back. */
static void
test_mark_is_needed(void **state)
{
	(void)state;
	publish_away();
	tamper("s=string.rep('x',32)..s:sub(33)");
	/* Read although nothing was restarted: all is dropped from memory. */
	tail_reset(&the_source()->stream->tail, the_source()->stream->tail.next_seq);
	deliver();
	assert_int_equal(batches_read(), 0);
	assert_true(stats.redis_rejected.value > before_rejected);
}

/* The same without a lie: it would have been read. */
static void
test_mark_is_enough(void **state)
{
	(void)state;
	publish_away();
	tail_reset(&the_source()->stream->tail, the_source()->stream->tail.next_seq);
	deliver();
	assert_true(batches_read() > 10);
}

/* After the database went back in time. */
static void
test_distrust(void **state)
{
	(void)state;
	publish_away();
	restart_a();
	spill_distrust(&a->engine);
	deliver();
	assert_int_equal(batches_read(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_read_back_after_restart, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_read_back_what_was_trimmed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_emptied, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_hung, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_payload_changed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_epoch_changed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_emptied_batches, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_shuffled, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_mark_is_needed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_mark_is_enough, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_distrust, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
