/* Messages that failed: attempts, waits, dead letters, and what happens when there is no more room. */
#include "tests/unit/unit.h"

#include "common/base/rng.h"
#include "consensusd/core/retry.h"

static const struct mono t0 = {1000000};

static void
test_attempts(void **state)
{
	struct retry r = {0};
	struct retry_item *item = retry_fail(&r, 7, 1, "one");

	(void)state;
	assert_non_null(item);
	assert_int_equal(item->attempts, 1);
	item->saved = true;
	item->at = mono_add_ms(t0, 10);
	assert_non_null(retry_fail(&r, 5, 1, "other"));
	item = retry_fail(&r, 7, 1, "two");
	assert_int_equal(item->attempts, 2);
	assert_string_equal(item->error, "two");
	assert_false(item->saved);
	assert_null(retry_find(&r, 6));
	assert_int_equal(retry_next(&r, t0).us, mono_add_ms(t0, 10).us);
	assert_true(mono_is_never(retry_next(&r, mono_add_ms(t0, 10))));
	retry_cut(&r, 5);
	assert_null(retry_find(&r, 5));
	assert_non_null(retry_find(&r, 7));
	retry_cut(&r, UINT64_MAX - 1);
	assert_int_equal(r.count, 0);
}

static void
test_pass(void **state)
{
	static const uint64_t seqs[] = {3, 4, 6};
	struct retry r = {0};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		retry_fail(&r, seqs[i], 1, "")->dead = true;
	retry_fail(&r, 7, 1, "")->dead = false;
	assert_int_equal(retry_pass(&r, 1), 1);
	assert_int_equal(retry_pass(&r, 2), 4);
	assert_int_equal(retry_pass(&r, 5), 6);
}

static void
test_full(void **state)
{
	struct retry r = {0};

	(void)state;
	for (uint64_t seq = 1; seq <= RETRY_ITEMS_MAX; seq++)
		retry_fail(&r, seq, 1, "")->dead = seq % 2 == 0;
	/* The highest that is no dead letter is forgotten. */
	assert_non_null(retry_fail(&r, 100, 1, ""));
	assert_null(retry_find(&r, RETRY_ITEMS_MAX - 1));
	assert_non_null(retry_find(&r, RETRY_ITEMS_MAX));
	assert_int_equal(r.count, RETRY_ITEMS_MAX);
	assert_false(retry_full(&r, 1000));
	for (size_t i = 0; i < r.count; i++)
		r.items[i].dead = true;
	assert_true(retry_full(&r, 101));
	assert_false(retry_full(&r, 100));
	assert_null(retry_fail(&r, 200, 1, ""));
	assert_int_equal(retry_fail(&r, 100, UINT32_MAX, "")->attempts, UINT32_MAX);
}

static void
test_delay(void **state)
{
	struct rng rng;

	(void)state;
	rng_seed(&rng, 1);
	for (uint32_t attempts = 1; attempts < 40; attempts++) {
		uint64_t want = attempts < 10 ? UINT64_C(1000) << (attempts - 1) : RETRY_MAX_MS;
		uint64_t ms = retry_delay_ms(0, attempts, &rng);

		want = want < RETRY_MAX_MS ? want : RETRY_MAX_MS;
		assert_true(ms >= want * 85 / 100 && ms <= want * 115 / 100 && ms <= RETRY_MAX_MS);
	}
	assert_true(retry_delay_ms(RETRY_MAX_MS, UINT32_MAX, &rng) <= RETRY_MAX_MS);
	assert_in_range(retry_delay_ms(1, 1, &rng), 1, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_attempts),
	    cmocka_unit_test(test_pass),
	    cmocka_unit_test(test_full),
	    cmocka_unit_test(test_delay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
