/* A flow: windows, acks, loss, time-outs, and what a target may claim. */
#include "tests/unit/consensusd/make_batch.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/flow.h"
#include "consensusd/core/limits.h"

static const struct flow_conf conf = {.window_bytes = 1 << 20, .rto_min_ms = 100, .rto_max_ms = 1000};
static struct budget budget;
static struct flow flow;
static struct rng rng;

static struct mono
at_ms(int64_t ms)
{
	return (struct mono){1000000 + ms * 1000};
}

static int
setup(void **state)
{
	const struct flow_ack start = {.window_bytes = 1 << 20};

	(void)state;
	rng_seed(&rng, 1);
	budget = (struct budget){.max_bytes = 1 << 24};
	flow_init(&flow, 7, 0, &conf, &budget);
	assert_int_equal(flow_opened(&flow, &start, 0, at_ms(0)), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	flow_fini(&flow);
	assert_int_equal(budget.used_bytes, 0);
	return 0;
}

/* Sends batches of ten messages until seq upto. */
static void
send(uint64_t upto, int64_t ms)
{
	while (flow.next_seq <= upto) {
		struct batch *b = make_batch(flow.next_seq, 10, 100);

		assert_int_equal(flow_push(&flow, b, at_ms(ms)), 0);
		batch_unref(b);
	}
}

static int
ack(uint64_t stored, uint64_t processed, const uint64_t *ranges, size_t count, int64_t ms)
{
	const struct flow_ack a = {stored, processed, 1 << 20, ranges, count, 0, NULL, 0};

	return flow_acked(&flow, &a, flow.next_seq - 1, at_ms(ms));
}

static void
test_acks(void **state)
{
	(void)state;
	send(50, 0);
	assert_int_equal(flow.count, 5);
	assert_int_equal(ack(20, 10, NULL, 0, 5), 0);
	assert_int_equal(flow.count, 3);
	assert_int_equal(flow.stored, 20);
	assert_int_equal(flow.processed, 10);
	assert_in_range(flow.srtt_us, 4999, 5001);
	/* An old ack changes nothing, a partial one nothing but the mark. */
	assert_int_equal(ack(10, 10, NULL, 0, 6), 0);
	assert_int_equal(flow.stored, 20);
	assert_int_equal(ack(35, 10, NULL, 0, 6), 0);
	assert_int_equal(flow.count, 2);
	/* More than there is; more processed than stored. */
	assert_int_equal(ack(51, 10, NULL, 0, 7), ERR_RANGE);
	assert_int_equal(ack(40, 41, NULL, 0, 7), ERR_RANGE);
	assert_int_equal(ack(50, 50, NULL, 0, 8), 0);
	assert_int_equal(flow.count, 0);
	assert_true(mono_is_never(flow_deadline(&flow)));
}

static void
test_loss_by_later_arrival(void **state)
{
	const uint64_t got[] = {31, 40};

	(void)state;
	send(20, 0);
	send(40, 20);
	/* 31-40 has arrived, sent 20 ms after 1-20: these are lost, 21-30 may just be late. */
	assert_int_equal(ack(0, 0, got, 2, 30), 0);
	assert_int_equal(flow.lost_count, 2);
	assert_false(flow_room(&flow, 1));
	assert_int_equal(flow_resend(&flow, at_ms(30))->first_seq, 1);
	assert_int_equal(flow_resend(&flow, at_ms(30))->first_seq, 11);
	assert_null(flow_resend(&flow, at_ms(30)));
	assert_int_equal(flow.retransmits, 2);
	/* Loss halves the window, once. */
	assert_int_equal(flow.cwnd_bytes, (1 << 20) / 8);
	/* The target restarted and has forgotten 31-40: no range, not acknowledged any more. */
	assert_int_equal(ack(0, 0, NULL, 0, 31), 0);
	assert_false(flow.ring[flow.head + 3].sacked);
}

/* A path was left: all that is not known to have arrived goes again, and nothing else changes. */
static void
test_rerouted(void **state)
{
	const uint64_t got[] = {21, 30};

	(void)state;
	send(40, 0);
	assert_int_equal(ack(10, 0, got, 2, 2), 0);
	flow_timeout(&flow, at_ms(200), &rng);
	assert_int_equal(flow.timeouts, 1);
	(void)flow_resend(&flow, at_ms(200));
	flow.cwnd_bytes = 1 << 18;
	flow_rerouted(&flow, at_ms(210));
	assert_int_equal(flow.timeouts, 0);
	assert_int_equal(flow.cwnd_bytes, 1 << 18);
	assert_int_equal(flow.lost_count, 2);
	assert_int_equal(flow_resend(&flow, at_ms(211))->first_seq, 11);
	assert_int_equal(flow_resend(&flow, at_ms(211))->first_seq, 31);
	assert_null(flow_resend(&flow, at_ms(211)));
	assert_int_equal(ack(40, 0, NULL, 0, 214), 0);
	assert_int_equal(flow.count, 0);
	/* A target that is asked where it is, is asked now. */
	flow_reopen(&flow, at_ms(220));
	assert_true(flow_ask(&flow, at_ms(220), &rng));
	assert_false(flow_ask(&flow, at_ms(221), &rng));
	flow_rerouted(&flow, at_ms(221));
	assert_true(flow_ask(&flow, at_ms(221), &rng));
}

/* A target that came back is asked at once, soon again, and then with back-off; what was on its way goes
 * again. */
static void
test_hurry(void **state)
{
	unsigned asked = 0;

	(void)state;
	send(40, 0);
	flow_hurry(&flow, at_ms(10));
	assert_int_equal(flow.state, FLOW_OPENING);
	assert_int_equal(flow.count, 0);
	assert_int_equal(flow.next_seq, 1);
	assert_true(flow_ask(&flow, at_ms(10), &rng));
	for (unsigned ms = 11; ms <= 10 + 2 * FLOW_HURRY_MS; ms++)
		asked += flow_ask(&flow, at_ms(ms), &rng);
	assert_int_equal(asked, 1);
	for (unsigned ms = 11 + 2 * FLOW_HURRY_MS; ms <= 1000; ms++)
		asked += flow_ask(&flow, at_ms(ms), &rng);
	assert_in_range(asked, 4, 6);
}

/* Two paths, one 40 ms longer: the first time what comes late is taken for lost, later it is not. */
static void
test_reordering_is_learnt(void **state)
{
	(void)state;
	send(10, 0);
	assert_int_equal(ack(10, 0, NULL, 0, 40), 0);
	for (int64_t round = 1; round < 6; round++) {
		int64_t ms = round * 1000;
		uint64_t base = flow.stored;
		uint64_t late[] = {base + 11, base + 20};
		uint64_t before = flow.retransmits;

		send(base + 10, ms);      /* on the longer path */
		send(base + 20, ms + 30); /* on the shorter one, and there first */
		assert_int_equal(ack(base, 0, late, 2, ms + 50), 0);
		while (flow_resend(&flow, at_ms(ms + 50)) != NULL)
			;
		/* The first copy comes. */
		assert_int_equal(ack(base + 20, 0, NULL, 0, ms + 52), 0);
		assert_int_equal(flow.retransmits - before, round == 1);
	}
	assert_in_range(flow.reorder_us, 30000, 50000);
}

static void
test_timeouts(void **state)
{
	int64_t ms;

	(void)state;
	send(20, 0);
	assert_int_equal(flow_deadline(&flow).us, at_ms(100).us);
	flow_timeout(&flow, at_ms(99), &rng);
	assert_int_equal(flow.timeouts, 0);
	flow_timeout(&flow, at_ms(100), &rng);
	assert_int_equal(flow.timeouts, 1);
	assert_int_equal(flow_resend(&flow, at_ms(100))->first_seq, 1);
	assert_null(flow_resend(&flow, at_ms(100)));
	/* The time doubles; after the third the target is asked where it is. */
	assert_int_equal(flow_deadline(&flow).us, at_ms(300).us);
	flow_timeout(&flow, at_ms(300), &rng);
	assert_non_null(flow_resend(&flow, at_ms(300)));
	ms = (flow_deadline(&flow).us - 1000000) / 1000;
	assert_in_range(ms, 650, 750);
	flow_timeout(&flow, at_ms(ms), &rng);
	assert_int_equal(flow.state, FLOW_OPENING);
	assert_int_equal(flow.count, 0);
	assert_int_equal(flow.next_seq, 1);
	assert_true(flow_ask(&flow, at_ms(ms), &rng));
	assert_false(flow_ask(&flow, at_ms(ms), &rng));
	assert_false(flow_room(&flow, 1));
}

static void
test_window(void **state)
{
	struct flow_ack a = {.window_bytes = 5000};

	(void)state;
	assert_true(flow_room(&flow, 1 << 22)); /* one is always taken */
	send(10, 0);
	assert_true(flow_room(&flow, (1 << 18) - 1200));
	assert_false(flow_room(&flow, (1 << 18) - 1199));
	assert_int_equal(flow_acked(&flow, &a, 10, at_ms(1)), 0);
	assert_true(flow_room(&flow, 3800));
	assert_false(flow_room(&flow, 3801));
	/* No window, nothing in flight: the target is asked later. */
	a = (struct flow_ack){.stored = 10, .window_bytes = 0};
	assert_int_equal(flow_acked(&flow, &a, 10, at_ms(2)), 0);
	assert_false(flow_room(&flow, 1));
	assert_true(flow_deadline(&flow).us < at_ms(2000).us);
	assert_true(flow_poll(&flow, at_ms(2000), &rng));
	assert_int_equal(flow.state, FLOW_OPEN);
}

static void
test_many_in_flight(void **state)
{
	struct batch *b;

	(void)state;
	for (uint64_t seq = 1; seq <= FLOW_INFLIGHT_MAX; seq++) {
		b = make_batch(seq, 1, 1);
		assert_true(flow_room(&flow, b->body_len));
		assert_int_equal(flow_push(&flow, b, at_ms(0)), 0);
		batch_unref(b);
	}
	assert_false(flow_room(&flow, 1));
}

/* What a target says when it opens is where we go on, whatever we thought; unless it can't be. */
static void
test_opened(void **state)
{
	struct flow_ack a = {.stored = 30, .processed = 20, .window_bytes = 1};

	(void)state;
	send(50, 0);
	assert_int_equal(ack(40, 20, NULL, 0, 1), 0);
	flow_reopen(&flow, at_ms(2));
	assert_int_equal(
	    flow_acked(&flow, &(struct flow_ack){25, 10, 1, NULL, 0, 0, NULL, 0}, 50, at_ms(2)), 0);
	assert_true(flow.stored == 40 && flow.processed == 20);
	a.processed = 19;
	assert_int_equal(flow_opened(&flow, &a, 50, at_ms(3)), ERR_RANGE);
	a.processed = 31;
	assert_int_equal(flow_opened(&flow, &a, 50, at_ms(3)), ERR_RANGE);
	a.processed = 20;
	assert_int_equal(flow_opened(&flow, &a, 29, at_ms(3)), ERR_RANGE);
	assert_int_equal(flow_opened(&flow, &a, 50, at_ms(3)), 0);
	assert_int_equal(flow.next_seq, 31);
	assert_int_equal(flow.stored, 30);
	/* What was on its way before is acknowledged after all. */
	assert_int_equal(
	    flow_acked(&flow, &(struct flow_ack){50, 20, 1, NULL, 0, 0, NULL, 0}, 50, at_ms(4)), 0);
	assert_int_equal(flow.next_seq, 51);
	/* While it is asked, what it has processed is known to be there. */
	flow_reopen(&flow, at_ms(5));
	a = (struct flow_ack){.stored = 60, .processed = 55, .window_bytes = 1};
	assert_int_equal(flow_acked(&flow, &a, 60, at_ms(6)), 0);
	assert_true(flow.stored == 55 && flow.processed == 55);
}

/* A target that lost what it had while nothing is in flight: its answer shows that, an ack may be an old one.
 */
static void
test_answered(void **state)
{
	const struct flow_ack less = {.stored = 10, .processed = 5, .window_bytes = 1};
	const struct flow_ack wrong = {.stored = 60, .window_bytes = 1};

	(void)state;
	send(50, 0);
	assert_int_equal(flow_answered(&flow, &less, 50, at_ms(1)), 0);
	assert_int_equal(ack(40, 20, NULL, 0, 1), 0);
	assert_int_equal(flow_answered(&flow, &less, 50, at_ms(2)), 0);
	assert_int_equal(flow.state, FLOW_OPEN); /* the rest is on its way, and will time out */
	assert_int_equal(ack(50, 20, NULL, 0, 3), 0);
	assert_int_equal(flow_acked(&flow, &less, 50, at_ms(4)), 0);
	assert_int_equal(flow_answered(&flow, &wrong, 50, at_ms(4)), ERR_RANGE);
	assert_int_equal(flow.state, FLOW_OPEN);
	assert_int_equal(flow_answered(&flow, &less, 50, at_ms(5)), 0);
	assert_int_equal(flow.state, FLOW_OPENING);
	assert_true(flow_ask(&flow, at_ms(5), &rng));
	assert_int_equal(flow_opened(&flow, &less, 50, at_ms(6)), ERR_RANGE);
}

static void
test_refused(void **state)
{
	struct mono now = at_ms(0);

	(void)state;
	flow_refused(&flow, now, &rng);
	assert_int_equal(flow.state, FLOW_REFUSED);
	for (int i = 0; i < 20; i++) {
		now = flow_deadline(&flow);
		assert_true(flow_ask(&flow, now, &rng));
		assert_true(flow_deadline(&flow).us - now.us <= FLOW_REFUSED_MAX_MS * 1250LL);
	}
	assert_true(flow_deadline(&flow).us - now.us > FLOW_REFUSED_MAX_MS * 700LL);
	flow_hurry(&flow, now);
	assert_int_equal(flow_deadline(&flow).us, now.us);
}

/* Everything is stored, and then it is silent: acks get lost. */
static void
test_poll(void **state)
{
	struct mono when;

	(void)state;
	send(10, 0);
	assert_int_equal(ack(10, 0, NULL, 0, 1), 0);
	when = flow_deadline(&flow);
	assert_false(mono_is_never(when));
	assert_false(flow_poll(&flow, at_ms(1), &rng));
	for (int i = 0; i < 20; i++) {
		when = flow_deadline(&flow);
		assert_true(flow_poll(&flow, when, &rng));
		assert_true(flow_deadline(&flow).us - when.us <= FLOW_POLL_MAX_MS * 1250LL);
	}
	assert_true(flow_deadline(&flow).us - when.us > FLOW_POLL_MAX_MS * 700LL);
	assert_int_equal(ack(10, 10, NULL, 0, 100), 0);
	assert_true(mono_is_never(flow_deadline(&flow)));
}

static void
test_no_memory(void **state)
{
	struct batch *b = make_batch(1, 10, 100);

	(void)state;
	mem_fail_at(1);
	assert_int_equal(flow_push(&flow, b, at_ms(0)), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(flow.next_seq, 1);
	flow_later(&flow, at_ms(0));
	assert_false(mono_is_never(flow_deadline(&flow)));
	assert_int_equal(flow_push(&flow, b, at_ms(0)), 0);
	batch_unref(b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* --- a warm start --- */

enum { PATH_RTT_MS = 50, WARM_BYTES = 32 << 20 };

/* Sends WARM_BYTES of a backlog over a path of so long a round trip, in virtual time; ms until the target has
 * them. */
static int64_t
transfer(int64_t rtt_ms, size_t cwnd, int64_t srtt_us)
{
	static const struct flow_conf wide = {.window_bytes = 4 << 20, .rto_min_ms = 250, .rto_max_ms = 5000};
	const struct flow_ack start = {.window_bytes = 4 << 20};
	struct flow_ack acks[2000] = {{0}};
	int64_t ms = 0;
	uint64_t sent = 0;
	struct flow f;

	assert_true(rtt_ms < 2000);
	flow_init(&f, 7, 0, &wide, &budget);
	assert_int_equal(flow_opened(&f, &start, 0, at_ms(0)), 0);
	flow_warm(&f, cwnd, srtt_us);
	for (; f.stored * 1024 < WARM_BYTES; ms++) {
		struct flow_ack *a = &acks[ms % rtt_ms];

		if (ms >= rtt_ms && a->stored > f.stored)
			assert_int_equal(flow_acked(&f, a, sent, at_ms(ms)), 0);
		flow_timeout(&f, at_ms(ms), &rng);
		if (f.state != FLOW_OPEN)
			assert_int_equal(
			    flow_opened(&f, &(struct flow_ack){.stored = f.stored, .window_bytes = 4 << 20},
				sent, at_ms(ms)),
			    0);
		while (flow_resend(&f, at_ms(ms)) != NULL)
			;
		while (flow_room(&f, 65536)) {
			struct batch *b = make_batch(f.next_seq, 64, 1024 - BATCH_RECORD_HDR_BYTES);

			assert_int_equal(flow_push(&f, b, at_ms(ms)), 0);
			batch_unref(b);
		}
		if (f.next_seq - 1 > sent)
			sent = f.next_seq - 1;
		*a = (struct flow_ack){.stored = sent, .window_bytes = 4 << 20};
	}
	print_message("path of %d ms, %s: %d ms, %d sent again\n", (int)rtt_ms, cwnd > 0 ? "warm" : "cold",
	    (int)ms, (int)f.retransmits);
	if (cwnd > 0)
		assert_int_equal(f.retransmits, 0);
	flow_fini(&f);
	return ms;
}

/* What is remembered saves round trips at the beginning, and on a long path the time-outs of a source that
 * does not know how long it is. */
static void
test_warm_start_is_quicker(void **state)
{
	int64_t cold = transfer(PATH_RTT_MS, 0, 0), warm = transfer(PATH_RTT_MS, 2 << 20, PATH_RTT_MS * 1000);

	(void)state;
	assert_true(warm + PATH_RTT_MS <= cold);
	cold = transfer(600, 0, 0);
	warm = transfer(600, 2 << 20, 600000);
	assert_true(warm + 600 <= cold);
}

static void
test_warm_start_is_bounded(void **state)
{
	(void)state;
	/* Not below what a cold one has, not above the window. */
	flow_warm(&flow, 1, 0);
	assert_int_equal(flow.cwnd_bytes, (1 << 20) / 4);
	assert_int_equal(flow.srtt_us, 0);
	flow_warm(&flow, SIZE_MAX / 4, -5);
	assert_int_equal(flow.cwnd_bytes, 1 << 20);
	assert_int_equal(flow.srtt_us, 0);
	flow_warm(&flow, 0, INT64_MAX);
	assert_int_equal(flow.srtt_us, 1000000);
	/* Once something is known, it is left alone. */
	flow_warm(&flow, 0, 7);
	assert_int_equal(flow.srtt_us, 1000000);
	assert_false(flow_measured(&flow));
	send(10, 0);
	assert_int_equal(ack(10, 10, NULL, 0, 5), 0);
	assert_true(flow_measured(&flow));
	flow.cwnd_bytes = FLOW_CWND_MIN_BYTES;
	flow_warm(&flow, 1 << 20, 7);
	assert_int_equal(flow.cwnd_bytes, FLOW_CWND_MIN_BYTES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_acks),
	    TEST(test_loss_by_later_arrival),
	    TEST(test_rerouted),
	    TEST(test_hurry),
	    TEST(test_reordering_is_learnt),
	    TEST(test_timeouts),
	    TEST(test_window),
	    TEST(test_many_in_flight),
	    TEST(test_opened),
	    TEST(test_answered),
	    TEST(test_refused),
	    TEST(test_poll),
	    TEST(test_no_memory),
	    cmocka_unit_test_setup_teardown(test_warm_start_is_quicker, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_warm_start_is_bounded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
