/* Rates and ages of streams, and throttles. */
#include "tests/unit/consensusd/make_batch.h"

#include "consensusd/core/ages.h"
#include "consensusd/core/rate.h"
#include "consensusd/core/throttle.h"

static struct mono
at_ms(int64_t ms)
{
	return (struct mono){5000000 + ms * 1000};
}

static void
test_rate(void **state)
{
	struct rate r = {0};

	(void)state;
	assert_int_equal(rate_get(&r, at_ms(0)).messages, 0);
	rate_add(&r, at_ms(100), 10, 1000);
	assert_int_equal(rate_get(&r, at_ms(200)).messages, 10);
	for (int s = 1; s < 10; s++)
		rate_add(&r, at_ms(s * 1000 + 500), 100, 5000);
	/* The second at hand does not count yet. */
	assert_int_equal(rate_get(&r, at_ms(9900)).messages, 100);
	assert_int_equal(rate_get(&r, at_ms(9900)).bytes, 5000);
	assert_int_equal(rate_get(&r, at_ms(12100)).messages, 60);
	assert_int_equal(rate_get(&r, at_ms(15100)).messages, 0);
	assert_int_equal(rate_get(&r, at_ms(99000)).messages, 0);
	rate_add(&r, at_ms(200000), 7, 70);
	assert_int_equal(rate_get(&r, at_ms(201000)).messages, 1); /* 7 in 5 s */
	assert_int_equal(r.total.messages, 917);
	assert_int_equal(r.total.bytes, 46070);
}

static void
test_ages(void **state)
{
	struct ages a = {0};

	(void)state;
	assert_true(mono_is_never(ages_after(&a, 0)));
	ages_add(&a, 10, at_ms(0));
	ages_add(&a, 20, at_ms(5)); /* shares the mark */
	ages_add(&a, 30, at_ms(50));
	assert_int_equal(ages_after(&a, 0).us, at_ms(0).us);
	assert_int_equal(ages_after(&a, 19).us, at_ms(0).us);
	assert_int_equal(ages_after(&a, 20).us, at_ms(50).us);
	assert_true(mono_is_never(ages_after(&a, 30)));
	ages_cut(&a, 20);
	assert_int_equal(ages_after(&a, 0).us, at_ms(50).us);
	ages_cut(&a, 30);
	assert_int_equal(a.count, 0);
}

/* However much there is: no message seems younger than it is, none older by more than a part. */
static void
test_ages_bounded(void **state)
{
	struct ages a = {0};

	(void)state;
	for (int i = 1; i <= 100000; i++) {
		ages_add(&a, (uint64_t)i, at_ms(i));
		assert_true(a.count <= AGES_MAX);
	}
	for (int i = 0; i < 100000; i += 999) {
		int64_t born = at_ms(i + 1).us, says = ages_after(&a, (uint64_t)i).us;

		assert_true(says <= born);
		assert_true(born - says <= 2 * a.grain_us);
	}
	assert_true(2 * a.grain_us <= 100000000 / AGES_MAX * 8);
}

/* Whatever wants to go, and in which pieces: what goes in a long time is the rate times the time. */
static void
rate_kept(int64_t messages, int64_t bytes, uint64_t piece, uint64_t size)
{
	struct mono now = at_ms(0), end = at_ms(100000);
	struct throttle t;
	uint64_t gone = 0;

	throttle_init(&t, messages, bytes, now);
	while (mono_before(now, end)) {
		if (throttle_ready(&t, now)) {
			throttle_take(&t, now, piece, piece * size);
			gone += piece;
		} else {
			struct mono next = throttle_next(&t, now);

			assert_true(mono_before(now, next));
			now = next;
		}
	}
	if (messages > 0) {
		assert_true(gone <= (uint64_t)messages * 101 + piece);
		if (bytes == 0)
			assert_true(gone + piece + 1 >= (uint64_t)messages * 100);
	}
	if (bytes > 0) {
		assert_true(gone * size <= (uint64_t)bytes * 101 + piece * size);
		if (messages == 0)
			assert_true((gone + piece + 1) * size >= (uint64_t)bytes * 100);
	}
}

static void
test_throttle_rate(void **state)
{
	(void)state;
	rate_kept(1, 0, 1, 100);
	rate_kept(10, 0, 1, 100);
	rate_kept(1000, 0, 512, 100);
	rate_kept(7, 0, 512, 100); /* far into debt each time */
	rate_kept(0, 5000000, 10, 1000);
	rate_kept(0, 1000, 1, 1000000);
	rate_kept(100, 1000, 1, 100);
	rate_kept(10, 1000000, 3, 100);
	rate_kept(100000, 100000000, 512, 256);
}

static void
test_throttle_edges(void **state)
{
	struct throttle t;

	(void)state;
	throttle_init(&t, 0, 0, at_ms(0));
	throttle_take(&t, at_ms(0), UINT64_MAX, UINT64_MAX);
	assert_true(throttle_ready(&t, at_ms(0)));
	assert_int_equal(throttle_burst_messages(&t), UINT32_MAX);
	throttle_init(&t, THROTTLE_RATE_MAX, THROTTLE_RATE_MAX, at_ms(0));
	throttle_take(&t, at_ms(0), UINT64_MAX, UINT64_MAX);
	assert_false(throttle_ready(&t, at_ms(0)));
	assert_true(throttle_ready(&t, at_ms(3700000)));
	/* An idle time gives no more than one burst. */
	throttle_init(&t, 1000, 0, at_ms(0));
	assert_true(throttle_ready(&t, at_ms(10000000)));
	throttle_take(&t, at_ms(10000000), 250, 0);
	assert_false(throttle_ready(&t, at_ms(10000000)));
	assert_int_equal(throttle_burst_messages(&t), 250);
	/* A clock that stands still or goes back gives nothing. */
	assert_false(throttle_ready(&t, at_ms(9000000)));
	/* A tenth of the rate: two seconds of debt are two seconds again; no limit: none. */
	throttle_take(&t, at_ms(10000000), 2000, 0);
	throttle_set(&t, 100, 0, at_ms(10000000));
	assert_false(throttle_ready(&t, at_ms(10001900)));
	assert_true(throttle_ready(&t, at_ms(10002100)));
	throttle_take(&t, at_ms(10002100), 10000, 0);
	throttle_set(&t, 0, 10, at_ms(10002100));
	assert_true(throttle_ready(&t, at_ms(10002100)));
	assert_int_equal(throttle_burst_bytes(&t), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rate),
	    cmocka_unit_test(test_ages),
	    cmocka_unit_test(test_ages_bounded),
	    cmocka_unit_test(test_throttle_rate),
	    cmocka_unit_test(test_throttle_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
