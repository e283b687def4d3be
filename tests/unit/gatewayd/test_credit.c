/* What of a subscriber's window is passed on: exact for small ones, bounded for large ones, never lost. */
#include "tests/unit/unit.h"

#include "common/base/rng.h"
#include "gatewayd/core/credit.h"

static void
test_small_windows_pass_at_once(void **state)
{
	struct credit c = {0};

	(void)state;
	assert_int_equal(credit_refill(&c), 0);
	assert_int_equal(credit_grant(&c, 3), 3);
	for (int i = 0; i < 3; i++)
		credit_use(&c, 100);
	assert_int_equal(credit_refill(&c), 0);
	assert_int_equal(credit_grant(&c, 10), 10);
	assert_int_equal(credit_grant(&c, 0), 0);
}

static void
test_large_messages_are_few(void **state)
{
	enum { LARGE = 4 * 1024 * 1024 };
	struct credit c = {0};
	int64_t open = credit_grant(&c, INT64_MAX);

	(void)state;
	assert_int_equal(open, CREDIT_COUNT_MIN);
	for (int i = 0; i < 10000; i++) {
		credit_use(&c, LARGE);
		open += credit_refill(&c) - 1;
		assert_in_range(open, 1, CREDIT_COUNT_MIN);
	}
}

static void
test_small_messages_are_many(void **state)
{
	struct credit c = {0};
	int64_t open = credit_grant(&c, 0), most = open;

	(void)state;
	assert_true(c.unlimited);
	for (int i = 0; i < 100000; i++) {
		credit_use(&c, 300);
		open += credit_refill(&c) - 1;
		most = open > most ? open : most;
	}
	assert_int_equal(most, CREDIT_COUNT_MAX);
	/* They become large: what is open shrinks to fit within a span. */
	for (int i = 0; i < 20000; i++) {
		credit_use(&c, 1024 * 1024);
		open += credit_refill(&c) - 1;
	}
	assert_in_range(open, 1, CREDIT_QUEUE_BYTES / (1024 * 1024));
}

/* Whatever is granted and used: what is passed on in the end is what was granted. */
static void
test_nothing_is_lost(void **state)
{
	struct rng r;

	(void)state;
	rng_seed(&r, 5);
	for (int round = 0; round < 200; round++) {
		struct credit c = {0};
		int64_t granted = 1, passed = credit_grant(&c, 1), used = 0;

		for (int i = 0; i < 2000; i++) {
			int64_t more = (int64_t)rng_below(&r, 50);

			if (rng_below(&r, 10) == 0) {
				granted += more;
				passed += credit_grant(&c, more);
			}
			if (used < passed) {
				credit_use(&c, rng_below(&r, 1 << 22));
				used++;
			}
			passed += credit_refill(&c);
			assert_true(passed <= granted && passed - used == c.open);
		}
		while (used < passed) {
			credit_use(&c, 1);
			used++;
			passed += credit_refill(&c);
		}
		assert_int_equal(passed, granted);
	}
}

static void
test_overflow(void **state)
{
	struct credit c = {0};

	(void)state;
	credit_grant(&c, INT64_MAX);
	credit_grant(&c, INT64_MAX);
	assert_true(c.owed == INT64_MAX);
	/* More than was granted comes: consensusd's bug must not become ours. */
	for (int i = 0; i < 100; i++)
		credit_use(&c, 1);
	assert_true(c.open >= 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_small_windows_pass_at_once),
	    cmocka_unit_test(test_large_messages_are_few),
	    cmocka_unit_test(test_small_messages_are_many),
	    cmocka_unit_test(test_nothing_is_lost),
	    cmocka_unit_test(test_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
