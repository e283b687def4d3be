/* Damping of links that flap: penalties, halves, limits. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "common/base/rng.h"
#include "routerd/core/damp.h"

enum { SECOND = 1000 * 1000 };

static struct damp damp;
static unsigned seen;

static int
setup(void **state)
{
	(void)state;
	damp_init(&damp);
	return 0;
}

static struct mono
at(int64_t us)
{
	return (struct mono){us};
}

static void
see(void *arg, uint64_t a, uint64_t b)
{
	(void)arg;
	assert_true(a < b);
	seen++;
}

static unsigned
damped(void)
{
	seen = 0;
	damp_each(&damp, see, NULL);
	assert_int_equal(seen, damp.damped);
	return seen;
}

static void
test_third_time(void **state)
{
	int64_t free_at;

	(void)state;
	damp_down(&damp, 7, 3, at(0));
	damp_down(&damp, 3, 7, at(2 * SECOND));
	assert_int_equal(damped(), 0);
	assert_true(mono_is_never(damp_next(&damp)));
	damp_down(&damp, 3, 7, at(4 * SECOND));
	assert_int_equal(damped(), 1);
	/* Until it has fallen from somewhat less than 3000 to below 1000: 1.5 half-lives. */
	free_at = damp_next(&damp).us;
	printf("third time down in 4 s: damped for %.1f s\n", (double)(free_at - 4 * SECOND) / SECOND);
	assert_true(free_at > 44 * SECOND && free_at < 54 * SECOND);
	assert_false(damp_step(&damp, at(free_at - 200 * 1000)));
	assert_int_equal(damped(), 1);
	assert_true(damp_step(&damp, at(free_at)));
	assert_int_equal(damped(), 0);
	/* And then it is forgotten. */
	assert_int_equal(damp.count, 1);
	assert_false(damp_step(&damp, at(free_at + 31 * (int64_t)SECOND)));
	assert_int_equal(damp.count, 0);
}

static void
test_rare_failures_are_no_flaps(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		damp_down(&damp, 1, 2, at(i * (int64_t)60 * SECOND));
		assert_int_equal(damped(), 0);
	}
}

static void
test_ceiling(void **state)
{
	int64_t last = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		damp_down(&damp, 1, 2, at(last = i * (int64_t)SECOND));
	printf("after 1000 times: damped for %.1f s\n", (double)(damp_next(&damp).us - last) / SECOND);
	assert_true(damp_next(&damp).us - last < 90 * (int64_t)SECOND);
}

static void
test_full_table_keeps_the_worst(void **state)
{
	(void)state;
	for (int k = 0; k < 3; k++)
		damp_down(&damp, 1, 2, at(k));
	for (uint64_t i = 0; i < 4 * DAMP_LINKS_MAX; i++)
		damp_down(&damp, 100 + i, 1000000, at(10));
	assert_int_equal(damp.count, DAMP_LINKS_MAX);
	assert_int_equal(damped(), 1);
	/* More of them than it holds. */
	for (uint64_t i = 0; i < 2 * DAMP_LINKS_MAX; i++)
		for (int k = 0; k < 3; k++)
			damp_down(&damp, 100 + i, 1000000, at(20));
	assert_int_equal(damped(), DAMP_LINKS_MAX);
}

/* damp_next() is when damp_step() finds something, never much later. */
static void
test_next_is_when(void **state)
{
	struct rng rng;
	int64_t now = 0;

	(void)state;
	rng_seed(&rng, 9);
	for (int round = 0; round < 20000; round++) {
		struct mono next = damp_next(&damp);

		if (!mono_is_never(next) && rng_below(&rng, 2) != 0 && next.us >= now) {
			now = next.us;
			assert_true(damp_step(&damp, at(now)));
		} else {
			now += (int64_t)rng_below(&rng, 20 * SECOND);
			damp_down(&damp, 1 + rng_below(&rng, 3), 10, at(now));
			damp_step(&damp, at(now));
		}
		damped();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_third_time, setup),
	    cmocka_unit_test_setup(test_rare_failures_are_no_flaps, setup),
	    cmocka_unit_test_setup(test_ceiling, setup),
	    cmocka_unit_test_setup(test_full_table_keeps_the_worst, setup),
	    cmocka_unit_test_setup(test_next_is_when, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
