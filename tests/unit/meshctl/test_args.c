/* Command lines: every form of an option, operands in between, and what is refused. */
#include "tests/unit/unit.h"

#include "meshctl/args.h"
#include "meshctl/command.h"

static const struct option_def common[] = {
    {"json", 'j', NULL, ""}, {"socket", 's', "SOCKET", ""}, {NULL, 0, NULL, NULL}};
static const struct option_def own[] = {
    {"count", 'n', "N", ""}, {"force", 'f', NULL, ""}, {"dns", 0, "NAME", ""}, {NULL, 0, NULL, NULL}};

/* Parses words (ended by NULL), which args_parse() may reorder. */
static int
parse(struct args *a, const char *const *words)
{
	static char *argv[32];
	int argc = 0;

	for (; words[argc] != NULL; argc++)
		argv[argc] = (char *)(uintptr_t)words[argc];
	memset(a, 0, sizeof(*a));
	return args_parse(a, common, own, argc, argv, false);
}

#define PARSE(a, ...) parse(a, (const char *const[]){__VA_ARGS__, NULL})

static void
test_forms(void **state)
{
	static const char *const forms[][4] = {
	    {"--count", "7", NULL}, {"--count=7", NULL}, {"-n", "7", NULL}, {"-n7", NULL}, {"-fn7", NULL}};
	struct args a;
	int64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		assert_true(parse(&a, forms[i]) > 0);
		assert_int_equal(args_int(&a, "count", 0, 1, 10, &n), 0);
		assert_int_equal(n, 7);
		assert_int_equal(a.word_count, 0);
	}
	assert_true(args_flag(&a, "force"));
	assert_false(args_flag(&a, "json"));
}

static void
test_words_between(void **state)
{
	struct args a;

	(void)state;
	assert_true(PARSE(&a, "one", "-j", "two", "--dns", "x", "--", "-three", "--dns") > 0);
	assert_int_equal(a.word_count, 4);
	assert_string_equal(args_word(&a, 0), "one");
	assert_string_equal(args_word(&a, 1), "two");
	assert_string_equal(args_word(&a, 2), "-three");
	assert_string_equal(args_word(&a, 3), "--dns");
	assert_null(args_word(&a, 4));
	assert_string_equal(args_str(&a, "dns", ""), "x");
}

static void
test_a_dash_is_a_word(void **state)
{
	struct args a;

	(void)state;
	assert_true(PARSE(&a, "-", "-j") > 0);
	assert_int_equal(a.word_count, 1);
	assert_string_equal(args_word(&a, 0), "-");
}

static void
test_repeated(void **state)
{
	struct args a;

	(void)state;
	assert_true(PARSE(&a, "--dns", "a", "--dns=b", "--dns", "c") > 0);
	assert_string_equal(args_str(&a, "dns", NULL), "c");
	assert_string_equal(args_item(&a, "dns", 0), "a");
	assert_string_equal(args_item(&a, "dns", 1), "b");
	assert_null(args_item(&a, "dns", 3));
}

static void
test_refused(void **state)
{
	static const char *const bad[][3] = {{"--nope", NULL}, {"-x", NULL}, {"--count", NULL}, {"-n", NULL},
	    {"--force=1", NULL}, {"--coun", "1", NULL}};
	struct args a;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(&a, bad[i]), -1);
}

static void
test_too_many(void **state)
{
	static char *argv[ARGS_OPTIONS_MAX + 1];
	static char flag[] = "-j";
	struct args a = {0};

	(void)state;
	for (size_t i = 0; i <= ARGS_OPTIONS_MAX; i++)
		argv[i] = flag;
	assert_int_equal(args_parse(&a, common, own, ARGS_OPTIONS_MAX + 1, argv, false), -1);
}

static void
test_stops_at_word(void **state)
{
	char *argv[] = {(char *)(uintptr_t) "-j", (char *)(uintptr_t) "ca", (char *)(uintptr_t) "-f"};
	struct args a = {0};

	(void)state;
	assert_int_equal(args_parse(&a, common, NULL, 3, argv, true), 1);
	assert_true(args_flag(&a, "json"));
}

static const struct number {
	const char *text;
	int64_t ms; /* -1: refused */
	int64_t bytes;
} numbers[] = {
    {"10", 10000, 10},
    {"10s", 10000, -1},
    {"250ms", 250, -1},
    {"2min", 120000, -1},
    {"1d", 86400000, -1},
    {"1500us", 1, -1},
    {"4KB", -1, 4096},
    {"1GB", -1, 1073741824},
    {"7B", -1, 7},
    {"", -1, -1},
    {"-1", -1, -1},
    {"1x", -1, -1},
    {"99999999999999999999", -1, -1},
    {"9223372036854775807d", -1, -1},
    {"9223372036854775807GB", -1, -1},
    {"s", -1, -1},
};

static void
test_numbers(void **state)
{
	struct args a;
	int64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const struct number *n = &numbers[i];

		assert_true(PARSE(&a, "--count", n->text) > 0);
		assert_int_equal(args_duration_ms(&a, "count", 0, &v), n->ms < 0 ? -1 : 0);
		if (n->ms >= 0)
			assert_int_equal(v, n->ms);
		assert_int_equal(args_size(&a, "count", 0, &v), n->bytes < 0 ? -1 : 0);
		if (n->bytes >= 0)
			assert_int_equal(v, n->bytes);
	}
	assert_true(PARSE(&a, "--count", "11") > 0);
	assert_int_equal(args_int(&a, "count", 0, 1, 10, &v), -1);
	assert_int_equal(args_int(&a, "dns", 5, 1, 10, &v), 0);
	assert_int_equal(v, 5);
}

/* Every command has what help, manual and completion need, and is found under its name. */
static void
test_command_table(void **state)
{
	char first[64], *second;
	int used;

	(void)state;
	for (const struct command *c = command_table; c->name != NULL; c++) {
		assert_true(strlen(c->name) < sizeof(first));
		memcpy(first, c->name, strlen(c->name) + 1);
		second = strchr(first, ' ');
		if (second != NULL)
			*second++ = '\0';
		assert_ptr_equal(command_find(first, second, &used), c);
		assert_int_equal(used, second != NULL ? 2 : 1);
		assert_true(second == NULL || command_is_group(first));
		assert_non_null(c->run);
		assert_true(c->summary[0] >= 'a' && c->summary[0] <= 'z');
		for (const struct option_def *o = c->options; o != NULL && o->name != NULL; o++)
			for (const struct option_def *g = command_common_options; g->name != NULL; g++) {
				assert_string_not_equal(o->name, g->name);
				assert_true(o->letter == 0 || o->letter != g->letter);
			}
	}
	assert_null(command_find("nope", NULL, &used));
	assert_null(command_find("ca", "nope", &used));
	assert_false(command_is_group("status"));
}

/* Values and operands of a bounded length, and of a list of words. */
static void
test_copies(void **state)
{
	char out[5] = "old";
	struct args a;

	(void)state;
	assert_true(PARSE(&a, "four", "fives", "--dns", "on", "-s", "abcde") > 0);
	assert_int_equal(args_copy_word(&a, 0, "word", out, sizeof(out)), 0);
	assert_string_equal(out, "four");
	assert_int_equal(args_copy_word(&a, 1, "word", out, sizeof(out)), -1);
	assert_int_equal(args_copy_word(&a, 2, "word", out, sizeof(out)), 0);
	assert_string_equal(out, "");
	assert_int_equal(args_copy(&a, "socket", out, sizeof(out)), -1);
	assert_int_equal(args_copy(&a, "count", out, sizeof(out)), 0);
	assert_string_equal(out, "");
	assert_int_equal(args_choice(&a, "dns", "off on", out, sizeof(out)), 0);
	assert_string_equal(out, "on");
	assert_int_equal(args_choice(&a, "dns", "one off", out, sizeof(out)), -1);
	assert_int_equal(args_choice(&a, "dns", "", out, sizeof(out)), -1);
	assert_int_equal(args_choice(&a, "count", "off on", out, sizeof(out)), 0);
	assert_string_equal(out, "");
	assert_true(PARSE(&a, "--dns", "") > 0);
	assert_int_equal(args_choice(&a, "dns", "off on", out, sizeof(out)), -1);
	assert_true(PARSE(&a, "--dns", "off on") > 0);
	assert_int_equal(args_choice(&a, "dns", "off on", out, sizeof(out)), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forms),
	    cmocka_unit_test(test_words_between),
	    cmocka_unit_test(test_a_dash_is_a_word),
	    cmocka_unit_test(test_repeated),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_too_many),
	    cmocka_unit_test(test_stops_at_word),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_command_table),
	    cmocka_unit_test(test_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
