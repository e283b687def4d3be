/* Bearer tokens: the header, the file, look-ups. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "gatewayd/core/bearer.h"

#define HEX_A "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
#define HEX_B "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

static void
test_header(void **state)
{
	static const struct {
		const char *value;
		int rc;
	} rows[] = {
	    {"Bearer 0123456789abcdef", 0},
	    {"bearer 0123456789abcdef", 0},
	    {"BEARER   0123456789abcdef", 0},
	    {"Bearer abc.DEF-_~+/0123456789==", 0},
	    {"", ERR_UNKNOWN},
	    {"Basic 0123456789abcdef", ERR_UNKNOWN},
	    {"Bearerx 0123456789abcdef", ERR_UNKNOWN},
	    {"Bearer", ERR_LIMIT},
	    {"Bearer ", ERR_LIMIT},
	    {"Bearer short", ERR_LIMIT},
	    {"Bearer 0123456789abcdef trailing", ERR_FORMAT},
	    {"Bearer 0123456789abc\tdef", ERR_FORMAT},
	    {"Bearer 0123456789abc\x80"
	     "def",
		ERR_FORMAT},
	    {"Bearer 0123456789,abcdef", ERR_FORMAT},
	};
	const char *token;
	size_t len;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(
		    bearer_header(rows[i].value, strlen(rows[i].value), &token, &len), rows[i].rc);
	assert_int_equal(bearer_header("Bearer  0123456789abcdef", 24, &token, &len), 0);
	assert_int_equal(len, 16);
	assert_memory_equal(token, "0123456789abcdef", 16);
	assert_int_equal(bearer_header("Bearer 0123456789abc\0def", 24, &token, &len), ERR_FORMAT);
}

static void
test_header_limits(void **state)
{
	char value[7 + BEARER_TOKEN_MAX_BYTES + 1];
	const char *token;
	size_t len;

	(void)state;
	memset(value, 'x', sizeof(value));
	memcpy(value, "Bearer ", 7);
	assert_int_equal(bearer_header(value, sizeof(value) - 1, &token, &len), 0);
	assert_int_equal(len, BEARER_TOKEN_MAX_BYTES);
	assert_int_equal(bearer_header(value, sizeof(value), &token, &len), ERR_LIMIT);
}

static void
test_file(void **state)
{
	static const char text[] = "# who may call\n\n" HEX_A " alice # first\r\n"
				   "\t" HEX_B "\t bob\r\n   \n";
	uint8_t digest[BEARER_DIGEST_BYTES];
	struct bearer_file f;
	unsigned line;

	(void)state;
	assert_int_equal(bearer_file_parse(&f, text, sizeof(text) - 1, &line), 0);
	assert_int_equal(f.count, 2);
	memset(digest, 0xFF, sizeof(digest));
	assert_string_equal(bearer_file_get(&f, digest)->name, "bob");
	digest[31] = 0xFE;
	assert_null(bearer_file_get(&f, digest));
	for (unsigned i = 0; i < 16; i++)
		digest[i] = digest[16 + i] = (uint8_t)(i * 0x11);
	assert_string_equal(bearer_file_get(&f, digest)->name, "alice");
	bearer_file_fini(&f);
	assert_null(bearer_file_get(&f, digest));
}

static void
test_bad_files(void **state)
{
	static const struct {
		const char *text;
		int rc;
		unsigned line;
	} rows[] = {
	    {HEX_A "\n", ERR_FORMAT, 1},
	    {"\n" HEX_A " a b\n", ERR_FORMAT, 2},
	    {HEX_A "0 a\n", ERR_FORMAT, 1},
	    {"0123 a", ERR_FORMAT, 1},
	    {HEX_A " a\n" HEX_A " b\n", ERR_EXISTS, 2},
	    {HEX_B " " HEX_B "\n", ERR_FORMAT, 1},
	    {HEX_B " na/me\n", ERR_FORMAT, 1},
	    {"g" HEX_B, ERR_FORMAT, 1},
	};
	struct bearer_file f;
	unsigned line;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(
		    bearer_file_parse(&f, rows[i].text, strlen(rows[i].text), &line), rows[i].rc);
		assert_int_equal(line, rows[i].line);
		assert_int_equal(f.count, 0);
	}
	assert_int_equal(bearer_file_parse(&f, HEX_A " a\0b", sizeof(HEX_A) + 3, &line), ERR_FORMAT);
	assert_int_equal(bearer_file_parse(&f, "", 0, &line), 0);
}

static void
test_too_many(void **state)
{
	char *text = calloc(BEARER_TOKENS_MAX + 2, 80), *p = text;
	struct bearer_file f;
	unsigned line;

	(void)state;
	assert_non_null(text);
	for (int i = 0; i <= BEARER_TOKENS_MAX; i++)
		p += sprintf(p, "%064x n%d\n", i, i);
	assert_int_equal(bearer_file_parse(&f, text, (size_t)(p - text), &line), ERR_LIMIT);
	assert_int_equal(line, BEARER_TOKENS_MAX + 1);
	free(text);
}

static void
test_failing_memory(void **state)
{
	static const char text[] = HEX_A " a\n" HEX_B " b\n";
	struct bearer_file f;
	unsigned line;

	(void)state;
	for (unsigned long k = 1; k <= 2; k++) {
		mem_fail_at(k);
		assert_int_equal(bearer_file_parse(&f, text, sizeof(text) - 1, &line), ERR_NOMEM);
	}
	mem_fail_at(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_header),
	    cmocka_unit_test(test_header_limits),
	    cmocka_unit_test(test_file),
	    cmocka_unit_test(test_bad_files),
	    cmocka_unit_test(test_too_many),
	    cmocka_unit_test(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
