/* group: what follows from what happened to a replica; see group.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/group_impl.h"

void
group_touch(struct group *g)
{
	if (!g->dirty) {
		g->dirty = true;
		TAILQ_INSERT_TAIL(&g->owner->dirty, g, dirty_entry);
	}
	engine_wake(g->owner->engine);
}

void
group_on_timer(void *arg)
{
	struct group *g = arg;
	struct mono now = clock_mono();

	if (!mono_before(now, raft_next(g->raft)))
		raft_tick(g->raft, now);
	group_touch(g);
}

/* --- persisting --- */

struct group_write *
group_write_new(struct group *g)
{
	struct group_write *w = mem_calloc(1, sizeof(*w));

	if (w != NULL)
		w->group = g;
	return w;
}

void
group_write_given(struct group_write *w, uint64_t ticket)
{
	w->ticket = ticket;
	TAILQ_INSERT_TAIL(&w->group->owner->writes, w, entry);
	w->listed = w->group->owner;
}

void
group_write_free(struct group_write *w)
{
	if (w->listed != NULL)
		TAILQ_REMOVE(&w->listed->writes, w, entry);
	group_snapshot_fini(&w->stored);
	mem_free(w);
}

void
group_row(const struct group *g, struct store_raft *row)
{
	struct raft_status st;

	raft_show(g->raft, &st);
	*row = (struct store_raft){.type = g->type,
	    .replica = g->replica,
	    .term = st.term,
	    .vote = st.vote,
	    .commit = st.commit,
	    .leader_node = group_leader_node(g),
	    .cut = UINT64_MAX};
	memcpy(row->group, g->id, sizeof(row->group));
}

void
group_put_free(struct group_put *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->row.entry_count; i++)
		raft_entry_unref(p->entries[i]);
	mem_free(p->entries);
	group_snapshot_fini(&p->snapshot);
	mem_free(p);
}

/* The row with references to what it has: the store may take it later only. */
static void
put_fill(struct group *g, struct group_put *p, const struct raft_persist *in)
{
	struct store_raft *row = &p->row;

	group_row(g, row);
	row->term = in->term;
	row->vote = in->vote;
	row->commit = in->commit;
	row->cut = in->cut;
	p->mark = in->mark;
	for (uint64_t i = in->first; i <= in->last; i++)
		p->entries[row->entry_count++] = raft_entry_ref(raft_entry_at(g->raft, i));
	row->entries = p->entries;
	if (!in->restore)
		return;
	MUST(g->restored.index == in->snap_index);
	p->snapshot = g->restored;
	g->restored = (struct group_snapshot){0};
	row->restore = true;
	row->snap_index = in->snap_index;
	row->snap_term = in->snap_term;
	row->snap_config = p->snapshot.config;
	row->snap_config_len = p->snapshot.config_len;
	row->snap_data = p->snapshot.data;
	row->snap_data_len = p->snapshot.len;
}

static int
put_give(struct group *g, struct group_put *p)
{
	struct group_write *w = group_write_new(g);
	int64_t ticket;

	if (w == NULL)
		return ERR_NOMEM;
	if ((ticket = store_put_raft(g->owner->engine->store, &p->row)) < 0) {
		group_write_free(w);
		return (int)ticket;
	}
	w->mark = p->mark;
	group_write_given(w, (uint64_t)ticket);
	if (p->row.restore) {
		group_snapshot_fini(&g->snapshot);
		g->snapshot = p->snapshot;
		p->snapshot = (struct group_snapshot){0};
	}
	return 0;
}

/* Memory for what raft_persist() will give is there before it is asked: it gives it once. */
static struct group_put *
put_new(const struct group *g)
{
	struct group_put *p = mem_calloc(1, sizeof(*p));
	struct raft_status st;

	raft_show(g->raft, &st);
	if (p != NULL &&
	    (p->entries = mem_calloc(st.last - st.durable + 1, sizeof(struct raft_entry *))) == NULL) {
		mem_free(p);
		p = NULL;
	}
	return p;
}

/* Entries of a replica that does not vote: nobody counts on them, and several are one write. */
static bool
may_wait(struct group *g)
{
	struct raft_status st;
	struct mono now;

	if (g->ops == NULL || !g->ops->early || g->put != NULL || g->write_now ||
	    !raft_persist_may_wait(g->raft))
		return false;
	raft_show(g->raft, &st);
	if (st.last == st.written || st.last - st.written >= GROUP_WAIT_COUNT)
		return false;
	now = clock_mono();
	if (mono_is_never(g->write_by))
		g->write_by = mono_add_ms(now, GROUP_WAIT_MS);
	return mono_before(now, g->write_by);
}

/* False: it has to be tried again. */
static bool
persist(struct group *g)
{
	struct raft_persist in;
	bool ok = true;

	if (may_wait(g))
		return true;
	g->write_by = MONO_NEVER;
	g->write_now = false;
	while (ok) {
		if (g->put == NULL) {
			struct group_put *p = put_new(g);

			if (p == NULL)
				return false;
			if (!raft_persist(g->raft, &in)) {
				group_put_free(p);
				return true;
			}
			put_fill(g, p, &in);
			g->put = p;
		}
		ok = put_give(g, g->put) == 0;
		if (ok) {
			group_put_free(g->put);
			g->put = NULL;
		}
	}
	return false;
}

/* --- applying --- */

/* A read may have come first: it waits for the state that it is to see. */
static void
serve_reads(struct group *g)
{
	uint64_t ctx, index;

	while (g->read_count < RAFT_READS_MAX && raft_read_next(g->raft, &ctx, &index)) {
		g->reads[g->read_count] = ctx;
		g->read_at[g->read_count++] = index;
	}
	for (size_t i = 0; i < g->read_count;) {
		if (g->read_at[i] > g->applied) {
			i++;
			continue;
		}
		ctx = g->reads[i];
		g->reads[i] = g->reads[--g->read_count];
		g->read_at[i] = g->read_at[g->read_count];
		if (g->ops->readable != NULL)
			g->ops->readable(g->sm, ctx);
	}
}

/* False: it has to be tried again. */
static bool
apply(struct group *g, bool *more)
{
	unsigned count = 0;

	for (;;) {
		if (g->apply_next > g->apply_last && !raft_apply(g->raft, &g->apply_next, &g->apply_last))
			return true;
		for (; g->apply_next <= g->apply_last; g->apply_next++) {
			if (count++ >= GROUP_TURN_APPLY_COUNT) {
				*more = true;
				return true;
			}
			/* The state machine may have a snapshot that the replica had no memory for. */
			if (g->apply_next <= g->applied)
				continue;
			if (g->ops->apply(g->sm, raft_entry_at(g->raft, g->apply_next)) != 0)
				return false;
			g->applied = g->apply_next;
		}
		raft_applied(g->raft, g->apply_last);
	}
}

/* --- the turn --- */

static void
tell_role(struct group *g)
{
	struct raft_status st;

	raft_show(g->raft, &st);
	if (st.gone && !g->gone) {
		g->gone = true;
		if (g->ops->gone != NULL)
			g->ops->gone(g->sm);
		return;
	}
	g->gone = st.gone;
	if (st.role == g->shown.role && st.term == g->shown.term && st.leader == g->shown.leader &&
	    st.config_index == g->shown.config_index && st.joint == g->shown.joint &&
	    st.voter == g->shown.voter)
		return;
	g->shown = st;
	if (g->ops->role != NULL)
		g->ops->role(g->sm, &st);
}

static struct mono
grid(struct mono when)
{
	const int64_t step = GROUP_GRID_MS * 1000;

	if (mono_is_never(when))
		return when;
	return (struct mono){(when.us + step - 1) / step * step};
}

bool
group_run(struct group *g)
{
	bool more = false, again;

	if (!g->owner->engine->loaded)
		return false;
	group_learn_routes(g);
	group_give_chunks(g);
	group_keep_chunks(g);
	again = !persist(g);
	group_send_all(g);
	if (g->ops != NULL) {
		again |= !apply(g, &more);
		serve_reads(g);
		group_compact(g);
		tell_role(g);
	}
	/* Applying may have made more of it: an answer leaves in the same turn. */
	again |= !persist(g);
	group_send_all(g);
	engine_at(g->owner->engine, &g->timer,
	    again ? mono_add_ms(clock_mono(), GROUP_RETRY_MS)
		  : mono_min(g->write_by, grid(raft_next(g->raft))));
	return more;
}
