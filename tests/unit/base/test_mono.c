/* Points in monotonic time saturate at MONO_NEVER. */
#include "tests/unit/unit.h"

#include "common/base/mono.h"

static void
test_arithmetic(void **state)
{
	struct mono a = mono_add_ms(MONO_ZERO, 5), b = mono_add_us(a, 1);

	(void)state;
	assert_int_equal(a.us, 5000);
	assert_int_equal(mono_diff_us(b, a), 1);
	assert_true(mono_before(a, b));
	assert_false(mono_before(a, a));
	assert_int_equal(mono_min(a, b).us, a.us);
	assert_int_equal(mono_min(MONO_NEVER, b).us, b.us);
}

static void
test_never_is_the_latest(void **state)
{
	struct mono late = {INT64_MAX - 10};

	(void)state;
	assert_true(mono_is_never(mono_add_us(MONO_NEVER, 5)));
	assert_true(mono_is_never(mono_add_us(MONO_NEVER, -5)));
	assert_true(mono_is_never(mono_add_us(late, 11)));
	assert_true(mono_before(late, MONO_NEVER));
	assert_int_equal(mono_add_us(late, -5).us, INT64_MAX - 15);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_arithmetic),
	    cmocka_unit_test(test_never_is_the_latest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
