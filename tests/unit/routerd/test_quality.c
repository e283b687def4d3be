/* Links that become bad, and well again. */
#include "routerd/core/quality.h"

#include "routerd/core/lsa.h"
#include "tests/unit/unit.h"

static struct {
	uint64_t neighbour;
	bool degraded;
} told[8];
static size_t told_count;

static void
tell(void *arg, uint64_t neighbour, bool degraded)
{
	(void)arg;
	assert_true(told_count < COUNT(told));
	told[told_count].neighbour = neighbour;
	told[told_count++].degraded = degraded;
}

static void
diff(const struct lsa_adj *before, size_t n, const struct lsa_adj *now, size_t m)
{
	told_count = 0;
	quality_diff(before, n, now, m, tell, NULL);
}

static void
verdicts(void **state)
{
	(void)state;
	assert_true(quality_well(&(struct lsa_adj){0}));
	assert_true(quality_degraded(&(struct lsa_adj){.loss_ppm = 20000}));
	assert_true(quality_degraded(&(struct lsa_adj){.utilisation_permille = 950}));
	/* In between it is neither. */
	assert_false(quality_degraded(&(struct lsa_adj){.loss_ppm = 15000, .utilisation_permille = 900}));
	assert_false(quality_well(&(struct lsa_adj){.loss_ppm = 15000}));
	assert_false(quality_well(&(struct lsa_adj){.utilisation_permille = 900}));
}

static void
changes(void **state)
{
	const struct lsa_adj good[] = {{.neighbour = 2}, {.neighbour = 5}, {.neighbour = 9}};
	const struct lsa_adj bad[] = {{.neighbour = 3, .loss_ppm = 30000},
	    {.neighbour = 5, .loss_ppm = 30000}, {.neighbour = 9, .utilisation_permille = 990}};
	const struct lsa_adj half[] = {{.neighbour = 5, .loss_ppm = 15000}, {.neighbour = 9}};

	(void)state;
	diff(good, 3, good, 3);
	assert_int_equal(told_count, 0);
	diff(good, 3, bad, 3);
	assert_int_equal(told_count, 3);
	assert_int_equal(told[0].neighbour, 3);
	assert_int_equal(told[2].neighbour, 9);
	assert_true(told[0].degraded && told[1].degraded && told[2].degraded);
	diff(bad, 3, bad, 3);
	assert_int_equal(told_count, 0);
	/* 3 is gone, 5 is not well yet, 9 is. */
	diff(bad, 3, half, 2);
	assert_int_equal(told_count, 1);
	assert_int_equal(told[0].neighbour, 9);
	assert_false(told[0].degraded);
	diff(half, 2, good, 3);
	assert_int_equal(told_count, 1);
	assert_int_equal(told[0].neighbour, 5);
	diff(NULL, 0, bad, 3);
	assert_int_equal(told_count, 3);
	diff(bad, 3, NULL, 0);
	assert_int_equal(told_count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(verdicts), cmocka_unit_test(changes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
