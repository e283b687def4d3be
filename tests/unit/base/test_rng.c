/* The generator: known sequence, uniform ranges, bounds of the jitter; and the back-off on it. */
#include "tests/unit/unit.h"

#include "common/base/backoff.h"
#include "common/base/rng.h"

static void
test_known_sequence(void **state)
{
	/* First outputs of xoshiro256** from the state 1, 2, 3, 4, by hand from its definition. */
	static const uint64_t want[] = {11520, 0, 1509978240, 1215971899390074240};
	struct rng r = {{1, 2, 3, 4}};

	(void)state;
	for (size_t i = 0; i < COUNT(want); i++)
		assert_true(rng_u64(&r) == want[i]);
}

static void
test_seeds_differ_and_repeat(void **state)
{
	struct rng a, b, c;

	(void)state;
	rng_seed(&a, 0);
	rng_seed(&b, 0);
	rng_seed(&c, 1);
	/* splitmix64's first output for seed 0 */
	assert_true(a.s[0] == 0xe220a8397b1dcdaf);
	for (int i = 0; i < 100; i++) {
		uint64_t v = rng_u64(&a);

		assert_true(v == rng_u64(&b));
		assert_true(v != rng_u64(&c));
	}
}

static void
test_below_is_uniform(void **state)
{
	unsigned seen[7] = {0};
	struct rng r;

	(void)state;
	rng_seed(&r, 3);
	for (int i = 0; i < 70000; i++)
		seen[rng_below(&r, COUNT(seen))]++;
	for (size_t i = 0; i < COUNT(seen); i++)
		assert_in_range(seen[i], 9600, 10400);
	assert_true(rng_below(&r, 1) == 0);
	for (int i = 0; i < 100; i++)
		assert_true(rng_below(&r, UINT64_MAX) != UINT64_MAX);
}

static void
test_jitter_stays_inside(void **state)
{
	static const int64_t values[] = {
	    0, 1, -1, 3, 100, 1000, -1000, 1000000007, INT64_MAX, INT64_MIN, INT64_MAX / 2};
	struct rng r;

	(void)state;
	rng_seed(&r, 9);
	for (size_t i = 0; i < COUNT(values); i++) {
		int64_t v = values[i], span = v / 4 < 0 ? -(v / 4) : v / 4;

		for (int k = 0; k < 1000; k++) {
			int64_t got = rng_jitter(&r, v, 25);

			assert_true(v < INT64_MIN + span || got >= v - span - 1);
			assert_true(v > INT64_MAX - span || got <= v + span + 1);
		}
		assert_true(rng_jitter(&r, v, 0) == v);
	}
}

static void
test_jitter_reaches_both_ends(void **state)
{
	int64_t low = INT64_MAX, high = INT64_MIN;
	struct rng r;

	(void)state;
	rng_seed(&r, 10);
	for (int i = 0; i < 2000; i++) {
		int64_t got = rng_jitter(&r, 100, 10);

		low = got < low ? got : low;
		high = got > high ? got : high;
	}
	assert_int_equal(low, 90);
	assert_int_equal(high, 110);
}

static void
test_backoff_doubles_to_its_limit(void **state)
{
	static const uint32_t want[] = {200, 400, 800, 1600, 3200, 6400, 10000, 10000};
	struct backoff b;
	struct rng r;

	(void)state;
	rng_seed(&r, 1);
	backoff_init(&b, 200, 10000);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < COUNT(want); i++) {
			assert_int_equal(b.next_ms, want[i]);
			assert_in_range(
			    backoff_next_ms(&b, &r), want[i] - want[i] / 4, want[i] + want[i] / 4);
		}
		backoff_reset(&b);
	}
	while (b.next_ms < 6400)
		(void)backoff_next_ms(&b, &r);
	backoff_ease(&b, 0);
	assert_int_equal(b.next_ms, 6400);
	backoff_ease(&b, 2);
	assert_int_equal(b.next_ms, 1600);
	backoff_ease(&b, 4);
	assert_int_equal(b.next_ms, 200);
	while (b.next_ms < 6400)
		(void)backoff_next_ms(&b, &r);
	backoff_ease(&b, UINT64_MAX);
	assert_int_equal(b.next_ms, 200);
}

static void
test_backoff_of_odd_limits(void **state)
{
	struct backoff b;
	struct rng r;

	(void)state;
	rng_seed(&r, 1);
	backoff_init(&b, 0, 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(backoff_next_ms(&b, &r), 1);
	backoff_init(&b, 5000, 100);
	assert_int_equal(b.max_ms, 5000);
	backoff_init(&b, UINT32_MAX, UINT32_MAX);
	for (int i = 0; i < 20; i++)
		assert_true(backoff_next_ms(&b, &r) >= UINT32_MAX / 4 * 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_known_sequence),
	    cmocka_unit_test(test_seeds_differ_and_repeat),
	    cmocka_unit_test(test_below_is_uniform),
	    cmocka_unit_test(test_jitter_stays_inside),
	    cmocka_unit_test(test_jitter_reaches_both_ends),
	    cmocka_unit_test(test_backoff_doubles_to_its_limit),
	    cmocka_unit_test(test_backoff_of_odd_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
