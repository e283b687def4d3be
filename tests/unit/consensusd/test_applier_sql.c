/*
 * What database updates become: JSON that is checked strictly and left as it is, and statements that have
 * only names of the configuration in them.
 */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/applier_sql.h"
#include "consensusd/core/json_scan.h"

/* ---- JSON ---- */

static const char *const whole[] = {
    "{}",
    " \t\n\r{ } ",
    "{\"a\":1}",
    "{\"a\" : -0.5e+10 , \"b\":[ ] , \"c\" : { } }",
    "{\"a\":[1,[2,{\"x\":null}],true,false]}",
    "{\"\":\"\"}",
    "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\xc3\xa9\xf0\x9f\x98\x80\x7f\"}",
    "{\"a\":{\"x\":1,\"x\":2}}",
    "{\"a\":123456789012345678901234567890123456789012345678901234567890}",
    "{\"a\":1E999999}",
    "{\"a\":0}",
};

static const char *const broken[] = {
    "",
    " ",
    "[]",
    "1",
    "null",
    "\"a\"",
    "{",
    "}",
    "{}}",
    "{} {}",
    "{,}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{\"a\":1 \"b\":2}",
    "{a:1}",
    "{'a':1}",
    "{\"a\":01}",
    "{\"a\":+1}",
    "{\"a\":.5}",
    "{\"a\":1.}",
    "{\"a\":1e}",
    "{\"a\":-}",
    "{\"a\":0x1}",
    "{\"a\":NaN}",
    "{\"a\":tru}",
    "{\"a\":nulls}",
    "{\"a\":[1,]}",
    "{\"a\":[1 2]}",
    "{\"a\":[}",
    "{\"a\":\"",
    "{\"a\":\"\\",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\u12\"}",
    "{\"a\":\"\\u12g4\"}",
    "{\"a\":\"\\u0000\"}",
    "{\"a\":\"\\ud800\"}",
    "{\"a\":\"\\ud800x\"}",
    "{\"a\":\"\\ud800\\u0041\"}",
    "{\"a\":\"\\udc00\\ud800\"}",
    "{\"a\":\"\x01\"}",
    "{\"a\":\"\x80\"}",
    "{\"a\":\"\xc0\xaf\"}",
    "{\"a\":\"\xe0\x80\xaf\"}",
    "{\"a\":\"\xed\xa0\x80\"}",
    "{\"a\":\"\xf4\x90\x80\x80\"}",
    "{\"a\":\"\xf5\x80\x80\x80\"}",
    "{\"a\":\"\xe2\x82\"}",
    "{\"a\":1,\"a\":1}",
    "\xef\xbb\xbf{}",
    "{\"a\":1}/* */",
};

/* The text in memory of just its size, so that reading beyond it shows. */
static int
scan(const char *text, size_t len, struct json_object *o)
{
	char *exact = mem_dup(text, len);
	const char *why = NULL;
	int err = json_scan(exact, len, o, &why);

	assert_true(err == 0 || why != NULL);
	mem_free(exact);
	return err;
}

static void
test_json(void **state)
{
	struct json_object o;

	(void)state;
	for (size_t i = 0; i < COUNT(whole); i++) {
		assert_int_equal(scan(whole[i], strlen(whole[i]), &o), 0);
		/* Its beginnings are not whole, but for blanks at the end. */
		for (size_t n = 0; n + 1 < strlen(whole[i]); n++)
			assert_int_equal(scan(whole[i], n, &o), ERR_SYNTAX);
	}
	for (size_t i = 0; i < COUNT(broken); i++) {
		if (scan(broken[i], strlen(broken[i]), &o) != ERR_SYNTAX)
			print_error("%s\n", broken[i]);
		assert_int_equal(scan(broken[i], strlen(broken[i]), &o), ERR_SYNTAX);
	}
	assert_int_equal(scan("{\"a\":\0}", 7, &o), ERR_SYNTAX);
	assert_int_equal(scan("{\"a\":\"\0\"}", 9, &o), ERR_SYNTAX);
}

static void
test_members(void **state)
{
	static const char text[] = "{ \"a\" : [1, 2] , \"b\":null ,\"c\": \"x\"}";
	struct json_object o;
	const char *why;

	(void)state;
	assert_int_equal(json_scan(text, sizeof(text) - 1, &o, &why), 0);
	assert_int_equal(o.count, 3);
	assert_int_equal(o.members[0].value_len, 6);
	assert_memory_equal(o.members[0].value, "[1, 2]", 6);
	assert_true(json_member_is_null(json_object_find(&o, "b", 1)));
	assert_false(json_member_is_null(json_object_find(&o, "c", 1)));
	assert_null(json_object_find(&o, "d", 1));
}

static void
test_json_limits(void **state)
{
	static char text[JSON_SCAN_MAX_BYTES + 2];
	struct json_object o;
	const char *why;
	size_t n;

	(void)state;
	for (int members = JSON_SCAN_MEMBERS_MAX; members <= JSON_SCAN_MEMBERS_MAX + 1; members++) {
		n = 0;
		for (int i = 0; i < members; i++)
			n +=
			    (size_t)snprintf(text + n, sizeof(text) - n, "%c\"a%d\":1", i > 0 ? ',' : '{', i);
		text[n++] = '}';
		assert_int_equal(
		    json_scan(text, n, &o, &why), members > JSON_SCAN_MEMBERS_MAX ? ERR_LIMIT : 0);
	}
	memset(text, ' ', sizeof(text));
	memcpy(text, "{}", 2);
	assert_int_equal(json_scan(text, JSON_SCAN_MAX_BYTES, &o, &why), 0);
	assert_int_equal(json_scan(text, JSON_SCAN_MAX_BYTES + 1, &o, &why), ERR_LIMIT);
	memset(text, '{', sizeof(text));
	assert_int_equal(json_scan(text, JSON_SCAN_MAX_BYTES, &o, &why), ERR_SYNTAX);
}

/* ---- statements ---- */

static struct applier_column columns[] = {{"id", true}, {"sub", true}, {"a", false}, {"select", false}};
static char tenants[][TENANT_TEXT_SIZE] = {"acme", "b.c"};
static struct applier_table tables[] = {
    {"order", APPLIER_INSERT | APPLIER_UPDATE | APPLIER_DELETE | APPLIER_UPSERT, columns, 4, tenants, 2}};
static const struct applier_rules rules = {.schema = "app", .tables = tables, .table_count = 1};

#define KEY "json_populate_record(NULL::\"app\".\"order\", $1::json) AS k"
#define ROW "json_populate_record(NULL::\"app\".\"order\", $2::json) AS r"

static const struct {
	const char *operation, *key, *row, *sql;
} statements[] = {
    {"insert", "", "{\"a\": 1, \"id\": 2}",
	"INSERT INTO \"app\".\"order\" (\"id\", \"a\") SELECT r.\"id\", r.\"a\" FROM " KEY ", " ROW},
    {"insert", "{\"id\": 1}", "{\"select\": 1, \"id\": 1}",
	"INSERT INTO \"app\".\"order\" (\"id\", \"select\") SELECT k.\"id\", r.\"select\" FROM " KEY
	", " ROW},
    {"update", "{\"id\": 1, \"sub\": 2}", "{\"select\": 1, \"id\": 2}",
	"UPDATE \"app\".\"order\" AS t SET \"select\" = r.\"select\", \"id\" = r.\"id\" FROM " KEY ", " ROW
	" WHERE t.\"id\" = k.\"id\" AND t.\"sub\" = k.\"sub\""},
    {"delete", "{\"id\": 1, \"sub\": 2}", "",
	"DELETE FROM \"app\".\"order\" AS t USING " KEY
	" WHERE t.\"id\" = k.\"id\" AND t.\"sub\" = k.\"sub\""},
    {"upsert", "{\"id\": 1}", "{\"sub\": 2, \"a\": 3}",
	"INSERT INTO \"app\".\"order\" (\"id\", \"sub\", \"a\") SELECT k.\"id\", r.\"sub\", r.\"a\" FROM " KEY
	", " ROW " ON CONFLICT (\"id\", \"sub\") DO UPDATE SET \"a\" = EXCLUDED.\"a\""},
    {"upsert", "", "{\"sub\": 2, \"id\": 3}",
	"INSERT INTO \"app\".\"order\" (\"id\", \"sub\") SELECT r.\"id\", r.\"sub\" FROM " KEY ", " ROW
	" ON CONFLICT (\"id\", \"sub\") DO NOTHING"},
};

static struct applier_change
change(const char *operation, const char *key, const char *row)
{
	struct applier_change c = {
	    .table = "order", .key = key, .row = row, .key_len = strlen(key), .row_len = strlen(row)};

	snprintf(c.operation, sizeof(c.operation), "%s", operation);
	return c;
}

/* What a stream carries needs the operator's word for its tenant as well. */
static void
test_tenants(void **state)
{
	struct applier_change c = change("insert", "", "{\"id\": 1}");
	struct applier_statement s;
	char why[APPLIER_WHY_SIZE];

	(void)state;
	applier_statement_init(&s);
	assert_int_equal(applier_statement_make(&s, &rules, &c, why), 0);
	c.tenant = "b.c";
	assert_int_equal(applier_statement_make(&s, &rules, &c, why), 0);
	for (size_t i = 0; i < 3; i++) {
		c.tenant = (const char *const[]){"b", "acmee", ""}[i];
		assert_int_equal(applier_statement_make(&s, &rules, &c, why), ERR_DENIED);
		assert_non_null(strstr(why, "table order is not open to streams of tenant"));
		assert_false(applier_rules_may(&rules, c.tenant));
	}
	assert_true(applier_rules_may(&rules, "acme"));
	snprintf(c.table, sizeof(c.table), "other");
	c.tenant = "acme";
	assert_int_equal(applier_statement_make(&s, &rules, &c, why), ERR_DENIED);
	assert_non_null(strstr(why, "table \"other\" is not allowed"));
	applier_statement_fini(&s);
}

static void
test_statements(void **state)
{
	struct applier_statement s;
	char why[APPLIER_WHY_SIZE];

	(void)state;
	applier_statement_init(&s);
	for (size_t i = 0; i < COUNT(statements); i++) {
		struct applier_change c =
		    change(statements[i].operation, statements[i].key, statements[i].row);

		assert_int_equal(applier_statement_make(&s, &rules, &c, why), 0);
		assert_string_equal((const char *)buf_head(&s.sql), statements[i].sql);
		assert_memory_equal(s.params[0], c.key_len > 0 ? c.key : "{}", s.param_lens[0]);
		if (s.param_count == 2)
			assert_memory_equal(s.params[1], c.row_len > 0 ? c.row : "{}", s.param_lens[1]);
	}
	applier_statement_fini(&s);
}

static void
test_no_memory(void **state)
{
	struct applier_change c = change("upsert", statements[4].key, statements[4].row);
	struct applier_statement s;
	char why[APPLIER_WHY_SIZE];
	unsigned long at = 0;
	int err;

	(void)state;
	do {
		applier_statement_init(&s);
		mem_fail_at(++at);
		err = applier_statement_make(&s, &rules, &c, why);
		mem_fail_at(0);
		assert_true(err == 0 || err == ERR_NOMEM);
		applier_statement_fini(&s);
	} while (err != 0);
	assert_true(at > 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_json),
	    cmocka_unit_test(test_members),
	    cmocka_unit_test(test_json_limits),
	    cmocka_unit_test(test_statements),
	    cmocka_unit_test(test_tenants),
	    cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
