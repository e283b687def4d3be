/* Files that are read as one piece or as one line, and JSON that was typed. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "meshctl/exit_code.h"
#include "meshctl/input.h"
#include "meshctl/json_text.h"

static char path[] = "/tmp/test-input-XXXXXX";

static void
write_file(const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static int
setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return unlink(path);
}

/* Exactly what is allowed is taken, one byte more is not; what was in the buffer stays and does not count. */
static void
test_limit(void **state)
{
	static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 200000};
	uint8_t *data = mem_calloc(1, 200001);
	struct buf b;

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		buf_init(&b, sizes[i] + 65536 + 4);
		assert_int_equal(buf_put_bytes(&b, "head", 4), 0);
		write_file(data, sizes[i]);
		assert_int_equal(input_read(path, sizes[i], &b), CODE_OK);
		assert_int_equal(buf_left(&b), sizes[i] + 4);
		buf_fini(&b);
		buf_init(&b, sizes[i] + 65536 + 4);
		write_file(data, sizes[i] + 1);
		assert_int_equal(input_read(path, sizes[i], &b), CODE_USAGE);
		buf_fini(&b);
	}
	buf_init(&b, 100);
	assert_int_equal(input_read("/nonexistent", 1, &b), CODE_NOTFOUND);
	assert_int_equal(input_read("/tmp", 1, &b), CODE_FAILED);
	buf_fini(&b);
	mem_free(data);
}

static void
test_line(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *want; /* NULL: refused */
	} cases[] = {{"abc", 3, "abc"}, {"abc\n", 4, "abc"}, {" \t\nabc \r\n\n", 10, "abc"},
	    {"a b", 3, "a b"}, {"", 0, NULL}, {" \n", 2, NULL}, {"a\nb", 3, NULL}, {"a\0b", 3, NULL},
	    {"1234567", 7, "1234567"}, {"12345678", 8, NULL}, {"123456789012345678", 18, NULL}};
	char out[8];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		write_file(cases[i].text, cases[i].len);
		assert_int_equal(
		    input_line(path, out, sizeof(out)), cases[i].want != NULL ? CODE_OK : CODE_USAGE);
		if (cases[i].want != NULL)
			assert_string_equal(out, cases[i].want);
	}
}

static void
test_json(void **state)
{
	static const char *const values[] = {"1", "null", "\"x\"", "[1, 2]", "{}", " {\"a\": 1} "};
	static const char *const wrong[] = {
	    "", " ", "abc", "{", "{\"a\": 1} 2", "{\"a\": 1, \"a\": 2}", "{a: 1}", "1,"};

	(void)state;
	for (size_t i = 0; i < COUNT(values); i++) {
		bool object = strchr(values[i], '{') != NULL;

		assert_int_equal(json_text_check("v", values[i], false, 100), CODE_OK);
		assert_int_equal(json_text_check("v", values[i], true, 100), object ? CODE_OK : CODE_USAGE);
		assert_int_equal(json_text_check("v", values[i], false, strlen(values[i])), CODE_OK);
		assert_int_equal(json_text_check("v", values[i], false, strlen(values[i]) - 1), CODE_USAGE);
	}
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_int_equal(json_text_check("v", wrong[i], false, 100), CODE_USAGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_line),
	    cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
