/* avoid: paths that a tenant's data is kept off for a while. */
#include "tests/unit/unit.h"

#include "transportd/core/avoid.h"

enum { ACME = 7 << 16 | 1, ACME_TOO = 7 << 16 | 2, BETA = 8 << 16 | 1 };

static struct mono
at(int64_t ms)
{
	return mono_add_ms(MONO_ZERO, ms);
}

static void
test_of_a_tenant(void **state)
{
	static struct avoid a;

	(void)state;
	assert_false(avoid_has(&a, 1, 2, ACME, at(1)));
	assert_true(avoid_add(&a, 1, 2, ACME, at(1)));
	assert_false(avoid_add(&a, 1, 2, ACME_TOO, at(2)));
	assert_true(avoid_has(&a, 1, 2, ACME_TOO, at(2)));
	assert_false(avoid_has(&a, 1, 2, BETA, at(2)));
	assert_false(avoid_has(&a, 1, 3, ACME, at(2)));
	assert_false(avoid_has(&a, 2, 2, ACME, at(2)));
	assert_true(avoid_has(&a, 1, 2, ACME, at(AVOID_MS)));
	assert_false(avoid_has(&a, 1, 2, ACME, at(AVOID_MS + 1)));
	/* One ends while the other goes on. */
	assert_true(avoid_add(&a, 9, 9, BETA, at(AVOID_MS)));
	assert_false(avoid_has(&a, 1, 2, ACME, at(AVOID_MS + 1)));
	assert_true(avoid_add(&a, 1, 2, ACME, at(AVOID_MS + 1)));
}

/* However many there are: what was added last is there. */
static void
test_many(void **state)
{
	static struct avoid a;
	unsigned left = 0;

	(void)state;
	for (uint32_t i = 0; i < 4 * AVOID_SLOTS; i++) {
		(void)avoid_add(&a, i % 5 + 1, i, i << 16, at(1));
		assert_true(avoid_has(&a, i % 5 + 1, i, i << 16, at(1)));
	}
	for (uint32_t i = 0; i < 4 * AVOID_SLOTS; i++)
		left += avoid_has(&a, i % 5 + 1, i, i << 16, at(1));
	assert_true(left > AVOID_SLOTS / 4 && left <= AVOID_SLOTS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_of_a_tenant),
	    cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
