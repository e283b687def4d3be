/* Allocation: overflow, zero sizes, and failing the k-th one. */
#include "tests/unit/unit.h"

#include "common/base/mem.h"

static void
test_calloc_is_zeroed(void **state)
{
	unsigned char *p = mem_calloc(100, 3);

	(void)state;
	assert_non_null(p);
	for (size_t i = 0; i < 300; i++)
		assert_int_equal(p[i], 0);
	mem_free(p);
}

static void
test_overflow_gives_null(void **state)
{
	/* volatile: the compiler would warn about the very thing that is tested */
	volatile size_t half = SIZE_MAX / 2 + 1;
	char *p = mem_dup("abc", 4), *q;

	(void)state;
	assert_non_null(p);
	assert_null(mem_calloc(half, 2));
	q = mem_reallocarray(p, half, 2);
	assert_null(q);
	assert_string_equal(p, "abc");
	mem_free(p);
}

static void
test_zero_sizes_are_no_errors(void **state)
{
	void *p = mem_calloc(0, 8), *q = mem_dup(NULL, 0), *r;

	(void)state;
	assert_non_null(p);
	assert_non_null(q);
	r = mem_reallocarray(p, 0, 8);
	assert_non_null(r);
	mem_free(r);
	mem_free(q);
	mem_free(NULL);
}

static void
test_copies(void **state)
{
	char *s = mem_strdup("mesh");
	char *d = mem_dup("a\0b", 3);

	(void)state;
	assert_string_equal(s, "mesh");
	assert_memory_equal(d, "a\0b", 3);
	s = mem_reallocarray(s, 1000, 1);
	assert_non_null(s);
	assert_string_equal(s, "mesh");
	mem_free(s);
	mem_free(d);
}

static void
test_fail_at_fails_once(void **state)
{
	void *p[4];

	(void)state;
	mem_fail_at(3);
	p[0] = mem_calloc(1, 1);
	p[1] = mem_strdup("x");
	p[2] = mem_dup("x", 1);
	p[3] = mem_reallocarray(NULL, 1, 1);
	assert_int_equal(mem_count(), 4);
	mem_fail_at(0);
	assert_int_equal(mem_count(), 0);
	assert_non_null(p[0]);
	assert_non_null(p[1]);
	assert_null(p[2]);
	assert_non_null(p[3]);
	for (int i = 0; i < 4; i++)
		mem_free(p[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_calloc_is_zeroed),
	    cmocka_unit_test(test_overflow_gives_null),
	    cmocka_unit_test(test_zero_sizes_are_no_errors),
	    cmocka_unit_test(test_copies),
	    cmocka_unit_test(test_fail_at_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
