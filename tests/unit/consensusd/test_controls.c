/* Rules about streams: which one decides, exceptions, and streams that are paused or throttled. */
#include "tests/unit/consensusd/give_next.h"
#include "tests/unit/consensusd/make_batch.h"

#include <stdio.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/controls.h"
#include "consensusd/core/idwindow.h"
#include "consensusd/core/limits.h"
#include "consensusd/core/pending.h"
#include "consensusd/core/stream.h"
#include "consensusd/core/target.h"

static struct controls controls;
static uint64_t clock_ms;

static struct mono
at_ms(int64_t ms)
{
	return (struct mono){1000000 + ms * 1000};
}

static int
teardown(void **state)
{
	(void)state;
	controls_fini(&controls);
	return 0;
}

static struct control
rule(uint64_t stream, const char *tenant, int32_t low, int32_t high)
{
	struct control c = {.kind = CONTROL_PAUSE, .created_unix_ms = ++clock_ms};

	if (stream != 0)
		c.scope.stream_id = make_id(stream);
	snprintf(c.scope.tenant, sizeof(c.scope.tenant), "%s", tenant);
	c.scope.min_priority = low;
	c.scope.max_priority = high;
	return c;
}

static const struct control_scope *
scope(uint64_t stream, const char *tenant, int32_t low, int32_t high)
{
	static struct control c;

	c = rule(stream, tenant, low, high);
	return &c.scope;
}

static struct control *
find(uint64_t stream, const char *tenant, int32_t priority)
{
	struct ulid id = make_id(stream);

	return controls_find(&controls, CONTROL_PAUSE, CONTROL_SOURCE, &id, tenant, priority);
}

static void
add(struct control c, const char *name)
{
	snprintf(c.reason, sizeof(c.reason), "%s", name);
	assert_int_equal(controls_set(&controls, &c, at_ms(0)), 0);
}

static void
decides(const char *name, uint64_t stream, const char *tenant, int32_t priority)
{
	const struct control *c = find(stream, tenant, priority);

	assert_string_equal(c != NULL ? c->reason : "none", name);
}

static void
test_specific(void **state)
{
	(void)state;
	decides("none", 1, "t", 0);
	add(rule(0, "", INT32_MIN, INT32_MAX), "all");
	add(rule(0, "", 1, 9), "priority");
	add(rule(0, "", 4, 5), "narrow");
	add(rule(0, "t", INT32_MIN, INT32_MAX), "tenant");
	add(rule(0, "t", 7, 7), "both");
	add(rule(1, "", INT32_MIN, INT32_MAX), "stream");
	decides("stream", 1, "t", 7);
	decides("both", 2, "t", 7);
	decides("tenant", 2, "t", 4);
	decides("narrow", 2, "u", 4);
	decides("priority", 2, "u", 9);
	decides("all", 2, "u", 10);
	/* As narrow: the newer one. */
	add(rule(0, "", 5, 6), "newer");
	decides("newer", 2, "u", 5);
	decides("narrow", 2, "u", 4);
	/* Of another side or kind none speaks. */
	struct ulid id = make_id(2);
	assert_null(controls_find(&controls, CONTROL_PAUSE, CONTROL_TARGET, &id, "u", 5));
	assert_null(controls_find(&controls, CONTROL_THROTTLE, CONTROL_SOURCE, &id, "u", 5));
	id = make_id(1);
	assert_string_equal(controls_of_stream(&controls, &id)->reason, "stream");
	assert_true(
	    controls_del(&controls, CONTROL_PAUSE, CONTROL_SOURCE, scope(1, "", INT32_MIN, INT32_MAX)));
	assert_false(
	    controls_del(&controls, CONTROL_PAUSE, CONTROL_SOURCE, scope(1, "", INT32_MIN, INT32_MAX)));
	decides("both", 1, "t", 7);
}

static void
test_exceptions(void **state)
{
	struct control x = rule(1, "", INT32_MIN, INT32_MAX), other = rule(0, "u", INT32_MIN, INT32_MAX);

	(void)state;
	add(rule(0, "t", 1, 5), "tenant");
	assert_true(controls_covered(&controls, CONTROL_PAUSE, CONTROL_SOURCE, &x.scope));
	assert_false(controls_covered(&controls, CONTROL_PAUSE, CONTROL_SOURCE, &other.scope));
	assert_false(controls_covered(&controls, CONTROL_PAUSE, CONTROL_TARGET, &x.scope));
	assert_false(controls_covered(&controls, CONTROL_PAUSE, CONTROL_SOURCE, scope(0, "t", 6, 7)));
	x.exception = true;
	add(x, "exception");
	decides("none", 1, "t", 3);
	decides("tenant", 2, "t", 3);
	assert_null(controls_useless(&controls));
	assert_true(controls_del(&controls, CONTROL_PAUSE, CONTROL_SOURCE, scope(0, "t", 1, 5)));
	assert_ptr_equal(controls_useless(&controls), controls.all[0]);
}

static void
test_bounded(void **state)
{
	struct control c = rule(9999, "", INT32_MIN, INT32_MAX), *first;

	(void)state;
	for (uint64_t i = 1; i <= CONTROLS_MAX; i++)
		add(rule(i, "", INT32_MIN, INT32_MAX), "x");
	assert_int_equal(controls_set(&controls, &c, at_ms(0)), ERR_FULL);
	/* Changing one is no new one, and its bucket stays where it is. */
	c = rule(1, "", INT32_MIN, INT32_MAX);
	first = find(1, "t", 0);
	c.messages_per_s = 5;
	assert_int_equal(controls_set(&controls, &c, at_ms(0)), 0);
	assert_ptr_equal(find(1, "t", 0), first);
	assert_int_equal(first->throttle.messages.rate, 5);
}

/* --- streams --- */

static const struct stream_conf conf = {
    .flow = {.window_bytes = 100000, .rto_min_ms = 100, .rto_max_ms = 1000},
    .batch_messages = 4,
    .batch_bytes = 1000,
    .backlog_bytes = 1000000,
};
static struct budget budget;
static struct pending_pool pool;
static struct rng rng;

static struct stream *
make_stream(uint64_t n)
{
	const uint64_t targets[] = {7, 8};
	const struct flow_ack a = {.window_bytes = 100000};
	struct ulid id = make_id(n);
	struct stream *s;

	rng_seed(&rng, 1);
	budget.max_bytes = 1 << 23;
	s = stream_new(&id, "t", targets, 2, &conf, &budget);
	assert_non_null(s);
	s->state = STREAM_OPEN;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(flow_opened(&s->flows[i], &a, 0, at_ms(0)), 0);
	return s;
}

static void
give(struct stream *s, uint64_t batches)
{
	for (uint64_t i = 0; i < batches; i++) {
		s->next_seq += 4;
		s->sealed = make_batch(s->next_seq - 4, 4, 100);
		stream_given(s);
	}
	stream_durable(s, s->next_seq - 1);
}

/* Batches that go to a flow now; all that is sent is acknowledged at once. */
static uint64_t
pump(struct stream *s, size_t flow, struct mono now)
{
	struct flow *f = &s->flows[flow];
	struct stream_order o;
	uint64_t n = 0;

	while (stream_poll(s, f, now, &rng, &o) == STREAM_SEND) {
		const struct flow_ack a = {
		    .stored = f->next_seq - 1, .processed = f->next_seq - 1, .window_bytes = 100000};

		n++;
		assert_int_equal(flow_acked(f, &a, s->durable_seq, now), 0);
	}
	return n;
}

static void
test_paused_source(void **state)
{
	struct stream *s = make_stream(1);

	(void)state;
	give(s, 1);
	assert_int_equal(pump(s, 0, at_ms(1)), 1);
	stream_regulate(s, true, NULL);
	give(s, 1200);
	assert_int_equal(pump(s, 0, at_ms(2)), 0);
	assert_int_equal(pump(s, 1, at_ms(2)), 0);
	/* Targets that could take it would hold publishers: these go on, to the outbox. */
	assert_false(stream_held(s, false));
	stream_regulate(s, false, NULL);
	assert_true(stream_held(s, false));
	stream_regulate(s, true, NULL);
	/* Nothing turns in circles meanwhile. */
	assert_true(mono_before(at_ms(2), stream_deadline(s, &s->flows[0])));
	stream_regulate(s, false, NULL);
	assert_int_equal(pump(s, 0, at_ms(3)), 1200);
	assert_int_equal(pump(s, 1, at_ms(3)), 1201);
	stream_free(s, &pool);
}

/* What was lost is not sent again while the stream is paused; then it is. */
static void
test_paused_lost(void **state)
{
	struct stream *s = make_stream(1);
	struct stream_order o;

	(void)state;
	give(s, 1);
	assert_int_equal(stream_poll(s, &s->flows[0], at_ms(0), &rng, &o), STREAM_SEND);
	stream_regulate(s, true, NULL);
	assert_int_equal(stream_poll(s, &s->flows[0], at_ms(1100), &rng, &o), STREAM_IDLE);
	stream_regulate(s, false, NULL);
	assert_int_equal(stream_poll(s, &s->flows[0], at_ms(1101), &rng, &o), STREAM_SEND);
	assert_int_equal(o.batch->first_seq, 1);
	stream_free(s, &pool);
}

static void
test_throttled(void **state)
{
	struct stream *s = make_stream(1);
	struct throttle t;
	struct mono now = at_ms(0);
	uint64_t one = 0, two = 0;

	(void)state;
	throttle_init(&t, 100, 0, now);
	stream_regulate(s, false, &t);
	give(s, 500);
	while (mono_before(now, at_ms(10000))) {
		struct mono next;

		one += pump(s, 0, now);
		next = stream_deadline(s, &s->flows[0]);
		two += pump(s, 1, now);
		assert_true(mono_before(now, next));
		now = next;
	}
	/* 100 messages a second are 25 batches, and the burst; what one target got the other gets, too. */
	assert_in_range(one, 240, 258);
	assert_in_range(two, one - 2, one + 1);
	/* No limit any more. */
	stream_regulate(s, false, NULL);
	assert_int_equal(pump(s, 0, now), 500 - one);
	stream_free(s, &pool);
}

/* Two streams with one bucket: together they have its rate, and none starves. */
static void
test_shared(void **state)
{
	struct stream *s[2] = {make_stream(1), make_stream(2)};
	struct mono at[2] = {at_ms(0), at_ms(0)};
	uint64_t sent[2] = {0};
	struct throttle t;

	(void)state;
	throttle_init(&t, 400, 0, at_ms(0));
	for (int i = 0; i < 2; i++) {
		stream_regulate(s[i], false, &t);
		give(s[i], 1500);
	}
	while (mono_before(mono_min(at[0], at[1]), at_ms(10000))) {
		int i = mono_before(at[1], at[0]);

		sent[i] += pump(s[i], 0, at[i]);
		at[i] = stream_deadline(s[i], &s[i]->flows[0]);
	}
	assert_in_range(sent[0] + sent[1], 960, 1030);
	assert_true(sent[0] > 200 && sent[1] > 200);
	for (int i = 0; i < 2; i++)
		stream_free(s[i], &pool);
}

/* A batch is no larger than what may go at once; read from the outbox neither. */
static void
test_small_batches(void **state)
{
	struct stream *s = make_stream(1);
	struct idwindows ids;
	struct stream_order o;
	struct throttle t;
	uint64_t seq;

	(void)state;
	idwindows_init(&ids, 64, 64, 64, 1);
	throttle_init(&t, 8, 2000, at_ms(0));
	stream_regulate(s, false, &t);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    stream_publish(s, &pool, &ids, &(struct publish){.payload_len = 0}, &seq), PUBLISH_NEW);
	assert_int_equal(
	    stream_publish(s, &pool, &ids, &(struct publish){.payload_len = 0}, &seq), ERR_AGAIN);
	stream_drop_pending(s, &pool, &ids);
	give(s, 3);
	tail_reset(&s->tail, s->next_seq);
	assert_int_equal(stream_poll(s, &s->flows[0], at_ms(0), &rng, &o), STREAM_READ);
	assert_int_equal(o.max_bytes, 500);
	struct batch *b = make_batch(1, 4, 100), *next = make_batch(5, 4, 100);

	assert_true(stream_read(s, &s->flows[0], b, at_ms(0)));
	assert_false(stream_read(s, &s->flows[0], next, at_ms(0))); /* it is in debt */
	assert_false(stream_read(s, &s->flows[0], NULL, at_ms(0)));
	assert_int_equal(stream_poll(s, &s->flows[0], at_ms(1), &rng, &o), STREAM_IDLE);
	/* The other target may have what the first one got. */
	assert_int_equal(stream_poll(s, &s->flows[1], at_ms(1), &rng, &o), STREAM_READ);
	batch_unref(b);
	batch_unref(next);
	stream_free(s, &pool);
	pending_pool_fini(&pool);
	idwindows_fini(&ids);
}

static void
test_paused_target(void **state)
{
	static const struct target_conf tconf = {.window_bytes = 100000, .backlog_bytes = 200000};
	static const uint8_t key[32];
	struct ulid id = make_id(1);
	struct batch_record rec;
	struct target *t;
	struct target_ack a;

	(void)state;
	t = target_new(&id, "t", 5, key, &tconf, &budget);
	assert_non_null(t);
	t->state = TARGET_OPEN;
	assert_int_equal(target_complete(t, make_batch(1, 4, 100), at_ms(0)), 0);
	give_next(t, MONO_ZERO);
	target_stored(t, 4, at_ms(0));
	assert_true(target_ack_due(t, at_ms(10), &a));
	assert_true(a.window_bytes > 0);
	target_pause(t, true);
	assert_true(target_ack_due(t, at_ms(10), &a));
	assert_int_equal(a.window_bytes, 0);
	assert_int_equal(target_deliver(t, &rec), CURSOR_IDLE);
	target_pause(t, true);
	assert_false(target_ack_due(t, at_ms(10), &a));
	target_pause(t, false);
	assert_true(target_ack_due(t, at_ms(10), &a));
	assert_true(a.window_bytes > 0);
	assert_int_equal(target_deliver(t, &rec), CURSOR_RECORD);
	target_free(t);
	assert_int_equal(budget.used_bytes, 0);
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_specific),
	    TEST(test_exceptions),
	    TEST(test_bounded),
	    TEST(test_paused_source),
	    TEST(test_paused_lost),
	    TEST(test_throttled),
	    TEST(test_shared),
	    TEST(test_small_batches),
	    TEST(test_paused_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
