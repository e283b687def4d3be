/* store_pg_control: see store_pg_control.h. */
#include "consensusd/store_pg_control.h"

#include <postgresql/libpq-fe.h>
#include <string.h>

#include "common/base/err.h"
#include "consensusd/store_pg_columns.h"

enum { TEXT_MAX_BYTES = 1024, MESH_TEXTS = 3 };

/* PostgreSQL's time ends, and these times come from other nodes. */
#define TIME_MAX_MS UINT64_C(253402300799000)

/* ---- puts ---- */

static void
mesh_free(struct flush_mesh *m)
{
	if (m != NULL)
		mem_free(m->texts);
	mem_free(m);
}

static void
note_free(struct flush_note *n)
{
	mem_free(n->bytes);
	mem_free(n);
}

void
store_control_fini(struct flush_control *c)
{
	struct flush_position *p, *p_next;
	struct flush_note *n, *n_next;

	mesh_free(c->mesh);
	for (size_t i = 0; i < c->config_count; i++)
		mem_free(c->configs[i].json);
	mem_free(c->configs);
	mem_free(c->drops);
	HASH_ITER (hh, c->notes, n, n_next) {
		HASH_DEL(c->notes, n);
		note_free(n);
	}
	HASH_ITER (hh, c->positions, p, p_next) {
		HASH_DEL(c->positions, p);
		mem_free(p);
	}
}

int
store_control_mesh(struct flush_control *c, const struct store_mesh *row, size_t *bytes)
{
	const char *texts[MESH_TEXTS] = {row->name, row->description, row->status};
	struct flush_mesh *m = mem_calloc(1, sizeof(*m));
	size_t len = 0, at = 0;

	*bytes = 0;
	for (int i = 0; i < MESH_TEXTS; i++)
		len += strlen(texts[i]) + 1;
	if (m == NULL || (m->texts = mem_calloc(1, len)) == NULL) {
		mem_free(m);
		return ERR_NOMEM;
	}
	for (int i = 0; i < MESH_TEXTS; i++) {
		memcpy(m->texts + at, texts[i], strlen(texts[i]) + 1);
		at += strlen(texts[i]) + 1;
	}
	m->mesh_id = row->mesh_id;
	m->allow_join = row->allow_join;
	m->created_unix_ms = row->created_unix_ms;
	mesh_free(c->mesh);
	c->mesh = m;
	*bytes = sizeof(*m) + len;
	return 0;
}

static int
configs_grow(struct flush_control *c)
{
	size_t cap = c->config_cap == 0 ? 4 : 2 * c->config_cap;
	struct flush_config *bigger;

	if (c->config_count < c->config_cap)
		return 0;
	bigger = mem_reallocarray(c->configs, cap, sizeof(*bigger));
	if (bigger == NULL)
		return ERR_NOMEM;
	c->configs = bigger;
	c->config_cap = cap;
	return 0;
}

static int
config_copy(struct flush_config *out, const struct store_config *row)
{
	*out = (struct flush_config){.removed = row->json == NULL,
	    .version = row->version,
	    .index = row->index,
	    .node = row->node,
	    .unix_ms = row->unix_ms < TIME_MAX_MS ? row->unix_ms : TIME_MAX_MS,
	    .len = row->len};
	(void)pg_plain_text(row->key, out->key, sizeof(out->key));
	if (row->json != NULL && (out->json = mem_dup(row->json, row->len)) == NULL)
		return ERR_NOMEM;
	return 0;
}

int
store_control_config(struct flush_control *c, const struct store_config *row, size_t *bytes)
{
	*bytes = 0;
	if (row != NULL && strlen(row->key) >= STORE_CONFIG_KEY_SIZE)
		return ERR_RANGE;
	if (configs_grow(c) != 0)
		return ERR_NOMEM;
	if (row == NULL)
		c->configs[c->config_count] = (struct flush_config){.clear = true};
	else if (config_copy(&c->configs[c->config_count], row) != 0)
		return ERR_NOMEM;
	c->config_count++;
	*bytes = sizeof(struct flush_config) + (row != NULL ? row->len : 0);
	return 0;
}

static struct flush_note *
note_get(struct flush_control *c, const struct flush_note_key *key)
{
	struct flush_note *n;

	HASH_FIND(hh, c->notes, key, sizeof(*key), n);
	if (n != NULL || (n = mem_calloc(1, sizeof(*n))) == NULL)
		return n;
	n->key = *key;
	HASH_ADD(hh, c->notes, key, sizeof(*key), n);
	if (HASH_ADDED(n))
		return n;
	mem_free(n);
	return NULL;
}

int
store_control_note(struct flush_control *c, const struct store_note *row, size_t *bytes)
{
	struct flush_note_key key = {.node_id = row->node_id};
	size_t len = row->payload_len + row->signature_len, type_len = strlen(row->type);
	struct flush_note *n;
	uint8_t *copy;

	*bytes = 0;
	if (type_len == 0 || type_len >= sizeof(key.type))
		return ERR_RANGE;
	memcpy(key.type, row->type, type_len);
	copy = mem_calloc(1, len + 1);
	n = copy != NULL ? note_get(c, &key) : NULL;
	if (n == NULL) {
		mem_free(copy);
		return ERR_NOMEM;
	}
	if (row->payload_len > 0)
		memcpy(copy, row->payload, row->payload_len);
	if (row->signature_len > 0)
		memcpy(copy + row->payload_len, row->signature, row->signature_len);
	mem_free(n->bytes);
	n->bytes = copy;
	n->payload_len = row->payload_len;
	n->signature_len = row->signature_len;
	n->version = row->version;
	n->unix_ms = row->unix_ms;
	n->position = row->position;
	n->removed = row->removed;
	*bytes = sizeof(*n) + len;
	return 0;
}

int
store_control_notes_drop(struct flush_control *c, uint64_t node_id, size_t *bytes)
{
	struct flush_note *n, *next;

	*bytes = 0;
	if (c->drop_count == c->drop_cap) {
		size_t cap = c->drop_cap == 0 ? 4 : 2 * c->drop_cap;
		uint64_t *bigger = mem_reallocarray(c->drops, cap, sizeof(*bigger));

		if (bigger == NULL)
			return ERR_NOMEM;
		c->drops = bigger;
		c->drop_cap = cap;
	}
	HASH_ITER (hh, c->notes, n, next) {
		if (n->key.node_id != node_id)
			continue;
		HASH_DEL(c->notes, n);
		note_free(n);
	}
	c->drops[c->drop_count++] = node_id;
	*bytes = sizeof(*c->drops);
	return 0;
}

int
store_control_position(struct flush_control *c, const struct store_position *row, size_t *bytes)
{
	struct flush_position_key key;
	struct flush_position *p;

	*bytes = 0;
	if (strlen(row->subscriber) >= sizeof(key.subscriber))
		return ERR_RANGE;
	memset(&key, 0, sizeof(key));
	key.kind = row->kind;
	memcpy(key.subscriber, row->subscriber, strlen(row->subscriber));
	HASH_FIND(hh, c->positions, &key, sizeof(key), p);
	if (p == NULL) {
		p = mem_calloc(1, sizeof(*p));
		if (p == NULL)
			return ERR_NOMEM;
		p->key = key;
		HASH_ADD(hh, c->positions, key, sizeof(key), p);
		if (!HASH_ADDED(p)) {
			mem_free(p);
			return ERR_NOMEM;
		}
		*bytes = sizeof(*p);
	}
	p->position = row->position;
	return 0;
}

/* ---- statements ---- */

enum statement {
	STMT_MESH,
	STMT_SET,
	STMT_REMOVE,
	STMT_CLEAR,
	STMT_NOTES_DROP,
	STMT_NOTES,
	STMT_POSITIONS,
	STMT_COUNT
};

#define TIME(parameter) "timestamptz 'epoch' + " parameter "::bigint * interval '1 millisecond'"
/* The rows that are deleted are those that are there before this one comes. */
#define OLD_CHANGES                                                                                          \
	"old AS (DELETE FROM config_changes c WHERE c.key = $1::text AND (c.updated, c.index) <= ("          \
	"SELECT d.updated, d.index FROM config_changes d WHERE d.key = $1 ORDER BY d.updated DESC,"          \
	" d.index DESC OFFSET 99 LIMIT 1))"

_Static_assert(STORE_CONFIG_CHANGES == 100, "as the statement has it");

static const struct {
	const char *name, *sql;
} statements[STMT_COUNT] = {
    [STMT_MESH] = {"mesh",
	"INSERT INTO mesh (mesh_id, name, description, status, allow_join, created)"
	" VALUES ($1::uuid, $2::text, $3::text, $4::text, $5::bigint <> 0, " TIME(
	    "$6") ")"
		  " ON CONFLICT (mesh_id) DO UPDATE SET name = EXCLUDED.name, description = "
		  "EXCLUDED.description,"
		  " status = EXCLUDED.status, allow_join = EXCLUDED.allow_join, created = EXCLUDED.created,"
		  " updated = now()"},
    [STMT_SET] = {"config_set",
	"WITH h AS (INSERT INTO config_changes (key, version, index, node_id, updated, value)"
	" VALUES ($1::text, $2::bigint, $3::bigint, $4::bigint, " TIME(
	    "$5") ", $6::bytea)"
		  " ON CONFLICT DO NOTHING), " OLD_CHANGES
		  " INSERT INTO config_values AS v (key, version, index, node_id, updated, value)"
		  " VALUES ($1, $2, $3, $4, " TIME(
		      "$5") ", $6)"
			    " ON CONFLICT (key) DO UPDATE SET version = EXCLUDED.version, index = "
			    "EXCLUDED.index,"
			    " node_id = EXCLUDED.node_id, updated = EXCLUDED.updated, value = EXCLUDED.value"
			    " WHERE (v.index, v.updated) <> (EXCLUDED.index, EXCLUDED.updated)"},
    [STMT_REMOVE] = {"config_remove",
	"WITH h AS (INSERT INTO config_changes (key, version, index, node_id, updated)"
	" VALUES ($1::text, $2::bigint, $3::bigint, $4::bigint, " TIME(
	    "$5") ")"
		  " ON CONFLICT DO NOTHING), " OLD_CHANGES " DELETE FROM config_values WHERE key = $1"},
    [STMT_CLEAR] = {"config_clear", "DELETE FROM config_values"},
    [STMT_NOTES_DROP] = {"notes_drop", "DELETE FROM node_updates WHERE node_id = $1::bigint"},
    [STMT_NOTES] = {"notes",
	"INSERT INTO node_updates (node_id, type, version, payload, signature, unix_ms, removed, position)"
	" SELECT n.node_id, n.type, n.version, n.payload, n.signature, n.unix_ms, n.removed <> 0, n.position"
	" FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bigint[],"
	" $7::bigint[], $8::bigint[])"
	" AS n(node_id, type, version, payload, signature, unix_ms, removed, position)"
	" ON CONFLICT (node_id, type) DO UPDATE SET version = EXCLUDED.version,"
	" payload = EXCLUDED.payload, signature = EXCLUDED.signature, unix_ms = EXCLUDED.unix_ms,"
	" removed = EXCLUDED.removed, position = EXCLUDED.position"},
    [STMT_POSITIONS] = {"positions",
	"INSERT INTO update_positions (kind, subscriber, position)"
	" SELECT p.kind::smallint, p.subscriber, p.position FROM unnest($1::bigint[], $2::bytea[],"
	" $3::bigint[]) AS p(kind, subscriber, position)"
	" ON CONFLICT (kind, subscriber) DO UPDATE SET position = EXCLUDED.position, updated = now()"},
};

int
store_control_prepare(struct pg_conn *pg)
{
	for (int i = 0; i < STMT_COUNT; i++)
		if (PQsendPrepare(pg, statements[i].name, statements[i].sql, 0, NULL) == 0)
			return ERR_CLOSED;
	return 0;
}

static int
send_mesh(const struct flush_mesh *m, struct pg_conn *pg)
{
	char texts[MESH_TEXTS][TEXT_MAX_BYTES];
	struct pg_params p = {0};
	const char *text = m->texts;

	pg_params_bytes(&p, m->mesh_id.b, ULID_BYTES);
	for (int i = 0; i < MESH_TEXTS; i++) {
		pg_params_text(&p, pg_plain_text(text, texts[i], sizeof(texts[i])));
		text += strlen(text) + 1;
	}
	pg_params_int8(&p, m->allow_join);
	pg_params_int8(&p, m->created_unix_ms < TIME_MAX_MS ? m->created_unix_ms : TIME_MAX_MS);
	return pg_params_send(pg, statements[STMT_MESH].name, &p);
}

static int
send_config(const struct flush_config *f, struct pg_conn *pg)
{
	struct pg_params p = {0};

	if (f->clear)
		return pg_params_send(pg, statements[STMT_CLEAR].name, &p);
	pg_params_text(&p, f->key);
	pg_params_int8(&p, f->version);
	pg_params_int8(&p, f->index);
	pg_params_int8(&p, f->node);
	pg_params_int8(&p, f->unix_ms);
	if (!f->removed)
		pg_params_bytes(&p, f->json, f->len);
	return pg_params_send(pg, statements[f->removed ? STMT_REMOVE : STMT_SET].name, &p);
}

/* ---- updates of nodes ---- */

enum {
	NOTE_NODE,
	NOTE_TYPE,
	NOTE_VERSION,
	NOTE_PAYLOAD,
	NOTE_SIGNATURE,
	NOTE_MS,
	NOTE_REMOVED,
	NOTE_POSITION,
	NOTE_COLUMNS
};

static void
note_column(struct pg_columns *c, const struct flush_note *n, int column)
{
	const uint64_t words[NOTE_COLUMNS] = {[NOTE_NODE] = n->key.node_id,
	    [NOTE_VERSION] = n->version,
	    [NOTE_MS] = n->unix_ms,
	    [NOTE_REMOVED] = n->removed,
	    [NOTE_POSITION] = n->position};

	if (column == NOTE_TYPE)
		pg_columns_put(c, n->key.type, strlen(n->key.type));
	else if (column == NOTE_PAYLOAD)
		pg_columns_put(c, n->bytes, n->payload_len);
	else if (column == NOTE_SIGNATURE)
		pg_columns_put(c, n->bytes + n->payload_len, n->signature_len);
	else
		pg_columns_int8(c, words[column]);
}

static int
send_drop(uint64_t node_id, struct pg_conn *pg)
{
	struct pg_params p = {0};

	pg_params_int8(&p, node_id);
	return pg_params_send(pg, statements[STMT_NOTES_DROP].name, &p);
}

static int
send_some_notes(struct flush_note *const *notes, size_t count, struct pg_conn *pg, struct buf *scratch)
{
	struct pg_columns c;

	pg_columns_init(&c, scratch);
	for (int column = 0; column < NOTE_COLUMNS; column++) {
		bool bytes = column == NOTE_TYPE || column == NOTE_PAYLOAD || column == NOTE_SIGNATURE;

		pg_columns_begin(&c, bytes ? PG_BYTEA : PG_INT8, count);
		for (size_t i = 0; i < count; i++)
			note_column(&c, notes[i], column);
		pg_columns_end(&c);
	}
	return pg_columns_send(&c, statements[STMT_NOTES].name, pg);
}

static int
send_notes(const struct flush_control *f, struct pg_conn *pg, struct buf *scratch)
{
	struct flush_note *notes[CONTROL_STATEMENT_ROWS], *n, *next;
	size_t count = 0, bytes = 0;
	int err = 0;

	HASH_ITER (hh, f->notes, n, next) {
		size_t len = n->payload_len + n->signature_len;

		if (err != 0)
			continue;
		if (count == CONTROL_STATEMENT_ROWS || (count > 0 && bytes + len > CONTROL_STATEMENT_BYTES)) {
			err = send_some_notes(notes, count, pg, scratch);
			count = bytes = 0;
		}
		notes[count++] = n;
		bytes += len;
	}
	return err != 0 || count == 0 ? err : send_some_notes(notes, count, pg, scratch);
}

static int
send_positions(const struct flush_control *f, struct pg_conn *pg, struct buf *scratch)
{
	size_t count = HASH_COUNT(f->positions);
	struct flush_position *p, *next;
	struct pg_columns c;

	if (count == 0)
		return 0;
	pg_columns_init(&c, scratch);
	pg_columns_begin(&c, PG_INT8, count);
	HASH_ITER (hh, f->positions, p, next)
		pg_columns_int8(&c, p->key.kind);
	pg_columns_end(&c);
	pg_columns_begin(&c, PG_BYTEA, count);
	HASH_ITER (hh, f->positions, p, next)
		pg_columns_put(&c, p->key.subscriber, strlen(p->key.subscriber));
	pg_columns_end(&c);
	pg_columns_begin(&c, PG_INT8, count);
	HASH_ITER (hh, f->positions, p, next)
		pg_columns_int8(&c, p->position);
	pg_columns_end(&c);
	return pg_columns_send(&c, statements[STMT_POSITIONS].name, pg);
}

int
store_control_send(const struct flush_control *c, struct pg_conn *pg, struct buf *scratch)
{
	int err = c->mesh != NULL ? send_mesh(c->mesh, pg) : 0;

	for (size_t i = 0; i < c->config_count && err == 0; i++)
		err = send_config(&c->configs[i], pg);
	for (size_t i = 0; i < c->drop_count && err == 0; i++)
		err = send_drop(c->drops[i], pg);
	if (err == 0)
		err = send_notes(c, pg, scratch);
	return err != 0 ? err : send_positions(c, pg, scratch);
}
