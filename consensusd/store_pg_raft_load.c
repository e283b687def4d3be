/* store_pg_raft_load: see store_pg_raft_load.h. */
#include "consensusd/store_pg_raft_load.h"

#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/pg_array.h"
#include "consensusd/store_pg.h"
#include "consensusd/store_pg_row.h"

static const char page_sql[] =
    "SELECT g.id, CASE g.type WHEN 'MCG' THEN 0 ELSE 1 END::bigint, g.replica, g.term, g.vote, g.commit,"
    " g.snap_index, g.snap_term, s.index, s.term FROM raft_groups g"
    " LEFT JOIN raft_snapshots s ON s.group_id = g.id"
    " WHERE g.id > $1 OR ($2 = 0 AND g.id = $1) ORDER BY g.id LIMIT 500";
static const char snapshot_sql[] =
    "SELECT config, data FROM raft_snapshots WHERE group_id = $1 AND index = $2";
/* What is below the snapshot was kept for others only. */
static const char log_sql[] =
    "SELECT index, term, payload FROM raft_log WHERE group_id = $1 AND index > $2 ORDER BY index";

_Static_assert(STORE_LOAD_GROUPS == 500, "as the query has it");
_Static_assert(STORE_RAFT_MCG == 0 && STORE_RAFT_DSG == 1, "as the query has it");

enum { UUID_OID = PG_UUID, INT8_OID = PG_INT8 };

/* ---- the group at hand ---- */

static void
group_forget(struct store_raft_load *l)
{
	for (size_t i = 0; i < l->entry_count; i++)
		raft_entry_unref(l->entries[i]);
	mem_free(l->snap);
	l->snap = NULL;
	l->snap_config_len = l->snap_data_len = 0;
	l->entry_count = l->bytes = 0;
	l->bad = false;
}

/* Part of it is missing: the first reason is told, and the group is not. */
static void
group_bad(struct store *s, uint64_t index, const char *what)
{
	struct store_raft_load *l = &s->raft_load;
	char text[UUID_TEXT_SIZE], why[STORE_WHY_BYTES];

	if (l->bad)
		return;
	l->bad = true;
	uuid_format(text, l->page[l->at].id);
	snprintf(why, sizeof(why), "the state of group %s is damaged at index %llu: %s", text,
	    (unsigned long long)index, what);
	if (s->cb.on_damaged != NULL)
		s->cb.on_damaged(s->cb.ctx, l->page[l->at].id, why);
	else
		store_roll_back(s, "%s", why);
}

static bool
room_for(struct store *s, size_t bytes)
{
	struct store_raft_load *l = &s->raft_load;
	char text[UUID_TEXT_SIZE];

	l->bytes += bytes;
	if (l->bytes <= s->memory_max)
		return true;
	uuid_format(text, l->page[l->at].id);
	store_setup_fail(s, true, "snapshot and log of group %s are larger than memory-max", text);
	return false;
}

/* ---- questions ---- */

static int
question(struct store *s, const char *sql, const uint8_t id[STORE_GROUP_BYTES], uint64_t word)
{
	const Oid types[] = {UUID_OID, INT8_OID};
	uint8_t raw[8];
	const char *values[] = {(const char *)id, (const char *)raw};
	const int lengths[] = {STORE_GROUP_BYTES, 8}, formats[] = {1, 1};
	struct pg_conn *pg = store_conn_pg(s->writer);

	be_store64(raw, word);
	s->setup.again = true;
	s->raft_load.asked = true;
	if (PQsendQueryParams(pg, sql, 2, types, values, lengths, formats, 1) == 0 ||
	    PQsetSingleRowMode(pg) == 0)
		return ERR_CLOSED;
	return 0;
}

/* The question for the group at hand: its snapshot or its log. */
static int
group_ask(struct store *s, enum load_phase phase)
{
	struct store_raft_load *l = &s->raft_load;
	const struct load_group *g = &l->page[l->at];

	l->phase = phase;
	return question(s, phase == LOAD_SNAPSHOT ? snapshot_sql : log_sql, g->id, g->snap_index);
}

static int
group_begin(struct store *s)
{
	struct store_raft_load *l = &s->raft_load;
	const struct load_group *g = &l->page[l->at];

	group_forget(l);
	if (!g->has_snap && (g->snap_index != 0 || g->snap_term != 0))
		group_bad(s, g->snap_index, "its snapshot is missing");
	else if (g->has_snap && (g->snap_row_index != g->snap_index || g->snap_row_term != g->snap_term))
		group_bad(s, g->snap_index, "its snapshot is not the one that it had");
	return group_ask(s, g->has_snap ? LOAD_SNAPSHOT : LOAD_LOG);
}

static int
page_ask(struct store *s)
{
	struct store_raft_load *l = &s->raft_load;

	l->phase = LOAD_PAGE;
	l->page_count = l->at = 0;
	return question(s, page_sql, l->last, l->any);
}

/* ---- the end of a group ---- */

static void
group_check(struct store *s)
{
	struct store_raft_load *l = &s->raft_load;
	const struct load_group *g = &l->page[l->at];
	uint64_t last = g->snap_index + l->entry_count;
	uint64_t term = l->entry_count > 0 ? l->entries[l->entry_count - 1]->term : g->snap_term;

	if (g->has_snap && l->snap == NULL)
		group_bad(s, g->snap_index, "its snapshot is missing");
	else if (g->commit > last)
		group_bad(s, last + 1, "more than that is committed");
	else if (term > g->term)
		group_bad(s, last, "the term of the group is lower");
}

/* Gives it to the user. */
static int
group_tell(struct store *s)
{
	struct store_raft_load *l = &s->raft_load;
	const struct load_group *g = &l->page[l->at];
	struct store_raft_state r = {.type = (enum store_raft_type)g->type,
	    .replica = g->replica,
	    .term = g->term,
	    .vote = g->vote,
	    .commit = g->commit,
	    .snap_index = g->snap_index,
	    .snap_term = g->snap_term,
	    .snap_config = l->snap,
	    .snap_data = l->snap != NULL ? l->snap + l->snap_config_len : NULL,
	    .snap_config_len = l->snap_config_len,
	    .snap_data_len = l->snap_data_len,
	    .entries = l->entries,
	    .entry_count = l->entry_count};
	int err;

	memcpy(r.group, g->id, sizeof(r.group));
	err = s->cb.on_load_raft(s->cb.ctx, &r);
	(void)store_promise_note(s, g->id, g->term, g->vote);
	l->entry_count = 0; /* the references are the user's now */
	return err;
}

static int
group_end(struct store *s)
{
	struct store_raft_load *l = &s->raft_load;
	char text[UUID_TEXT_SIZE];
	int err = 0;

	group_check(s);
	if (!l->bad)
		err = group_tell(s);
	uuid_format(text, l->page[l->at].id);
	if (err != 0)
		store_setup_fail(s, true, "group %s can't be loaded: %s", text, err_text(err));
	memcpy(l->last, l->page[l->at].id, sizeof(l->last));
	l->any = true;
	l->told++;
	l->at++;
	group_forget(l);
	return err;
}

/* ---- answers ---- */

static void
page_row(struct store *s, const struct pg_result *res, int row)
{
	struct store_raft_load *l = &s->raft_load;
	struct pg_row r = {.res = res, .row = row};
	struct load_group *g = &l->page[l->page_count];

	if (l->page_count == STORE_LOAD_GROUPS || l->told + l->page_count == STORE_GROUPS_MAX) {
		store_setup_fail(s, true, "table raft_groups has more than %d rows", STORE_GROUPS_MAX);
		return;
	}
	pg_row_fixed(&r, g->id, sizeof(g->id));
	g->type = pg_row_int8(&r);
	g->replica = pg_row_int8(&r);
	g->term = pg_row_int8(&r);
	g->vote = pg_row_int8(&r);
	g->commit = pg_row_int8(&r);
	g->snap_index = pg_row_int8(&r);
	g->snap_term = pg_row_int8(&r);
	g->has_snap = !pg_row_null(&r);
	g->snap_row_index = g->has_snap ? pg_row_int8(&r) : 0;
	g->snap_row_term = g->has_snap ? pg_row_int8(&r) : 0;
	if (r.bad)
		store_setup_fail(s, true, "table raft_groups has a row that makes no sense");
	l->page_count++;
}

static void
snapshot_row(struct store *s, const struct pg_result *res, int row)
{
	struct store_raft_load *l = &s->raft_load;
	struct pg_row r = {.res = res, .row = row};
	const uint8_t *config = pg_row_bytes(&r, &l->snap_config_len);
	const uint8_t *data = pg_row_bytes(&r, &l->snap_data_len);

	if (l->snap != NULL || !room_for(s, l->snap_config_len + l->snap_data_len))
		return;
	l->snap = mem_calloc(1, l->snap_config_len + l->snap_data_len + 1);
	if (l->snap == NULL) {
		store_setup_fail(s, false, "loading a snapshot: %s", err_text(ERR_NOMEM));
		return;
	}
	memcpy(l->snap, config, l->snap_config_len);
	memcpy(l->snap + l->snap_config_len, data, l->snap_data_len);
}

static int
entries_grow(struct store_raft_load *l)
{
	size_t cap = l->entry_cap == 0 ? 256 : 2 * l->entry_cap;
	struct raft_entry **bigger;

	if (l->entry_count < l->entry_cap)
		return 0;
	bigger = mem_reallocarray(l->entries, cap, sizeof(*bigger));
	if (bigger == NULL)
		return ERR_NOMEM;
	l->entries = bigger;
	l->entry_cap = cap;
	return 0;
}

static void
log_row(struct store *s, const struct pg_result *res, int row)
{
	struct store_raft_load *l = &s->raft_load;
	const struct load_group *g = &l->page[l->at];
	struct pg_row r = {.res = res, .row = row};
	uint64_t index = pg_row_int8(&r), term = pg_row_int8(&r), want = g->snap_index + l->entry_count + 1;
	uint64_t before = l->entry_count > 0 ? l->entries[l->entry_count - 1]->term : g->snap_term;
	struct raft_entry *e;
	const uint8_t *payload;
	size_t len;
	int err;

	payload = pg_row_bytes(&r, &len);
	if (l->bad || !room_for(s, sizeof(*e) + sizeof(e) + len))
		return;
	if (r.bad || index != want || term < before) {
		group_bad(s, want, index != want ? "the entry is missing" : "its term is lower than before");
		return;
	}
	err = entries_grow(l);
	if (err == 0)
		err = raft_entry_decode(payload, len, &e);
	if (err == ERR_NOMEM) {
		store_setup_fail(s, false, "loading a log: %s", err_text(err));
	} else if (err != 0) {
		group_bad(s, index, "the entry can't be read");
	} else {
		e->index = index;
		e->term = term;
		l->entries[l->entry_count++] = e;
	}
}

void
store_load_raft_answer(struct store *s, const struct pg_result *res)
{
	static void (*const take[])(struct store * s, const struct pg_result *res, int row) = {
	    [LOAD_PAGE] = page_row, [LOAD_SNAPSHOT] = snapshot_row, [LOAD_LOG] = log_row};

	for (int i = 0; i < PQntuples(res) && !s->setup.failed; i++)
		take[s->raft_load.phase](s, res, i);
}

/* ---- the step ---- */

/* Nothing more of the page: the next one, unless this was the last. */
static int
page_end(struct store *s)
{
	struct store_raft_load *l = &s->raft_load;

	if (l->page_count == STORE_LOAD_GROUPS)
		return page_ask(s);
	l->done = true;
	store_load_raft_fini(s);
	return 1;
}

int
store_load_raft_ask(struct store *s)
{
	struct store_raft_load *l = &s->raft_load;
	int err;

	if (l->done)
		return 1;
	if (!l->asked)
		return page_ask(s);
	if (l->phase == LOAD_SNAPSHOT)
		return group_ask(s, LOAD_LOG);
	if (l->phase == LOAD_LOG) {
		err = group_end(s);
		if (err != 0)
			return err;
	}
	return l->at < l->page_count ? group_begin(s) : page_end(s);
}

void
store_load_raft_again(struct store *s)
{
	group_forget(&s->raft_load);
	s->raft_load.asked = false;
}

void
store_load_raft_fini(struct store *s)
{
	group_forget(&s->raft_load);
	mem_free(s->raft_load.entries);
	s->raft_load.entries = NULL;
	s->raft_load.entry_cap = 0;
}
