#include "transportd/core/pathhealth.h"

#include "tests/unit/unit.h"

enum { RTO_US = 20 * 1000, QUICK_US = 20 * 1000, LATE_US = 200 * 1000 };

static struct pathhealth h;
static struct mono now;

static void
begin(void)
{
	now = (struct mono){1000000};
	pathhealth_init(&h, now);
}

static void
answer(uint32_t rtt_us, uint32_t other_us)
{
	const struct pathhealth_sample s = {
	    .rtt_us = rtt_us, .srtt_us = rtt_us, .rtt_min_us = QUICK_US, .other_us = other_us};

	pathhealth_answer(&h, &s, now);
}

/* Answers every 100 ms until it is up again; milliseconds. */
static int64_t
return_ms(void)
{
	struct mono from = now;

	while (h.state != PATHHEALTH_UP) {
		now = mono_add_ms(now, PATHHEALTH_PROBE_MS);
		answer(QUICK_US, QUICK_US);
	}
	return mono_diff_us(now, from) / 1000;
}

static void
the_hold_down_doubles(void **state)
{
	int64_t want = PATHHEALTH_HOLD_MIN_MS;

	(void)state;
	begin();
	for (int i = 0; i < 12; i++) {
		pathhealth_fail(&h, PATHHEALTH_SILENT, now);
		assert_int_equal(h.state, PATHHEALTH_SUSPECT);
		assert_in_range(return_ms(), want, want + PATHHEALTH_PROBE_MS);
		if (want < PATHHEALTH_HOLD_MAX_MS)
			want *= 2;
	}
	/* Long enough without a failure, and it begins anew. */
	now = mono_add_ms(now, PATHHEALTH_FORGET_MS);
	pathhealth_fail(&h, PATHHEALTH_LINK, now);
	assert_in_range(return_ms(), PATHHEALTH_HOLD_MIN_MS, PATHHEALTH_HOLD_MIN_MS + PATHHEALTH_PROBE_MS);
}

static void
answers_have_to_be_steady(void **state)
{
	unsigned probes = 0;

	(void)state;
	begin();
	pathhealth_fail(&h, PATHHEALTH_NOTICE, now);
	now = mono_add_ms(now, 60000);
	/* Every fifth is lost. */
	for (int i = 0; i < 200; i++) {
		now = pathhealth_next(&h);
		assert_true(pathhealth_probe(&h, RTO_US, now));
		if (++probes % PATHHEALTH_GOOD != 0)
			answer(QUICK_US, 0);
		assert_int_equal(h.state, PATHHEALTH_SUSPECT);
	}
	/* What the relay says again counts, too. */
	pathhealth_fail(&h, PATHHEALTH_NOTICE, now);
	for (int i = 0; i < 20; i++) {
		answer(QUICK_US, 0);
		if (i % 3 == 2)
			pathhealth_fail(&h, PATHHEALTH_NOTICE, now);
	}
	assert_int_equal(h.state, PATHHEALTH_SUSPECT);
	assert_int_equal(h.strikes, 1);
	(void)return_ms();
}

static void
probes_become_rare(void **state)
{
	struct mono last;
	int64_t gap = 0;

	(void)state;
	begin();
	pathhealth_fail(&h, PATHHEALTH_SILENT, now);
	for (int i = 0; i < 20; i++) {
		last = now;
		now = pathhealth_next(&h);
		assert_true(mono_diff_us(now, last) >= gap);
		gap = mono_diff_us(now, last);
		assert_false(pathhealth_probe(&h, RTO_US, mono_add_us(now, -1)));
		assert_true(pathhealth_probe(&h, RTO_US, now));
	}
	assert_int_equal(gap, PATHHEALTH_PROBE_MAX_MS * 1000);
	/* Never sooner than an answer can come. */
	now = pathhealth_next(&h);
	assert_true(pathhealth_probe(&h, 5000000, now));
	assert_int_equal(mono_diff_us(pathhealth_next(&h), now), 5000000);
	pathhealth_hurry(&h, now);
	assert_true(pathhealth_probe(&h, RTO_US, now));
	assert_int_equal(mono_diff_us(pathhealth_next(&h), now), PATHHEALTH_PROBE_MS * 1000);
}

/* A way out that does not work is known not to before it is needed. */
static void
an_unused_path_is_watched(void **state)
{
	struct mono from;

	(void)state;
	begin();
	for (int i = 0; i < 10; i++) {
		now = pathhealth_next(&h);
		assert_true(pathhealth_probe(&h, RTO_US, now));
		answer(QUICK_US, 0);
		assert_int_equal(h.state, PATHHEALTH_UP);
		assert_int_equal(mono_diff_us(pathhealth_next(&h), now), PATHHEALTH_IDLE_MS * 1000);
	}
	from = now;
	while (h.state == PATHHEALTH_UP) {
		now = pathhealth_next(&h);
		assert_true(pathhealth_probe(&h, RTO_US, now));
	}
	assert_int_equal(h.reason, PATHHEALTH_SILENT);
	assert_true(mono_diff_us(now, from) < 3 * PATHHEALTH_IDLE_MS * 1000);
}

static void
slow_is_left_for_something_better_only(void **state)
{
	(void)state;
	begin();
	/* No other is known, or it is no better: it stays, however slow. */
	for (int i = 0; i < 100; i++) {
		now = mono_add_ms(now, 20);
		answer(LATE_US, i % 2 == 0 ? 0 : LATE_US);
		assert_int_equal(h.state, PATHHEALTH_UP);
	}
	/* Late now and then is not slow. */
	for (int i = 0; i < 100; i++) {
		now = mono_add_ms(now, 20);
		answer(i % 8 == 0 ? QUICK_US : LATE_US, QUICK_US);
		assert_int_equal(h.state, PATHHEALTH_UP);
	}
	answer(QUICK_US, QUICK_US);
	for (int i = 0; i <= PATHHEALTH_SLOW_MS / 20; i++) {
		assert_int_equal(h.state, PATHHEALTH_UP);
		now = mono_add_ms(now, 20);
		answer(LATE_US, QUICK_US);
	}
	assert_int_equal(h.state, PATHHEALTH_SLOW);
	assert_int_equal(h.reason, PATHHEALTH_RTT);
	/* A little below the limit is not good enough. */
	assert_int_equal(h.limit_us, 60000);
	for (int i = 0; i < 100; i++) {
		now = mono_add_ms(now, 100);
		answer(31000, QUICK_US);
	}
	assert_int_equal(h.state, PATHHEALTH_SLOW);
	for (int i = 0; i < PATHHEALTH_GOOD; i++) {
		now = mono_add_ms(now, 100);
		answer(29000, QUICK_US);
	}
	assert_int_equal(h.state, PATHHEALTH_UP);
}

static void
its_own_queue_is_no_reason(void **state)
{
	const struct pathhealth_sample s = {
	    .rtt_us = LATE_US, .srtt_us = LATE_US, .rtt_min_us = 1, .other_us = 1, .busy = true};

	(void)state;
	begin();
	for (int i = 0; i < 100; i++) {
		now = mono_add_ms(now, 20);
		pathhealth_answer(&h, &s, now);
	}
	assert_int_equal(h.state, PATHHEALTH_UP);
}

/* A slow path is returned to when the others have become worse than it is. */
static void
the_lesser_evil(void **state)
{
	(void)state;
	begin();
	for (int i = 0; i < 20; i++) {
		now = mono_add_ms(now, 20);
		answer(LATE_US, QUICK_US);
	}
	assert_int_equal(h.state, PATHHEALTH_SLOW);
	for (int i = 0; i < 20; i++) {
		now = mono_add_ms(now, 100);
		answer(LATE_US, LATE_US);
	}
	assert_int_equal(h.state, PATHHEALTH_SLOW);
	for (int i = 0; i < PATHHEALTH_GOOD; i++) {
		now = mono_add_ms(now, 100);
		answer(LATE_US, 2 * LATE_US);
	}
	assert_int_equal(h.state, PATHHEALTH_UP);
}

static void
order_of_evils(void **state)
{
	struct pathhealth up, slow, suspect, mute, worse;

	(void)state;
	begin();
	up = slow = h;
	slow.state = PATHHEALTH_SLOW;
	pathhealth_fail(&h, PATHHEALTH_SILENT, now);
	mute = suspect = h;
	pathhealth_fail(&h, PATHHEALTH_SILENT, now);
	worse = h;
	for (int i = 0; i < 1000; i++) {
		pathhealth_fail(&suspect, PATHHEALTH_SILENT, now);
		suspect.good = 1;
	}
	assert_int_equal(pathhealth_badness(&up), 0);
	assert_true(pathhealth_badness(&slow) > pathhealth_badness(&up));
	assert_true(pathhealth_badness(&suspect) > pathhealth_badness(&slow));
	assert_true(pathhealth_badness(&mute) > pathhealth_badness(&suspect));
	assert_true(pathhealth_badness(&worse) > pathhealth_badness(&mute));
	for (unsigned i = 0; i < PATHHEALTH_STATES; i++)
		assert_true(strlen(pathhealth_name((enum pathhealth_state)i)) > 0);
	for (unsigned i = 0; i < PATHHEALTH_REASONS; i++)
		assert_true(strlen(pathhealth_reason_name((enum pathhealth_reason)i)) > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_hold_down_doubles),
	    cmocka_unit_test(answers_have_to_be_steady),
	    cmocka_unit_test(probes_become_rare),
	    cmocka_unit_test(an_unused_path_is_watched),
	    cmocka_unit_test(slow_is_left_for_something_better_only),
	    cmocka_unit_test(its_own_queue_is_no_reason),
	    cmocka_unit_test(the_lesser_evil),
	    cmocka_unit_test(order_of_evils),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
