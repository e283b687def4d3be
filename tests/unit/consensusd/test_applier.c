/*
 * Database updates are done as they say, once and in order; what can't be done becomes a dead letter, and
 * can be resolved.
 */
#include "tests/unit/consensusd/applier_user.h"

#include "common/base/err.h"

#define ITEMS "db-table items { columns a b c\n key id\n operations insert update delete upsert }\n"
#define ITEMS_SQL "CREATE TABLE items (id bigint PRIMARY KEY, a text, b integer DEFAULT 7, c jsonb)"
#define ITEM "SELECT concat_ws('|', id, a, b, c) FROM items WHERE id = "

static void
test_each_operation(void **state)
{
	struct user *u = user_new(ITEMS, ITEMS_SQL);

	(void)state;
	log_update(u, "items", "insert", "", "{\"id\": 1, \"a\": \"one\"}");
	log_update(u, "items", "insert", "{\"id\": 2}", "{\"a\": \"two\", \"b\": null}");
	log_update(u, "items", "update", "{\"id\": 1}", "{\"b\": 70}");
	log_update(u, "items", "update", "{\"id\": 99}", "{\"b\": 70}"); /* there is none: done */
	log_update(u, "items", "upsert", "{\"id\": 3}", "{\"a\": \"three\"}");
	log_update(u, "items", "upsert", "", "{\"id\": 3, \"c\": {\"deep\": [1, 2]}}");
	log_update(u, "items", "upsert", "{\"id\": 3}", ""); /* nothing to change */
	log_update(u, "items", "insert", "{\"id\": 4}", "{}");
	log_update(u, "items", "delete", "{\"id\": 4}", "");
	log_update(u, "items", "delete", "{\"id\": 4}", "{}");
	wait_until(u, is_through);
	assert_int_equal(u->failures, 0);
	assert_string_equal(ask(u, ITEM "1"), "1|one|70");
	assert_string_equal(ask(u, ITEM "2"), "2|two");
	assert_string_equal(ask(u, ITEM "3"), "3|three|7|{\"deep\": [1, 2]}");
	assert_string_equal(ask(u, "SELECT count(*) FROM items"), "3");
	assert_string_equal(ask(u, "SELECT position FROM mesh.handler_positions WHERE handler = 'db'"), "10");
	user_free(u);
}

static void
test_keys_of_several_columns(void **state)
{
	struct user *u = user_new("db-table pairs { columns v\n key x y\n operations update delete upsert }",
	    "CREATE TABLE pairs (x text, y date, v numeric, PRIMARY KEY (x, y))");

	(void)state;
	log_update(u, "pairs", "upsert", "{\"x\": \"a\", \"y\": \"2024-02-29\"}", "{\"v\": 1}");
	log_update(u, "pairs", "upsert", "{\"y\": \"2024-03-01\"}", "{\"x\": \"a\", \"v\": 2}");
	log_update(u, "pairs", "update", "{\"x\": \"a\", \"y\": \"2024-03-01\"}", "{\"v\": 3}");
	log_update(u, "pairs", "delete", "{\"x\": \"a\", \"y\": \"2024-02-29\"}", "");
	/* The row gets another key. */
	log_update(u, "pairs", "update", "{\"x\": \"a\", \"y\": \"2024-03-01\"}", "{\"x\": \"b\"}");
	wait_until(u, is_through);
	assert_int_equal(u->failures, 0);
	assert_string_equal(
	    ask(u, "SELECT string_agg(concat_ws('|', x, y, v), ',') FROM pairs"), "b|2024-03-01|3");
	user_free(u);
}

static void
test_types_are_exact(void **state)
{
	struct user *u =
	    user_new("db-table t { columns big num dbl ts tz ok js bytes list texts nothing dt iv id\n"
		     "operations insert }",
		"CREATE TYPE mood AS ENUM ('well', 'bad'); CREATE TABLE t (big bigint, num numeric,"
		" dbl double precision, ts timestamp, tz timestamptz, ok boolean, js jsonb, bytes bytea,"
		" list integer[], texts text[], nothing text, dt mood, iv interval, id uuid)");

	(void)state;
	log_update(u, "t", "insert", "",
	    "{\"big\": 9007199254740993, \"num\": 12345678901234567890123456789.000000000000000000010,"
	    " \"dbl\": 0.1, \"ts\": \"2024-02-29 12:00:00.123456\", \"tz\": \"2024-02-29T12:00:00+02:00\","
	    " \"ok\": true, \"js\": {\"n\": 123456789012345678901234567890.50, \"s\": \"\\u00e9\"},"
	    " \"bytes\": \"\\\\x00ff10\", \"list\": [1, null, -3], \"texts\": [\"a,b\", \"\\\"q\\\"\", "
	    "\"{}\"],"
	    " \"nothing\": null, \"dt\": \"well\", \"iv\": \"1 day 02:00\","
	    " \"id\": \"01234567-89ab-cdef-0123-456789abcdef\"}");
	log_update(
	    u, "t", "insert", "", "{\"big\": \"-9223372036854775808\", \"num\": \"NaN\", \"ok\": false}");
	wait_until(u, is_through);
	assert_int_equal(u->failures, 0);
	assert_string_equal(ask(u, "SELECT big FROM t WHERE ok"), "9007199254740993");
	assert_string_equal(
	    ask(u, "SELECT num FROM t WHERE ok"), "12345678901234567890123456789.000000000000000000010");
	assert_string_equal(ask(u, "SELECT dbl FROM t WHERE ok"), "0.1");
	assert_string_equal(ask(u, "SELECT ts FROM t WHERE ok"), "2024-02-29 12:00:00.123456");
	assert_string_equal(ask(u, "SELECT tz = '2024-02-29 10:00:00+00' FROM t WHERE ok"), "t");
	assert_string_equal(ask(u, "SELECT js->>'n' FROM t WHERE ok"), "123456789012345678901234567890.50");
	assert_string_equal(ask(u, "SELECT js->>'s' FROM t WHERE ok"), "\xc3\xa9");
	assert_string_equal(ask(u, "SELECT bytes FROM t WHERE ok"), "\\x00ff10");
	assert_string_equal(ask(u, "SELECT list FROM t WHERE ok"), "{1,NULL,-3}");
	assert_string_equal(ask(u, "SELECT texts FROM t WHERE ok"), "{\"a,b\",\"\\\"q\\\"\",\"{}\"}");
	assert_string_equal(ask(u, "SELECT nothing IS NULL FROM t WHERE ok"), "t");
	assert_string_equal(ask(u, "SELECT dt || ' ' || iv FROM t WHERE ok"), "well 1 day 02:00:00");
	assert_string_equal(ask(u, "SELECT id FROM t WHERE ok"), "01234567-89ab-cdef-0123-456789abcdef");
	assert_string_equal(ask(u, "SELECT big FROM t WHERE NOT ok"), "-9223372036854775808");
	assert_string_equal(ask(u, "SELECT num FROM t WHERE NOT ok"), "NaN");
	user_free(u);
}

/* ---- what can't be done ---- */

struct refusal {
	const char *table, *operation, *key, *row, *why;
};

static const struct refusal refusals[] = {
    {"other", "insert", "", "{\"id\": 1}", "table \"other\" is not allowed"},
    {"mesh.streams", "delete", "{\"id\": 1}", "", "is not allowed"},
    {"items\"; DROP TABLE items; --", "insert", "", "{\"id\": 1}", "is not allowed"},
    {"ITEMS", "insert", "", "{\"id\": 1}", "is not allowed"},
    {"", "insert", "", "{\"id\": 1}", "is not allowed"},
    {"items", "truncate", "", "{\"id\": 1}", "operation \"truncate\""},
    {"items", "", "", "{\"id\": 1}", "operation \"\""},
    {"fixed", "delete", "{\"id\": 1}", "", "delete of table fixed is not allowed"},
    {"fixed", "upsert", "", "{\"id\": 1}", "table fixed has no key"},
    {"items", "insert", "", "{\"id\": 1, \"secret\": 2}", "column \"secret\""},
    {"items", "insert", "", "{\"id\": 1, \"a\\\") SELECT 1; --\": 2}", "column \"a\\\") SELECT 1; --\""},
    {"items", "insert", "", "{\"id\": 1, \"\\u0061\": 2}", "column \"\\u0061\""},
    {"items", "insert", "", "{\"id\": 1, \"A\": 2}", "column \"A\""},
    {"items", "insert", "", "{\"id\": 1, \"\": 2}", "column \"\""},
    {"items", "insert", "", "{\"id\": 1, \"a\": 1, \"a\": 2}", "a name comes twice"},
    {"items", "insert", "{\"id\": 1}", "{\"id\": 2}", "differs in key and row"},
    {"items", "insert", "", "", "it has no columns"},
    {"items", "insert", "", "[1]", "it is no object"},
    {"items", "insert", "", "{\"id\": 1} x", "something follows"},
    {"items", "insert", "", "{\"id\": 01}", "row is not what it must be"},
    {"items", "insert", "", "{\"id\": 1, \"a\": \"x\\u0000y\"}", "NUL"},
    {"items", "insert", "", "{\"id\": 1, \"a\": \"\\ud800\"}", "surrogate"},
    {"items", "insert", "", "{\"id\": 1, \"a\": \"\xff\"}", "not UTF-8"},
    {"items", "insert", "", "{\"id\": 1, \"a\": \"\n\"}", "control character"},
    {"items", "update", "{}", "{\"a\": 1}", "column \"id\" of the key is missing"},
    {"items", "update", "{\"id\": null}", "{\"a\": 1}", "column \"id\" of the key is null"},
    {"items", "update", "{\"id\": 1, \"a\": 2}", "{\"a\": 1}", "column \"a\" is not part of the key"},
    {"items", "update", "{\"id\": 1}", "", "it has no columns"},
    {"items", "delete", "", "", "column \"id\" of the key is missing"},
    {"items", "delete", "{\"id\": 1}", "{\"a\": 1}", "delete has a key, and no row"},
    {"items", "upsert", "", "{\"a\": 1}", "column \"id\" of the key is missing"},
    /* From here on it is PostgreSQL that refuses. */
    {"items", "insert", "", "{\"id\": \"x\"}", "invalid input syntax for type bigint"},
    {"items", "insert", "", "{\"id\": 9223372036854775808}", "out of range"},
    {"items", "insert", "", "{\"id\": 1e400000}", "22"},
    {"items", "insert", "", "{\"id\": 5}", "duplicate key value"},
    {"items", "insert", "", "{\"a\": \"no id\"}", "null value in column"},
    {"missing", "insert", "", "{\"id\": 1}", "does not exist"},
    {"items", "insert", "", "{\"id\": 6, \"b\": \"1); DROP TABLE items; --\"}", "invalid input syntax"},
};

#define REFUSING                                                                                             \
	ITEMS "db-table missing { columns id\n operations insert }\n"                                        \
	      "db-table fixed { columns id\n operations insert upsert }\n"

static void
test_what_can_not_be_done_is_put_aside(void **state)
{
	struct user *u = user_new(NULL, ITEMS_SQL "; INSERT INTO items VALUES (5, 'five')");
	char many[4000], sql[256];

	(void)state;
	for (size_t i = 0; i < COUNT(refusals); i++) {
		const struct refusal *r = &refusals[i];

		log_update(u, r->table, r->operation, r->key, r->row);
		/* Between them is one that is done. */
		snprintf(many, sizeof(many), "{\"id\": %zu, \"a\": \"'; DROP TABLE items; --\"}", 1000 + i);
		log_update(u, "items", "insert", "", many);
	}
	applier_start(u, REFUSING "db-on-error skip");
	wait_until(u, is_through);
	assert_int_equal(u->failures, COUNT(refusals));
	assert_string_equal(
	    ask(u, "SELECT count(*) FROM items WHERE id >= 1000 AND a = '''; DROP TABLE items; --'"), "38");
	assert_int_equal(COUNT(refusals), 38);
	assert_string_equal(ask(u, "SELECT count(*) FROM items WHERE id < 1000"), "1");
	for (size_t i = 0; i < COUNT(refusals); i++) {
		snprintf(
		    sql, sizeof(sql), "SELECT error FROM mesh.dead_letters WHERE position = %zu", 2 * i + 1);
		if (strstr(ask(u, sql), refusals[i].why) == NULL)
			print_error("%zu: %s, and not %s\n", i, ask(u, sql), refusals[i].why);
		assert_non_null(strstr(ask(u, sql), refusals[i].why));
	}
	assert_string_equal(ask(u, "SELECT bool_or(blocking) FROM mesh.dead_letters"), "f");
	assert_string_equal(
	    ask(u, "SELECT \"row\" FROM mesh.dead_letters WHERE position = 1"), "{\"id\": 1}");
	assert_string_equal(ask(u, "SELECT origin_node FROM mesh.dead_letters WHERE position = 1"), "77");
	user_free(u);
}

/* Nested as deeply as is allowed, and deeper; many members; too large. */
static void
test_limits(void **state)
{
	struct user *u = user_new(ITEMS "db-on-error skip", ITEMS_SQL);
	static char text[2 << 20];
	size_t n;

	(void)state;
	for (int depth = 63; depth <= 64; depth++) {
		n = (size_t)snprintf(text, sizeof(text), "{\"id\": %d, \"c\": ", depth);
		memset(text + n, '[', (size_t)depth);
		memset(text + n + depth, ']', (size_t)depth);
		memcpy(text + n + 2 * depth, "}", 2);
		log_update(u, "items", "insert", "", text);
	}
	wait_until(u, is_through);
	assert_int_equal(u->failures, 1);
	assert_non_null(strstr(u->failure.error, "nested too deeply"));
	memset(text, '[', 100000);
	log_sized(u, "items", "insert", "", 0, text, 100000);
	memset(text, ' ', sizeof(text));
	memcpy(text + sizeof(text) - 10, "{\"id\": 1}", 9);
	log_sized(u, "items", "insert", "", 0, text, sizeof(text));
	wait_until(u, is_through);
	assert_non_null(strstr(u->failure.error, "too large"));
	/* Whole mebibytes of text do fit. */
	n = (size_t)snprintf(text, sizeof(text), "{\"id\": 2, \"a\": \"");
	memset(text + n, 'x', 1000000);
	memcpy(text + n + 1000000, "\"}", 3);
	log_update(u, "items", "insert", "", text);
	log_bytes(u, "\xff\xff\xff", 3);
	log_sized(u, "items", "insert", "", 0, "{\"id\": 3, \"a\": \"\0\"}", 19);
	wait_until(u, is_through);
	assert_int_equal(u->failures, 5);
	assert_string_equal(ask(u, "SELECT length(a) FROM items WHERE id = 2"), "1000000");
	assert_string_equal(ask(u, "SELECT count(*) FROM items"), "2");
	assert_string_equal(ask(u, "SELECT error FROM mesh.dead_letters WHERE position = 6"),
	    "what the update carries is no DBUpdate");
	assert_string_equal(ask(u, "SELECT payload FROM mesh.dead_letters WHERE position = 6"), "\\xffffff");
	user_free(u);
}

/* ---- dead letters ---- */

static void
test_updates_wait_for_a_letter(void **state)
{
	struct user *u = user_new(ITEMS, "SELECT 1");
	char why[512];

	(void)state;
	log_update(u, "items", "insert", "", "{\"id\": 1}");
	log_update(u, "items", "insert", "", "{\"id\": 2}");
	wait_until(u, is_failed);
	assert_true(u->failure.blocking);
	assert_int_equal(u->failure.position, 1);
	assert_string_equal(u->failure.table, "items");
	assert_int_equal(applier_position(u->applier), 0);
	assert_true(u->changes > 0);
	assert_non_null(strstr(applier_trouble(u->applier, why, sizeof(why)), "at position 1"));
	assert_non_null(strstr(why, "does not exist"));

	/* It does not help to try it again as things are. */
	resolve(u, 1, false);
	assert_int_equal(u->answer_err, 0);
	assert_int_equal(u->letter_count, 1);
	assert_int_equal(u->letters[0].attempts, 2);
	assert_true(u->letters[0].blocking);
	assert_string_equal(u->letters[0].row, "{\"id\": 1}");
	resolve(u, 2, false);
	assert_int_equal(u->answer_err, ERR_NOENT);

	/* Another applier finds the letter, tries once more, and waits again. */
	applier_stop(u);
	u->failures = 0;
	applier_start(u, ITEMS);
	wait_until(u, is_failed);
	assert_string_equal(ask(u, "SELECT attempts FROM mesh.dead_letters"), "3");

	ask(u, ITEMS_SQL);
	resolve(u, 1, false);
	assert_int_equal(u->answer_err, 0);
	assert_int_equal(u->letter_count, 0);
	wait_until(u, is_through);
	assert_string_equal(ask(u, "SELECT count(*) FROM items"), "2");
	assert_string_equal(ask(u, "SELECT count(*) FROM mesh.dead_letters"), "0");
	assert_string_equal(applier_trouble(u->applier, why, sizeof(why)), "");
	user_free(u);
}

static bool
is_failed_twice(struct user *u)
{
	return u->failures >= 2;
}

static void
test_a_letter_is_given_up(void **state)
{
	struct user *u = user_new(ITEMS, ITEMS_SQL);

	(void)state;
	log_update(u, "items", "insert", "", "{\"id\": 1}");
	log_update(u, "items", "insert", "", "{\"id\": 1, \"a\": \"again\"}");
	log_update(u, "items", "insert", "", "{\"id\": \"x\"}");
	log_update(u, "items", "insert", "", "{\"id\": 4}");
	wait_until(u, is_failed);
	assert_int_equal(u->failure.position, 2);
	assert_int_equal(applier_position(u->applier), 1);
	resolve(u, 0, true);
	assert_int_equal(u->letter_count, 0);
	wait_until(u, is_failed_twice);
	assert_int_equal(u->failure.position, 3);
	/* With the table's rules changed the letter blocks no more; it stays as it is. */
	reload(u, ITEMS "db-on-error skip");
	wait_until(u, is_through);
	list(u, 0, 0);
	assert_int_equal(u->letter_count, 1);
	assert_int_equal(u->letters[0].position, 3);
	assert_false(u->letters[0].blocking);
	resolve(u, 3, true);
	assert_int_equal(u->letter_count, 0);
	assert_string_equal(ask(u, "SELECT string_agg(id::text, ',' ORDER BY id) FROM items"), "1,4");
	user_free(u);
}

static void
test_letters_are_listed_and_tried_again(void **state)
{
	struct user *u = user_new(NULL, "SELECT 1");
	char row[64];

	(void)state;
	for (int i = 1; i <= 40; i++) {
		snprintf(row, sizeof(row), "{\"id\": %d}", i);
		log_update(u, "items", "insert", "", row);
	}
	applier_start(u, ITEMS "db-on-error skip");
	wait_until(u, is_through);
	assert_int_equal(u->failures, 40);
	list(u, 0, 7);
	assert_int_equal(u->letter_count, 7);
	assert_int_equal(u->letters[6].position, 7);
	list(u, 7, 1000);
	assert_int_equal(u->letter_count, 33);
	assert_int_equal(u->letters[0].position, 8);
	assert_string_equal(u->letters[0].row, "{\"id\": 8}");
	assert_string_equal(u->letters[0].table, "items");
	ask(u, ITEMS_SQL "; INSERT INTO items VALUES (20), (30)");
	resolve(u, 0, false);
	assert_int_equal(u->answer_err, 0);
	assert_int_equal(u->letter_count, 2);
	assert_int_equal(u->letters[0].position, 20);
	assert_int_equal(u->letters[1].position, 30);
	assert_int_equal(u->letters[1].attempts, 2);
	assert_non_null(strstr(u->letters[1].error, "duplicate key"));
	assert_string_equal(ask(u, "SELECT count(*) FROM items"), "40");
	resolve(u, 0, true);
	assert_string_equal(ask(u, "SELECT count(*) FROM mesh.dead_letters"), "0");
	user_free(u);
}

/* An answer has an end: the rest is asked for. */
static void
test_long_lists_come_in_parts(void **state)
{
	struct user *u = user_new(ITEMS "db-on-error skip", "SELECT 1");
	static char row[1000001];

	(void)state;
	memset(row, ' ', sizeof(row) - 1);
	memcpy(row, "{\"id\": 1}", 9);
	for (int i = 0; i < 5; i++)
		log_update(u, "items", "insert", "", row);
	wait_until(u, is_through);
	list(u, 0, 0);
	assert_int_equal(u->letter_count, 3);
	list(u, 3, 0);
	assert_int_equal(u->letter_count, 2);
	user_free(u);
}

/* ---- who takes part ---- */

static void
test_a_node_without_tables_passes_over(void **state)
{
	struct user *u = user_new("", "SELECT 1");

	(void)state;
	for (int i = 0; i < 200; i++)
		log_update(u, "items", "insert", "", "{\"id\": 1}");
	wait_until(u, is_through);
	assert_int_equal(u->failures, 0);
	assert_string_equal(ask(u, "SELECT count(*) FROM mesh.dead_letters"), "0");
	assert_string_equal(ask(u, "SELECT position FROM mesh.handler_positions"), "200");
	/* Later it takes part: from there on. */
	ask(u, ITEMS_SQL);
	reload(u, ITEMS);
	log_update(u, "items", "insert", "", "{\"id\": 201}");
	wait_until(u, is_through);
	assert_string_equal(ask(u, "SELECT string_agg(id::text, ',') FROM items"), "201");
	/* And no more, with one that waits. */
	log_update(u, "items", "insert", "", "{\"id\": 201}");
	wait_until(u, is_failed);
	reload(u, "");
	wait_until(u, is_through);
	list(u, 0, 0);
	assert_int_equal(u->letter_count, 1);
	assert_false(u->letters[0].blocking);
	user_free(u);
}

static void
test_rules_of_the_schema(void **state)
{
	struct user *u = user_new("db-schema app\n" ITEMS,
	    "DROP SCHEMA IF EXISTS app CASCADE; CREATE SCHEMA app; CREATE TABLE app.items (LIKE "
	    "mesh.flush_marker);"
	    " DROP TABLE app.items; CREATE TABLE app.items (id bigint PRIMARY KEY, a text)");
	struct conf *conf;

	(void)state;
	log_update(u, "items", "insert", "", "{\"id\": 1, \"a\": \"x\"}");
	wait_until(u, is_through);
	assert_string_equal(ask(u, "SELECT a FROM app.items"), "x");
	/* What this program keeps there for itself is out of reach. */
	conf = conf_of("db-schema mesh\n" ITEMS);
	assert_null(applier_new(u->loop, conf, NULL, on_changed, u));
	applier_configure(u->applier, conf);
	conf_free(conf);
	log_update(u, "items", "insert", "", "{\"id\": 2}");
	wait_until(u, is_through);
	ask(u, "DROP SCHEMA app CASCADE");
	user_free(u);
}

static void
test_no_memory(void **state)
{
	struct user *u = user_new(NULL, ITEMS_SQL);
	struct conf *conf = conf_of(ITEMS);
	struct applier *a;
	unsigned long at = 0;

	(void)state;
	do {
		mem_fail_at(++at);
		a = applier_new(u->loop, conf, NULL, on_changed, u);
		mem_fail_at(0);
	} while (a == NULL);
	assert_true(at > 5);
	assert_int_equal(applier_list(a, 0, 0, on_letters, u, 4711), ERR_UNAVAIL);
	applier_free(a);
	conf_free(conf);
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_operation),
	    cmocka_unit_test(test_keys_of_several_columns),
	    cmocka_unit_test(test_types_are_exact),
	    cmocka_unit_test(test_what_can_not_be_done_is_put_aside),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_updates_wait_for_a_letter),
	    cmocka_unit_test(test_a_letter_is_given_up),
	    cmocka_unit_test(test_letters_are_listed_and_tried_again),
	    cmocka_unit_test(test_long_lists_come_in_parts),
	    cmocka_unit_test(test_a_node_without_tables_passes_over),
	    cmocka_unit_test(test_rules_of_the_schema),
	    cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
