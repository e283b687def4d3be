/* The error table: every code has a name and a text, and codes never move. */
#include "tests/unit/unit.h"

#include "common/base/err.h"

static const int codes[] = {
#define X(name, value, text) ERR_##name,
    ERR_LIST(X)
#undef X
};

static void
test_names(void **state)
{
	(void)state;
	assert_string_equal(err_name(0), "NONE");
	assert_string_equal(err_text(0), "no error");
	assert_string_equal(err_name(ERR_NOMEM), "NOMEM");
	assert_string_equal(err_text(ERR_CHECKSUM), "checksum mismatch");
	assert_string_equal(err_name(-1000), "?");
	assert_string_equal(err_text(1), "unknown error");
}

static void
test_codes_are_dense_and_named_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(codes); i++) {
		assert_int_equal(codes[i], -(int)i - 1);
		for (size_t k = 0; k < i; k++) {
			assert_string_not_equal(err_name(codes[i]), err_name(codes[k]));
			assert_string_not_equal(err_text(codes[i]), err_text(codes[k]));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_codes_are_dense_and_named_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
