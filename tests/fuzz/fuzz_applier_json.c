/* A database update from another node: whatever it says, the statement has only names that are allowed here.
 */
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>

#include "consensusd/applier_sql.h"
#include "consensusd/core/json_scan.h"

static struct applier_column columns[] = {{"id", true}, {"sub", true}, {"a", false}, {"b_2", false}};
static char tenants[][TENANT_TEXT_SIZE] = {"acme"};
static struct applier_table tables[] = {
    {"items", APPLIER_INSERT | APPLIER_UPDATE | APPLIER_DELETE | APPLIER_UPSERT, columns, 4, NULL, 0},
    {"log", APPLIER_INSERT, columns, 3, tenants, 1},
};
static const struct applier_rules rules = {.schema = "public", .tables = tables, .table_count = 2};

/* Each quoted word of the statement is one of ours. */
static bool
name_known(const char *name, size_t len)
{
	static const char *const names[] = {"public", "items", "log", "id", "sub", "a", "b_2"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return true;
	return false;
}

static void
check_sql(const char *sql, size_t len)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_ .,()=:$";
	const char *p = sql;

	FUZZ_CHECK(len > 1 && strlen(sql) == len - 1);
	while (*p != '\0') {
		size_t n;

		p += strspn(p, plain);
		if (*p == '\0')
			break;
		FUZZ_CHECK(*p == '"');
		n = strcspn(++p, "\"");
		FUZZ_CHECK(p[n] == '"' && name_known(p, n));
		p += n + 1;
	}
}

static void
check_json(const char *text, size_t len)
{
	static struct json_object o;
	const char *why = NULL;
	size_t well = json_scan_utf8(text, len);

	FUZZ_CHECK(well <= len);
	if (json_scan(text, len, &o, &why) != 0) {
		FUZZ_CHECK(why != NULL);
		return;
	}
	/* All of it is text, as it is outside of strings as well. */
	FUZZ_CHECK(well == len && o.count <= JSON_SCAN_MEMBERS_MAX);
	for (size_t i = 0; i < o.count; i++) {
		const struct json_member *m = &o.members[i];

		FUZZ_CHECK(m->name > text && m->name + m->name_len < m->value);
		FUZZ_CHECK(m->value_len > 0 && m->value + m->value_len < text + len);
		FUZZ_CHECK(json_object_find(&o, m->name, m->name_len) == m);
	}
}

/* The same from a stream: its tenant reaches no table but the one that is open to it. */
static void
check_stream(struct applier_statement *s, const struct applier_change *c)
{
	struct applier_change of_stream = *c;
	char why[APPLIER_WHY_SIZE], first[APPLIER_WHY_SIZE];
	int err;

	of_stream.tenant = "acme";
	err = applier_statement_make(s, &rules, &of_stream, why);
	FUZZ_CHECK(err != 0 || strcmp(c->table, "log") == 0);
	FUZZ_CHECK(strcmp(c->table, "log") != 0 || applier_statement_make(s, &rules, c, first) == err);
	of_stream.tenant = "other";
	FUZZ_CHECK(applier_statement_make(s, &rules, &of_stream, why) != 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct applier_statement s;
	struct applier_change c;
	char why[APPLIER_WHY_SIZE];

	if (s.sql.max == 0)
		applier_statement_init(&s);
	check_json((const char *)data, size);
	if (applier_change_read(&c, data, size) != 0) {
		FUZZ_CHECK(c.table[0] == '\0' && c.key_len == 0 && c.row_len == 0);
		return 0;
	}
	check_json(c.key, c.key_len);
	check_json(c.row, c.row_len);
	check_stream(&s, &c);
	if (applier_statement_make(&s, &rules, &c, why) != 0) {
		FUZZ_CHECK(why[0] != '\0' && strlen(why) < sizeof(why));
		return 0;
	}
	check_sql((const char *)buf_head(&s.sql), buf_left(&s.sql));
	FUZZ_CHECK(s.param_count >= 1 && s.param_count <= 2);
	for (int i = 0; i < s.param_count; i++)
		FUZZ_CHECK(s.param_lens[i] >= 2);
	return 0;
}
