/* applier_sql: see applier_sql.h. */
#include "consensusd/applier_sql.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "consensusd/core/json_scan.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

static const char empty_object[] = "{}";

/* The statement that is being made, and what it is made of. */
struct maker {
	struct buf *out;
	const struct applier_rules *rules;
	const struct applier_table *table;
	struct json_object key, row;
	int err; /* of the buffer */
	char *why;
};

int
applier_change_read(struct applier_change *c, const uint8_t *payload, size_t len)
{
	mesh_v1_DBUpdate u = mesh_v1_DBUpdate_init_zero;
	struct pb_slice key = {0}, row = {0};

	*c = (struct applier_change){.key = empty_object, .row = empty_object};
	c->key_len = c->row_len = 0;
	pb_slice_decode(&u.key, &key);
	pb_slice_decode(&u.row, &row);
	if (pb_unpack(payload, len, mesh_v1_DBUpdate_fields, &u) != 0)
		return ERR_FORMAT;
	memcpy(c->table, u.table, sizeof(c->table));
	memcpy(c->operation, u.operation, sizeof(c->operation));
	if (key.len > 0) {
		c->key = (const char *)key.data;
		c->key_len = key.len;
	}
	if (row.len > 0) {
		c->row = (const char *)row.data;
		c->row_len = row.len;
	}
	return 0;
}

/* ---- text ---- */

static void
put(struct maker *m, const char *text)
{
	if (m->err == 0)
		m->err = buf_put_bytes(m->out, text, strlen(text));
}

/* Names have no quotes in them: applier_rules and the configuration see to it. */
static void
put_name(struct maker *m, const char *name)
{
	put(m, "\"");
	put(m, name);
	put(m, "\"");
}

static void
put_table(struct maker *m)
{
	put_name(m, m->rules->schema);
	put(m, ".");
	put_name(m, m->table->name);
}

/* json_populate_record(NULL::"schema"."table", $1::json) AS k */
static void
put_record(struct maker *m, const char *param, const char *alias)
{
	put(m, "json_populate_record(NULL::");
	put_table(m);
	put(m, ", ");
	put(m, param);
	put(m, "::json) AS ");
	put(m, alias);
}

static int refuse(struct maker *m, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int
refuse(struct maker *m, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->why, APPLIER_WHY_SIZE, fmt, ap);
	va_end(ap);
	return err;
}

/* ---- what is asked for ---- */

static int
scan(struct maker *m, const char *what, const char *text, size_t len, struct json_object *out)
{
	const char *why = "";

	out->count = 0;
	if (len == 0)
		return 0;
	if (json_scan(text, len, out, &why) != 0)
		return refuse(m, ERR_FORMAT, "%s is not what it must be, a JSON object: %s", what, why);
	for (size_t i = 0; i < out->count; i++) {
		const struct json_member *v = &out->members[i];
		int shown = v->name_len < APPLIER_NAME_SIZE ? (int)v->name_len : APPLIER_NAME_SIZE;

		if (applier_table_column(m->table, v->name, v->name_len) == NULL)
			return refuse(m, ERR_DENIED,
			    "column \"%.*s\" of table %s is not allowed here (mesh.conf: db-table)", shown,
			    v->name, m->table->name);
	}
	return 0;
}

static const struct json_member *
find(const struct json_object *o, const struct applier_column *c)
{
	return json_object_find(o, c->name, strlen(c->name));
}

/* The object that has a column: key before row.  NULL: neither. */
static const char *
holder(const struct maker *m, const struct applier_column *c)
{
	return find(&m->key, c) != NULL ? "k" : find(&m->row, c) != NULL ? "r" : NULL;
}

/* Each column of the key has a value; in_row: it may be in the row as well as in the key. */
static int
key_check(struct maker *m, bool in_row)
{
	size_t count = 0;

	for (size_t i = 0; i < m->table->column_count; i++) {
		const struct applier_column *c = &m->table->columns[i];
		const struct json_member *v = find(&m->key, c);

		if (!c->key && v != NULL)
			return refuse(m, ERR_FORMAT, "column \"%s\" is not part of the key of table %s",
			    c->name, m->table->name);
		if (!c->key)
			continue;
		if (v == NULL && in_row)
			v = find(&m->row, c);
		if (v == NULL || json_member_is_null(v))
			return refuse(m, ERR_FORMAT, "column \"%s\" of the key %s", c->name,
			    v == NULL ? "is missing" : "is null");
		count++;
	}
	return count > 0
		   ? 0
		   : refuse(m, ERR_DENIED, "table %s has no key here (mesh.conf: db-table)", m->table->name);
}

/* What is in the key and in the row has to be the same. */
static int
agree_check(struct maker *m)
{
	for (size_t i = 0; i < m->key.count; i++) {
		const struct json_member *k = &m->key.members[i];
		const struct json_member *r = json_object_find(&m->row, k->name, k->name_len);

		if (r != NULL &&
		    (r->value_len != k->value_len || memcmp(r->value, k->value, k->value_len) != 0))
			return refuse(m, ERR_FORMAT, "column \"%.*s\" differs in key and row",
			    (int)k->name_len, k->name);
	}
	return m->key.count + m->row.count > 0 ? 0 : refuse(m, ERR_FORMAT, "it has no columns");
}

/* ---- the four ---- */

/* Columns that are given (key or not, as asked), each as prefix"name"; how many. */
static size_t
put_columns(struct maker *m, bool with_key, const char *separator,
    void (*one)(struct maker *m, const struct applier_column *c))
{
	size_t n = 0;

	for (size_t i = 0; i < m->table->column_count; i++) {
		const struct applier_column *c = &m->table->columns[i];

		if (holder(m, c) == NULL || (c->key && !with_key))
			continue;
		if (n++ > 0)
			put(m, separator);
		one(m, c);
	}
	return n;
}

static void
put_plain(struct maker *m, const struct applier_column *c)
{
	put_name(m, c->name);
}

static void
put_value(struct maker *m, const struct applier_column *c)
{
	put(m, holder(m, c));
	put(m, ".");
	put_name(m, c->name);
}

static void
put_excluded(struct maker *m, const struct applier_column *c)
{
	put_name(m, c->name);
	put(m, " = EXCLUDED.");
	put_name(m, c->name);
}

static int
make_insert(struct maker *m)
{
	int err = agree_check(m);

	if (err != 0)
		return err;
	put(m, "INSERT INTO ");
	put_table(m);
	put(m, " (");
	(void)put_columns(m, true, ", ", put_plain);
	put(m, ") SELECT ");
	(void)put_columns(m, true, ", ", put_value);
	put(m, " FROM ");
	put_record(m, "$1", "k");
	put(m, ", ");
	put_record(m, "$2", "r");
	return 0;
}

static void
put_key_column(struct maker *m, const struct applier_column *c)
{
	if (c->key)
		put_name(m, c->name);
}

static int
make_upsert(struct maker *m)
{
	bool first = true;
	size_t mark;
	int err = key_check(m, true);

	if (err == 0)
		err = make_insert(m);
	if (err != 0)
		return err;
	put(m, " ON CONFLICT (");
	for (size_t i = 0; i < m->table->column_count; i++) {
		if (!m->table->columns[i].key)
			continue;
		put(m, first ? "" : ", ");
		put_key_column(m, &m->table->columns[i]);
		first = false;
	}
	put(m, ") DO ");
	mark = m->out->wpos;
	put(m, "UPDATE SET ");
	if (put_columns(m, false, ", ", put_excluded) == 0 && m->err == 0) {
		m->out->wpos = mark;
		put(m, "NOTHING");
	}
	return 0;
}

/* t."a" = k."a" AND … */
static void
put_where(struct maker *m)
{
	const char *word = " WHERE ";

	for (size_t i = 0; i < m->table->column_count; i++) {
		const struct applier_column *c = &m->table->columns[i];

		if (!c->key)
			continue;
		put(m, word);
		put(m, "t.");
		put_name(m, c->name);
		put(m, " = k.");
		put_name(m, c->name);
		word = " AND ";
	}
}

static int
make_update(struct maker *m)
{
	int err = key_check(m, false);

	if (err != 0)
		return err;
	if (m->row.count == 0)
		return refuse(m, ERR_FORMAT, "it has no columns");
	put(m, "UPDATE ");
	put_table(m);
	put(m, " AS t SET ");
	for (size_t i = 0; i < m->row.count; i++) {
		const struct json_member *v = &m->row.members[i];
		const struct applier_column *c = applier_table_column(m->table, v->name, v->name_len);

		put(m, i > 0 ? ", " : "");
		put_name(m, c->name);
		put(m, " = r.");
		put_name(m, c->name);
	}
	put(m, " FROM ");
	put_record(m, "$1", "k");
	put(m, ", ");
	put_record(m, "$2", "r");
	put_where(m);
	return 0;
}

static int
make_delete(struct maker *m)
{
	int err = key_check(m, false);

	if (err != 0)
		return err;
	if (m->row.count > 0)
		return refuse(m, ERR_FORMAT, "delete has a key, and no row");
	put(m, "DELETE FROM ");
	put_table(m);
	put(m, " AS t USING ");
	put_record(m, "$1", "k");
	put_where(m);
	return 0;
}

static int
make(struct maker *m, const char *operation)
{
	unsigned op = applier_operation_of(operation);

	if (op == 0)
		return refuse(
		    m, ERR_FORMAT, "operation \"%s\" is none of insert, update, delete, upsert", operation);
	if ((m->table->operations & op) == 0)
		return refuse(m, ERR_DENIED, "%s of table %s is not allowed here (mesh.conf: db-table)",
		    operation, m->table->name);
	switch (op) {
	case APPLIER_INSERT:
		return make_insert(m);
	case APPLIER_UPDATE:
		return make_update(m);
	case APPLIER_DELETE:
		return make_delete(m);
	default:
		return make_upsert(m);
	}
}

void
applier_statement_init(struct applier_statement *s)
{
	*s = (struct applier_statement){0};
	buf_init(&s->sql, APPLIER_SQL_MAX_BYTES);
}

void
applier_statement_fini(struct applier_statement *s)
{
	buf_fini(&s->sql);
}

static void
param(struct applier_statement *s, int i, const char *text, size_t len)
{
	s->params[i] = len > 0 ? text : empty_object;
	s->param_lens[i] = len > 0 ? len : sizeof(empty_object) - 1;
}

/* The table, if it is open to whose update it is; else NULL, with why. */
static const struct applier_table *
find_table(struct maker *m, const struct applier_change *c)
{
	const struct applier_table *t = applier_rules_table(m->rules, c->table);

	if (t == NULL)
		(void)refuse(
		    m, ERR_DENIED, "table \"%s\" is not allowed here (mesh.conf: db-table)", c->table);
	else if (c->tenant != NULL && !applier_table_may(t, c->tenant))
		(void)refuse(m, ERR_DENIED,
		    "table %s is not open to streams of tenant %s here (mesh.conf: db-table, stream-tenants)",
		    t->name, c->tenant);
	else
		return t;
	return NULL;
}

int
applier_statement_make(struct applier_statement *s, const struct applier_rules *rules,
    const struct applier_change *c, char why[APPLIER_WHY_SIZE])
{
	struct maker m = {.out = &s->sql, .rules = rules, .why = why};
	int err;

	buf_reset(&s->sql);
	why[0] = '\0';
	m.table = find_table(&m, c);
	if (m.table == NULL)
		return ERR_DENIED;
	err = scan(&m, "key", c->key, c->key_len, &m.key);
	if (err == 0)
		err = scan(&m, "row", c->row, c->row_len, &m.row);
	if (err == 0)
		err = make(&m, c->operation);
	if (err == 0 && m.err == 0)
		m.err = buf_put_u8(&s->sql, 0);
	if (err != 0 || m.err != 0)
		return err != 0 ? err : m.err;
	param(s, 0, c->key, c->key_len);
	param(s, 1, c->row, c->row_len);
	/* A parameter that the text does not have would have no type. */
	s->param_count = applier_operation_of(c->operation) == APPLIER_DELETE ? 1 : 2;
	return 0;
}
