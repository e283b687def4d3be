/* group: snapshots, those that are made here and those that a leader sends; see group.h. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/group_impl.h"
#include "consensusd/stats.h"

void
group_snapshot_fini(struct group_snapshot *s)
{
	mem_free(s->config);
	mem_free(s->data);
	*s = (struct group_snapshot){0};
}

/* --- to others --- */

void
group_give_chunks(struct group *g)
{
	const struct group_snapshot *s = &g->snapshot;
	struct raft_chunk_wanted want;

	while (raft_chunk_next(g->raft, &want)) {
		bool have =
		    s->index != 0 && (want.index == 0 || want.index == s->index) && want.offset <= s->len;
		const struct raft_piece piece = {
		    .index = s->index,
		    .term = s->term,
		    .config = s->config,
		    .config_len = s->config_len,
		    .data = have ? s->data + want.offset : NULL,
		    .len = have ? (size_t)min_u64(s->len - want.offset, want.max) : 0,
		    .size = s->len,
		};

		raft_chunk_give(g->raft, &want, have ? &piece : NULL, clock_mono());
	}
}

/* --- from a leader --- */

/* Room for the whole at its beginning: what comes is bounded by what it said then. */
static bool
incoming_begin(struct group *g, const struct raft_chunk *c)
{
	struct group_snapshot *s = &g->incoming;

	group_snapshot_fini(s);
	if (c->size > GROUP_SNAPSHOT_MAX_BYTES) {
		log_error("a snapshot of %llu bytes is too large for this node (at most %u)",
		    (unsigned long long)c->size, (unsigned)GROUP_SNAPSHOT_MAX_BYTES);
		return false;
	}
	s->index = c->index;
	s->term = c->term;
	s->size = c->size;
	s->data = mem_calloc(1, c->size + 1);
	s->config = mem_calloc(1, c->config_len + 1);
	if (s->data == NULL || s->config == NULL)
		return false;
	memcpy(s->config, c->config, c->config_len);
	s->config_len = c->config_len;
	return true;
}

static bool
incoming_add(struct group *g, const struct raft_chunk *c)
{
	struct group_snapshot *s = &g->incoming;

	if (c->offset == 0 && !incoming_begin(g, c))
		return false;
	if (s->data == NULL || c->index != s->index || c->size != s->size || c->offset != s->len ||
	    c->len > s->size - s->len)
		return false;
	memcpy(s->data + s->len, c->data, c->len);
	s->len += c->len;
	return true;
}

/* The state machine has it before the log says so: what a snapshot holds is committed and durable elsewhere,
 * and after a crash here the leader sends it again. */
static bool
incoming_whole(struct group *g)
{
	struct group_snapshot *s = &g->incoming;
	int err;

	if (s->len < s->size)
		return true;
	err = s->size != 0 ? g->ops->restore(g->sm, s->data, s->len, s->index) : 0;
	if (err != 0) {
		log_error("a snapshot can't be used: %s", err_text(err));
		return false;
	}
	g->applied = s->index;
	g->apply_next = 1;
	g->apply_last = 0;
	metric_inc(&stats.raft_restored);
	return true;
}

/* The log goes on from it: it stays until the store has it, whatever comes meanwhile. */
static void
incoming_used(struct group *g)
{
	const struct group_snapshot *s = &g->incoming;
	struct raft_status st;

	raft_show(g->raft, &st);
	if (s->index == 0 || s->len < s->size || st.first != s->index + 1)
		return;
	group_snapshot_fini(&g->restored);
	g->restored = g->incoming;
	g->incoming = (struct group_snapshot){0};
}

void
group_keep_chunks(struct group *g)
{
	struct raft_chunk c;

	/* Nobody could take the whole: it waits. */
	if (g->ops == NULL)
		return;
	while (raft_chunk_came(g->raft, &c)) {
		bool ok = incoming_add(g, &c) && incoming_whole(g);

		if (!ok)
			group_snapshot_fini(&g->incoming);
		raft_chunk_kept(g->raft, c.id, ok, clock_mono());
		incoming_used(g);
	}
}

/* --- made here --- */

static int
fill_config(struct group *g, struct group_snapshot *s)
{
	struct raft_config *config;
	struct buf out;
	int err = raft_config_at(g->raft, s->index, &config);

	if (err != 0)
		return err;
	buf_init(&out, RAFT_CONFIG_MAX_BYTES);
	err = raft_config_encode(config, &out);
	if (err == 0 && (s->config = mem_dup(buf_head(&out), buf_left(&out))) == NULL)
		err = ERR_NOMEM;
	s->config_len = buf_left(&out);
	buf_fini(&out);
	raft_config_free(config);
	return err;
}

static int
fill_data(struct group *g, struct group_snapshot *s)
{
	struct buf out;
	int err;

	buf_init(&out, GROUP_SNAPSHOT_MAX_BYTES);
	err = g->ops->snapshot(g->sm, &out);
	s->len = s->size = buf_left(&out);
	if (err == 0 && (s->data = mem_calloc(1, s->len + 1)) == NULL)
		err = ERR_NOMEM;
	if (err == 0)
		memcpy(s->data, buf_head(&out), s->len);
	buf_fini(&out);
	return err;
}

static int
put_snapshot(struct group *g, struct group_write *w)
{
	const struct group_snapshot *s = &w->stored;
	struct store_raft row;
	int64_t ticket;

	group_row(g, &row);
	row.commit = s->index; /* what is committed beyond may not be in the database yet */
	row.snap_index = s->index;
	row.snap_term = s->term;
	row.snap_config = s->config;
	row.snap_config_len = s->config_len;
	row.snap_data = s->data;
	row.snap_data_len = s->len;
	row.keep = s->index + 1;
	if ((ticket = store_put_raft(g->owner->engine->store, &row)) < 0)
		return (int)ticket;
	w->compact = s->index;
	group_write_given(w, (uint64_t)ticket);
	return 0;
}

static int
make(struct group *g)
{
	struct group_write *w = group_write_new(g);
	int err;

	if (w == NULL)
		return ERR_NOMEM;
	w->stored.index = g->applied;
	w->stored.term = raft_entry_at(g->raft, g->applied)->term;
	err = fill_config(g, &w->stored);
	if (err == 0)
		err = fill_data(g, &w->stored);
	if (err == 0)
		err = put_snapshot(g, w);
	if (err != 0)
		group_write_free(w);
	return err;
}

/* A leader waits some time for members that are a little behind: they would have to be sent it. */
static bool
somebody_lags(const struct group *g, const struct raft_status *st)
{
	struct raft_member_status m;

	if (st->role != RAFT_LEADER)
		return false;
	for (size_t i = 0; raft_member_at(g->raft, i, &m); i++)
		if (group_member_answers(g, &m) && m.match < g->applied)
			return true;
	return false;
}

/* How much longer than need be this one's log gets: of 256.  Logs of a group grow alike; if all its members
 * made snapshots at once, there would be no majority meanwhile that answers at once. */
static size_t
stagger(const struct group *g)
{
	struct raft_member_status m;
	size_t before = 0, count = 0;

	for (; raft_member_at(g->raft, count, &m); count++)
		before += m.member.id < g->replica;
	return count != 0 ? GROUP_STAGGER_MAX * before / count : 0;
}

static bool
is_long(const struct group *g, const struct raft_status *st, size_t entries)
{
	const struct groups *gs = g->owner;
	size_t more;

	if (st->bytes < gs->compact_bytes && entries < gs->compact_entries)
		return false;
	more = stagger(g);
	return st->bytes >= gs->compact_bytes + gs->compact_bytes / 256 * more ||
	       entries >= gs->compact_entries + gs->compact_entries * more / 256;
}

static bool
is_due(struct group *g)
{
	const struct groups *gs = g->owner;
	struct raft_status st;
	size_t entries;

	raft_show(g->raft, &st);
	if (g->snapshotting || g->put != NULL || g->applied <= g->snapshot.index || g->applied < st.first ||
	    raft_entry_at(g->raft, g->applied) == NULL)
		return false;
	entries = (size_t)(g->applied - st.first + 1);
	if (!is_long(g, &st, entries))
		return false;
	/* A snapshot comes after the entries that are in it. */
	g->write_now = g->applied > st.written;
	if (g->write_now)
		return false;
	return !somebody_lags(g, &st) || st.bytes >= 2 * gs->compact_bytes ||
	       entries >= 2 * gs->compact_entries;
}

void
group_compact(struct group *g)
{
	int err;

	if (!is_due(g))
		return;
	if ((err = make(g)) != 0)
		log_warn("a Raft group's log can't be compacted now: %s", err_text(err));
	else
		g->snapshotting = true;
}

void
group_compacted(struct group *g, struct group_write *w)
{
	g->snapshotting = false;
	/* A leader's snapshot may have come meanwhile, and be newer. */
	if (w->compact <= g->snapshot.index)
		return;
	group_snapshot_fini(&g->snapshot);
	g->snapshot = w->stored;
	w->stored = (struct group_snapshot){0};
	if (raft_compact(g->raft, w->compact) != 0)
		log_debug("a Raft group's log is compacted with the next snapshot");
	metric_inc(&stats.raft_snapshots);
}
