/* store_pg_raft: see store_pg_raft.h. */
#include "consensusd/store_pg_raft.h"

#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/store_pg_columns.h"

/* ---- puts of one replica become one ---- */

static void
entries_unref(struct flush_raft *r, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		raft_entry_unref(r->entries[i]);
}

/* Forgets what was put, but not that the group was dropped before. */
static void
raft_clear(struct flush_raft *r)
{
	entries_unref(r, 0, r->entry_count);
	r->entry_count = 0;
	mem_free(r->members);
	mem_free(r->snap);
	r->members = NULL;
	r->snap = NULL;
	r->put = r->restore = false;
	r->keep = 0;
	r->cut = UINT64_MAX;
}

void
store_rafts_fini(struct flush_rafts *rs)
{
	struct flush_raft *r, *next;

	HASH_ITER (hh, rs->groups, r, next) {
		HASH_DEL(rs->groups, r);
		raft_clear(r);
		mem_free(r->entries);
		mem_free(r);
	}
}

static struct flush_raft *
raft_get(struct flush_rafts *rs, const uint8_t group[STORE_GROUP_BYTES], size_t *bytes)
{
	struct flush_raft *r;

	*bytes = 0;
	HASH_FIND(hh, rs->groups, group, STORE_GROUP_BYTES, r);
	if (r != NULL)
		return r;
	r = mem_calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	memcpy(r->group, group, STORE_GROUP_BYTES);
	r->cut = UINT64_MAX;
	HASH_ADD(hh, rs->groups, group, STORE_GROUP_BYTES, r);
	if (!HASH_ADDED(r)) {
		mem_free(r);
		return NULL;
	}
	*bytes = sizeof(*r);
	return r;
}

size_t
store_raft_bytes(const struct store_raft *row)
{
	size_t bytes = row->snap_config_len + row->snap_data_len;

	for (size_t i = 0; i < row->entry_count; i++)
		bytes += raft_entry_bytes(row->entries[i]) + sizeof(row->entries[i]);
	return bytes + row->member_count * sizeof(row->members[0]);
}

/* Room for so many entries more. */
static int
entries_reserve(struct flush_raft *r, size_t count)
{
	size_t cap = r->entry_count + count;
	struct raft_entry **bigger;

	if (cap <= r->entry_cap)
		return 0;
	cap = cap < 2 * r->entry_cap ? 2 * r->entry_cap : cap;
	bigger = mem_reallocarray(r->entries, cap, sizeof(*bigger));
	if (bigger == NULL)
		return ERR_NOMEM;
	r->entries = bigger;
	r->entry_cap = cap;
	return 0;
}

/* The entries that are here and that a put removes. */
static void
entries_trim(struct flush_raft *r, const struct store_raft *row)
{
	size_t first = 0, end = r->entry_count;

	while (end > 0 && (row->restore || r->entries[end - 1]->index >= row->cut))
		end--;
	while (first < end && r->entries[first]->index < row->keep)
		first++;
	entries_unref(r, end, r->entry_count);
	entries_unref(r, 0, first);
	r->entry_count = end - first;
	if (first > 0)
		memmove(r->entries, r->entries + first, r->entry_count * sizeof(r->entries[0]));
}

/* The ranges add up: entries that this flush adds come after them. */
static void
ranges_take(struct flush_raft *r, const struct store_raft *row)
{
	if (row->restore) {
		r->restore = true;
		r->keep = 0;
		r->cut = UINT64_MAX;
	}
	if (row->keep > r->keep)
		r->keep = row->keep;
	if (row->cut < r->cut)
		r->cut = row->cut;
}

static void
snapshot_take(struct flush_raft *r, const struct store_raft *row, uint8_t *snap)
{
	mem_free(r->snap);
	r->snap = snap;
	r->snap_index = row->snap_index;
	r->snap_term = row->snap_term;
	r->snap_config_len = row->snap_config_len;
	r->snap_data_len = row->snap_data_len;
}

static void
state_take(struct flush_raft *r, const struct store_raft *row)
{
	r->put = true;
	r->type = row->type;
	r->replica = row->replica;
	r->term = row->term;
	r->vote = row->vote;
	r->commit = row->commit;
	r->leader_node = row->leader_node;
}

/* Copies of what is borrowed; ERR_NOMEM. */
static int
copies_make(const struct store_raft *row, uint8_t **snap, uint64_t **members)
{
	*snap = NULL;
	*members = NULL;
	if (row->snap_data != NULL) {
		*snap = mem_calloc(1, row->snap_config_len + row->snap_data_len + 1);
		if (*snap == NULL)
			return ERR_NOMEM;
		if (row->snap_config_len > 0)
			memcpy(*snap, row->snap_config, row->snap_config_len);
		memcpy(*snap + row->snap_config_len, row->snap_data, row->snap_data_len);
	}
	if (row->members != NULL) {
		*members = mem_dup(row->members, row->member_count * sizeof(row->members[0]));
		if (*members == NULL) {
			mem_free(*snap);
			return ERR_NOMEM;
		}
	}
	return 0;
}

int
store_rafts_put(struct flush_rafts *rs, const struct store_raft *row, size_t *bytes, size_t *rows)
{
	struct flush_raft *r = raft_get(rs, row->group, bytes);
	uint64_t *members;
	uint8_t *snap;

	MUST(!row->restore || row->snap_data != NULL);
	if (r == NULL || entries_reserve(r, row->entry_count) != 0 || copies_make(row, &snap, &members) != 0)
		return ERR_NOMEM;
	entries_trim(r, row);
	ranges_take(r, row);
	for (size_t i = 0; i < row->entry_count; i++)
		r->entries[r->entry_count++] = raft_entry_ref(row->entries[i]);
	if (snap != NULL)
		snapshot_take(r, row, snap);
	if (members != NULL) {
		mem_free(r->members);
		r->members = members;
		r->member_count = row->member_count;
	}
	state_take(r, row);
	*bytes += store_raft_bytes(row);
	*rows = 1 + row->entry_count;
	return 0;
}

int
store_rafts_drop(struct flush_rafts *rs, const uint8_t group[STORE_GROUP_BYTES], size_t *bytes)
{
	struct flush_raft *r = raft_get(rs, group, bytes);

	if (r == NULL)
		return ERR_NOMEM;
	raft_clear(r);
	r->dropped = true;
	return 0;
}

/* ---- statements ---- */

enum statement { STMT_DROP, STMT_CUT, STMT_SNAPSHOT, STMT_LOG, STMT_GROUP, STMT_COUNT };

static const struct {
	const char *name, *sql;
} statements[STMT_COUNT] = {
    [STMT_DROP] = {"raft_drop", "WITH l AS (DELETE FROM raft_log WHERE group_id = ANY ($1::uuid[])),"
				" s AS (DELETE FROM raft_snapshots WHERE group_id = ANY ($1::uuid[]))"
				" DELETE FROM raft_groups WHERE id = ANY ($1::uuid[])"},
    [STMT_CUT] = {"raft_cut",
	"DELETE FROM raft_log AS l USING unnest($1::uuid[], $2::bigint[], $3::bigint[])"
	" AS c(group_id, since, upto) WHERE l.group_id = c.group_id AND l.index >= c.since"
	" AND l.index <= c.upto"},
    [STMT_SNAPSHOT] = {"raft_snapshot",
	"INSERT INTO raft_snapshots (group_id, index, term, config, data)"
	" VALUES ($1::uuid, $2::bigint, $3::bigint, $4::bytea, $5::bytea)"
	" ON CONFLICT (group_id) DO UPDATE SET index = EXCLUDED.index, term = EXCLUDED.term,"
	" config = EXCLUDED.config, data = EXCLUDED.data, created = now()"},
    [STMT_LOG] = {"raft_log", "INSERT INTO raft_log (group_id, index, term, payload)"
			      " SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[])"},
    /* No members, no snapshot: those that there were stay.  A snapshot never goes back. */
    [STMT_GROUP] = {"raft_group",
	"INSERT INTO raft_groups AS g (id, type, replica, term, vote, commit, leader_id, snap_index,"
	" snap_term, members) SELECT t.id, CASE t.type WHEN 0 THEN 'MCG' ELSE 'DSG' END::raft_group_type,"
	" t.replica, t.term, t.vote, t.commit, nullif(t.leader, 0), t.snap_index, t.snap_term,"
	" t.members::bigint[] FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[],"
	" $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[])"
	" AS t(id, type, replica, term, vote, commit, leader, snap_index, snap_term, members)"
	" ON CONFLICT (id) DO UPDATE SET type = EXCLUDED.type, replica = EXCLUDED.replica,"
	" term = EXCLUDED.term, vote = EXCLUDED.vote, commit = EXCLUDED.commit,"
	" leader_id = EXCLUDED.leader_id, updated = now(),"
	" snap_index = greatest(g.snap_index, EXCLUDED.snap_index),"
	" snap_term = greatest(g.snap_term, EXCLUDED.snap_term),"
	" members = CASE WHEN EXCLUDED.members = '{}' THEN g.members ELSE EXCLUDED.members END"},
};

int
store_rafts_prepare(struct pg_conn *pg)
{
	for (int i = 0; i < STMT_COUNT; i++)
		if (PQsendPrepare(pg, statements[i].name, statements[i].sql, 0, NULL) == 0)
			return ERR_CLOSED;
	return 0;
}

/* ---- what goes ---- */

static int
send_drops(const struct flush_rafts *rs, struct pg_conn *pg, struct buf *scratch)
{
	struct flush_raft *r, *next;
	struct pg_columns c;
	size_t count = 0;

	HASH_ITER (hh, rs->groups, r, next)
		count += r->dropped;
	if (count == 0)
		return 0;
	pg_columns_init(&c, scratch);
	pg_columns_begin(&c, PG_UUID, count);
	HASH_ITER (hh, rs->groups, r, next)
		if (r->dropped)
			pg_columns_put(&c, r->group, STORE_GROUP_BYTES);
	pg_columns_end(&c);
	return pg_columns_send(&c, statements[STMT_DROP].name, pg);
}

enum range_side { RANGE_BELOW, RANGE_ABOVE, RANGE_SIDES };

/* The range of the log that goes, on one side of what stays; false: none. */
static bool
range_get(const struct flush_raft *r, enum range_side side, uint64_t *since, uint64_t *upto)
{
	if (r->restore) {
		*since = 0;
		*upto = INT64_MAX;
		return side == RANGE_BELOW;
	}
	*since = side == RANGE_BELOW ? 0 : r->cut;
	*upto = side == RANGE_BELOW ? r->keep - 1 : INT64_MAX;
	return side == RANGE_BELOW ? r->keep > 0 : r->cut <= INT64_MAX;
}

enum { CUT_GROUP, CUT_SINCE, CUT_UPTO, CUT_COLUMNS };

static void
put_cut_column(struct pg_columns *c, const struct flush_rafts *rs, int column, size_t count)
{
	struct flush_raft *r, *next;
	uint64_t since, upto;

	pg_columns_begin(c, column == CUT_GROUP ? PG_UUID : PG_INT8, count);
	HASH_ITER (hh, rs->groups, r, next)
		for (int side = 0; side < RANGE_SIDES; side++) {
			if (!range_get(r, (enum range_side)side, &since, &upto))
				continue;
			if (column == CUT_GROUP)
				pg_columns_put(c, r->group, STORE_GROUP_BYTES);
			else
				pg_columns_int8(c, column == CUT_SINCE ? since : upto);
		}
	pg_columns_end(c);
}

static int
send_cuts(const struct flush_rafts *rs, struct pg_conn *pg, struct buf *scratch)
{
	struct flush_raft *r, *next;
	struct pg_columns c;
	uint64_t since, upto;
	size_t count = 0;

	HASH_ITER (hh, rs->groups, r, next)
		for (int side = 0; side < RANGE_SIDES; side++)
			count += range_get(r, (enum range_side)side, &since, &upto);
	if (count == 0)
		return 0;
	pg_columns_init(&c, scratch);
	for (int column = 0; column < CUT_COLUMNS; column++)
		put_cut_column(&c, rs, column, count);
	return pg_columns_send(&c, statements[STMT_CUT].name, pg);
}

/* ---- what comes ---- */

static int
send_snapshot(const struct flush_raft *r, struct pg_conn *pg)
{
	struct pg_params p = {0};

	pg_params_bytes(&p, r->group, STORE_GROUP_BYTES);
	pg_params_int8(&p, r->snap_index);
	pg_params_int8(&p, r->snap_term);
	pg_params_bytes(&p, r->snap, r->snap_config_len);
	pg_params_bytes(&p, r->snap + r->snap_config_len, r->snap_data_len);
	return pg_params_send(pg, statements[STMT_SNAPSHOT].name, &p);
}

struct log_row {
	const uint8_t *group;
	const struct raft_entry *entry;
};

static void
column_entry(struct pg_columns *c, const struct raft_entry *e)
{
	if (c->err == 0)
		c->err = buf_put_u32(c->buf, RAFT_ENTRY_HEAD_BYTES + e->len);
	if (c->err == 0)
		c->err = raft_entry_encode(e, c->buf);
}

static int
send_rows(const struct log_row *rows, size_t count, struct pg_conn *pg, struct buf *scratch)
{
	struct pg_columns c;

	pg_columns_init(&c, scratch);
	pg_columns_begin(&c, PG_UUID, count);
	for (size_t i = 0; i < count; i++)
		pg_columns_put(&c, rows[i].group, STORE_GROUP_BYTES);
	pg_columns_end(&c);
	pg_columns_begin(&c, PG_INT8, count);
	for (size_t i = 0; i < count; i++)
		pg_columns_int8(&c, rows[i].entry->index);
	pg_columns_end(&c);
	pg_columns_begin(&c, PG_INT8, count);
	for (size_t i = 0; i < count; i++)
		pg_columns_int8(&c, rows[i].entry->term);
	pg_columns_end(&c);
	pg_columns_begin(&c, PG_BYTEA, count);
	for (size_t i = 0; i < count; i++)
		column_entry(&c, rows[i].entry);
	pg_columns_end(&c);
	return pg_columns_send(&c, statements[STMT_LOG].name, pg);
}

static int
send_log(const struct flush_rafts *rs, struct pg_conn *pg, struct buf *scratch)
{
	struct log_row rows[RAFT_STATEMENT_ROWS];
	struct flush_raft *r, *next;
	size_t count = 0, bytes = 0;
	int err = 0;

	HASH_ITER (hh, rs->groups, r, next)
		for (size_t i = 0; i < r->entry_count && err == 0; i++) {
			size_t len = r->entries[i]->len;

			if (count == RAFT_STATEMENT_ROWS ||
			    (count > 0 && bytes + len > RAFT_STATEMENT_BYTES)) {
				err = send_rows(rows, count, pg, scratch);
				count = bytes = 0;
			}
			rows[count++] = (struct log_row){r->group, r->entries[i]};
			bytes += len;
		}
	return err != 0 || count == 0 ? err : send_rows(rows, count, pg, scratch);
}

/* ---- states ---- */

enum {
	GROUP_TYPE,
	GROUP_REPLICA,
	GROUP_TERM,
	GROUP_VOTE,
	GROUP_COMMIT,
	GROUP_LEADER,
	GROUP_SNAP_INDEX,
	GROUP_SNAP_TERM,
	GROUP_WORDS
};

static uint64_t
group_word(const struct flush_raft *r, int column)
{
	const uint64_t words[GROUP_WORDS] = {r->type, r->replica, r->term, r->vote, r->commit, r->leader_node,
	    r->snap != NULL ? r->snap_index : 0, r->snap != NULL ? r->snap_term : 0};

	return words[column];
}

enum { MEMBER_TEXT_BYTES = 21 }; /* a comma and 64 bits with a sign */

/* A list of nodes as the text of an array, "{1,-2}", behind its length. */
static void
column_members(struct pg_columns *c, const struct flush_raft *r)
{
	size_t count = r->members != NULL ? r->member_count : 0, at = buf_left(c->buf);
	char word[32];

	if (c->err == 0)
		c->err = buf_put_u32(c->buf, 0);
	if (c->err == 0)
		c->err = buf_put_u8(c->buf, '{');
	for (size_t i = 0; i < count && c->err == 0; i++) {
		int n = snprintf(
		    word, sizeof(word), "%s%lld", i == 0 ? "" : ",", (long long)(int64_t)r->members[i]);

		c->err = buf_put_bytes(c->buf, word, (size_t)n);
	}
	if (c->err == 0)
		c->err = buf_put_u8(c->buf, '}');
	if (c->err == 0)
		be_store32(c->buf->data + at, (uint32_t)(buf_left(c->buf) - at - 4));
}

static int
send_groups(struct flush_raft *const *rows, size_t count, struct pg_conn *pg, struct buf *scratch)
{
	struct pg_columns c;

	pg_columns_init(&c, scratch);
	pg_columns_begin(&c, PG_UUID, count);
	for (size_t i = 0; i < count; i++)
		pg_columns_put(&c, rows[i]->group, STORE_GROUP_BYTES);
	pg_columns_end(&c);
	for (int column = 0; column < GROUP_WORDS; column++) {
		pg_columns_begin(&c, PG_INT8, count);
		for (size_t i = 0; i < count; i++)
			pg_columns_int8(&c, group_word(rows[i], column));
		pg_columns_end(&c);
	}
	pg_columns_begin(&c, PG_TEXT, count);
	for (size_t i = 0; i < count; i++)
		column_members(&c, rows[i]);
	pg_columns_end(&c);
	return pg_columns_send(&c, statements[STMT_GROUP].name, pg);
}

static int
send_states(const struct flush_rafts *rs, struct pg_conn *pg, struct buf *scratch)
{
	struct flush_raft *rows[RAFT_STATEMENT_ROWS], *r, *next;
	size_t count = 0, bytes = 0;
	int err = 0;

	HASH_ITER (hh, rs->groups, r, next) {
		size_t len = r->members != NULL ? r->member_count * MEMBER_TEXT_BYTES : 0;

		if (!r->put || err != 0)
			continue;
		if (count == RAFT_STATEMENT_ROWS || (count > 0 && bytes + len > RAFT_STATEMENT_BYTES)) {
			err = send_groups(rows, count, pg, scratch);
			count = bytes = 0;
		}
		rows[count++] = r;
		bytes += len;
	}
	return err != 0 || count == 0 ? err : send_groups(rows, count, pg, scratch);
}

int
store_rafts_send(const struct flush_rafts *rs, struct pg_conn *pg, struct buf *scratch)
{
	struct flush_raft *r, *next;
	int err;

	if (rs->groups == NULL)
		return 0;
	err = send_drops(rs, pg, scratch);
	if (err == 0)
		err = send_cuts(rs, pg, scratch);
	HASH_ITER (hh, rs->groups, r, next)
		if (err == 0 && r->snap != NULL)
			err = send_snapshot(r, pg);
	if (err == 0)
		err = send_log(rs, pg, scratch);
	return err != 0 ? err : send_states(rs, pg, scratch);
}
