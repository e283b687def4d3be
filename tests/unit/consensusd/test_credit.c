/* What a target grants: less the fuller it is, and the more this node is behind. */
#include "tests/unit/consensusd/give_next.h"
#include "tests/unit/consensusd/make_batch.h"

#include "consensusd/core/budget.h"
#include "consensusd/core/credit.h"
#include "consensusd/core/limits.h"
#include "consensusd/core/target.h"

#define MB ((size_t)1 << 20)

static void
test_fill(void **state)
{
	size_t last = 4 * MB;

	(void)state;
	assert_int_equal(credit_window(4 * MB, 0, 256 * MB, 0), 4 * MB);
	assert_int_equal(credit_window(4 * MB, 128 * MB, 256 * MB, 0), 4 * MB);
	assert_int_equal(credit_window(4 * MB, 128 * MB + 1, 256 * MB, 0), 2 * MB);
	assert_int_equal(credit_window(4 * MB, 256 * MB, 256 * MB, 0), 4 * MB >> CREDIT_FILL_STEPS);
	assert_int_equal(credit_window(4 * MB, 256 * MB + 1, 256 * MB, 0), 0);
	/* Never more for more, never nothing before it is full, however small all is. */
	for (size_t fill = 0; fill <= 256 * MB; fill += MB / 3) {
		size_t w = credit_window(4 * MB, fill, 256 * MB, 0);

		assert_true(w <= last && w >= FLOW_CWND_MIN_BYTES);
		last = w;
	}
	for (size_t fill = 0; fill <= 100; fill++)
		assert_true(credit_window(10, fill, 100, 1000) > 0);
	assert_int_equal(credit_window(100000, 3, 3, 0), 100000); /* too small to be divided */
}

static void
test_pressure(void **state)
{
	(void)state;
	assert_int_equal(credit_pressure(0, 0), 0);
	assert_int_equal(credit_pressure(CREDIT_LAG_MIN_MS, CREDIT_BUSY_MIN_PERMILLE), 0);
	assert_int_equal(credit_pressure(CREDIT_LAG_MAX_MS, 0), 1000);
	assert_int_equal(credit_pressure(INT64_MAX / 2000, UINT32_MAX), 1000);
	assert_int_equal(credit_pressure(0, 1000), CREDIT_BUSY_MAX_PRESSURE);
	assert_int_equal(credit_window(4 * MB, 0, 256 * MB, 1000), 4 * MB >> CREDIT_PRESSURE_STEPS);
	assert_int_equal(credit_window(4 * MB, 0, 256 * MB, CREDIT_BUSY_MAX_PRESSURE), MB);
	/* The worse of both counts, not their sum. */
	assert_int_equal(credit_window(4 * MB, 129 * MB, 256 * MB, 200), 2 * MB);
}

/* The acks of a target say so. */
static void
test_target(void **state)
{
	struct target_conf conf = {.window_bytes = 1 << 20, .backlog_bytes = 100000};
	struct budget budget = {.max_bytes = 1 << 24};
	static const uint8_t key[32];
	struct ulid id = make_id(1);
	struct target *t = target_new(&id, "t", 5, key, &conf, &budget);
	struct target_ack a;

	(void)state;
	assert_non_null(t);
	t->state = TARGET_OPEN;
	target_ack_fill(t, &a);
	assert_int_equal(a.window_bytes, 1 << 20);
	conf.pressure_permille = 400;
	target_ack_fill(t, &a);
	assert_int_equal(a.window_bytes, 1 << 18);
	conf.pressure_permille = 0;
	assert_int_equal(target_complete(t, make_batch(1, 10, 6000), (struct mono){0}), 0);
	give_next(t, MONO_ZERO);
	target_stored(t, 10, (struct mono){0});
	target_ack_fill(t, &a);
	assert_int_equal(a.window_bytes, 1 << 19);
	target_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fill),
	    cmocka_unit_test(test_pressure),
	    cmocka_unit_test(test_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
