/*
 * check: what must hold after every step (paper, figure 3, and what it leaves unsaid: that votes are kept,
 * that what is committed is on the disks of a majority, that the commit index does not fall).
 */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/raftsim/seen.h"
#include "tests/raftsim/world.h"

static uint64_t
hash_of(const struct raft_entry *e)
{
	uint64_t h = 0xcbf29ce484222325u ^ e->type;

	h = (h ^ e->client) * 0x100000001b3u;
	h = (h ^ e->seq) * 0x100000001b3u;
	for (uint32_t i = 0; i < e->len; i++)
		h = (h ^ e->data[i]) * 0x100000001b3u;
	return h | 1;
}

static struct truth *
truth_at(struct world *w, uint64_t index)
{
	if (index >= INDEX_MAX)
		world_fail(w, "a run with more than %d entries", INDEX_MAX);
	return &w->truth[index];
}

/* --- logs --- */

/* Log matching: an entry of a term at an index is the same everywhere, and follows on the same one. */
static void
check_entry(struct world *w, unsigned h, const struct raft_entry *e)
{
	const struct raft_entry *before = raft_entry_at(w->host[h].raft, e->index - 1);
	uint64_t hash = hash_of(e), prev = before != NULL ? before->term : 0;
	struct seen_entry *s = seen_entry(w->seen, e->term, e->index);

	if (s->hash == 0) {
		s->hash = hash;
		s->prev_term = prev;
	}
	if (s->prev_term == 0)
		s->prev_term = prev;
	if (s->hash != hash || (prev != 0 && s->prev_term != prev))
		world_fail(w, "log matching: host %u has another entry %llu of term %llu", h,
		    (unsigned long long)e->index, (unsigned long long)e->term);
}

static void
on_appended(struct world *w, unsigned h, uint64_t first, uint64_t last)
{
	for (uint64_t i = first; i <= last; i++)
		check_entry(w, h, raft_entry_at(w->host[h].raft, i));
}

static void
on_truncated(struct world *w, unsigned h, uint64_t from)
{
	struct raft_status st;

	raft_show(w->host[h].raft, &st);
	if (st.role == RAFT_LEADER)
		world_fail(
		    w, "leader append-only: host %u cuts its log at %llu", h, (unsigned long long)from);
	if (from <= st.commit)
		world_fail(w, "monotonic commit: host %u cuts off what is committed, at %llu", h,
		    (unsigned long long)from);
}

/* --- leaders --- */

/* Leader completeness: it has what was committed in earlier terms.  One that was stopped while it stood, and
 * gets its votes when a later one has committed more, is none any more, and does not know it yet. */
static void
check_complete(struct world *w, unsigned h, const struct raft_status *st)
{
	for (uint64_t i = w->committed; i >= st->first; i--) {
		const struct truth *t = &w->truth[i];

		if (t->term == 0 || t->in >= st->term)
			continue;
		if (i > st->last || raft_entry_at(w->host[h].raft, i)->term != t->term)
			world_fail(w,
			    "leader completeness: the leader of term %llu has not the entry %llu that was "
			    "committed in term %llu",
			    (unsigned long long)st->term, (unsigned long long)i, (unsigned long long)t->in);
	}
}

static void
on_leader(struct world *w, unsigned h, uint64_t term)
{
	struct raft_status st;
	uint64_t *who = seen_leader(w->seen, term);

	w->elections++;
	raft_show(w->host[h].raft, &st);
	if (*who != 0 && *who != st.id)
		world_fail(w, "election safety: %llu and %llu both lead in term %llu",
		    (unsigned long long)*who, (unsigned long long)st.id, (unsigned long long)term);
	*who = st.id;
	check_complete(w, h, &st);
}

/* --- commit --- */

/* Voters of one of the sets that have it on disk are more than the others.  One that lost its disk may have
 * answered before that. */
static bool
majority_has(struct world *w, unsigned h, uint8_t role, uint64_t index, uint64_t term)
{
	struct raft_member_status m;
	unsigned voters = 0, have = 0;

	for (size_t i = 0; raft_member_at(w->host[h].raft, i, &m); i++) {
		int o = host_of(w, m.member.id);

		if ((m.member.role & role) == 0)
			continue;
		voters++;
		have += o >= 0 ? disk_has(&w->host[o].disk, index, term)
			       : index <= *seen_lost(w->seen, m.member.id);
	}
	return voters == 0 || 2 * have > voters;
}

static void
check_durable(struct world *w, unsigned h, uint64_t index, uint64_t term)
{
	struct raft_status st;

	raft_show(w->host[h].raft, &st);
	if (st.role != RAFT_LEADER)
		return;
	if (!majority_has(w, h, RAFT_VOTER, index, term) || !majority_has(w, h, RAFT_OLD_VOTER, index, term))
		world_fail(w, "durable majority: entry %llu is committed, and not on the disks of a majority",
		    (unsigned long long)index);
}

/* A leader counts copies of its own term's entries alone (paper, section 5.4.2). */
static void
check_counted(struct world *w, unsigned h, uint64_t index)
{
	const struct raft_entry *e = raft_entry_at(w->host[h].raft, index);
	struct raft_status st;

	raft_show(w->host[h].raft, &st);
	if (st.role == RAFT_LEADER && e->term != st.term)
		world_fail(w,
		    "own term counts: the leader of term %llu commits entry %llu, of term %llu, by counting",
		    (unsigned long long)st.term, (unsigned long long)index, (unsigned long long)e->term);
}

static void
on_commit(struct world *w, unsigned h, uint64_t index)
{
	struct raft_status st;

	raft_show(w->host[h].raft, &st);
	check_counted(w, h, index);
	for (uint64_t i = w->host[h].commit + 1; i <= index; i++) {
		const struct raft_entry *e = raft_entry_at(w->host[h].raft, i);
		struct truth *t = truth_at(w, i);

		if (e == NULL)
			continue; /* below a snapshot */
		if (t->term == 0) {
			t->term = e->term;
			t->hash = hash_of(e);
			t->in = st.term;
			check_durable(w, h, i, e->term);
		} else if (t->term != e->term || t->hash != hash_of(e)) {
			world_fail(w, "state machine safety: host %u commits another entry %llu", h,
			    (unsigned long long)i);
		}
	}
	w->host[h].commit = index;
	w->committed = index > w->committed ? index : w->committed;
}

void
check_trace(struct world *w, unsigned h, enum raft_trace what, uint64_t a, uint64_t b)
{
	world_note(w, what);
	world_note(w, a);
	world_note(w, b);
	if (w->verbose)
		printf("%10lld host %u (%llu): %s %llu %llu\n", (long long)w->now, h,
		    (unsigned long long)w->host[h].id, raft_trace_name(what), (unsigned long long)a,
		    (unsigned long long)b);
	if (w->host[h].raft == NULL)
		return; /* while it is made */
	switch (what) {
	case RAFT_TRACE_APPENDED:
		on_appended(w, h, a, b);
		break;
	case RAFT_TRACE_TRUNCATED:
		on_truncated(w, h, a);
		break;
	case RAFT_TRACE_ROLE:
		if (a == RAFT_LEADER)
			on_leader(w, h, b);
		break;
	case RAFT_TRACE_COMMIT:
		on_commit(w, h, a);
		break;
	case RAFT_TRACE_RESTORED:
		w->host[h].commit = a;
		w->restores++;
		break;
	default:
		break;
	}
}

/* --- votes, the state machine --- */

static void
check_vote(struct world *w, unsigned h, const struct raft_msg *m)
{
	uint64_t *vote = seen_vote(w->seen, m->term, m->from);

	if (*vote != 0 && *vote != m->to)
		world_fail(w, "one vote a term: host %u (%llu) votes for %llu and for %llu in term %llu", h,
		    (unsigned long long)m->from, (unsigned long long)*vote, (unsigned long long)m->to,
		    (unsigned long long)m->term);
	*vote = m->to;
}

/* What a message promises is on the disk when it leaves. */
static const char *
broken_promise(struct world *w, unsigned h, const struct raft_msg *m)
{
	const struct disk *d = &w->host[h].disk;
	const struct raft_entry *e = raft_entry_at(w->host[h].raft, m->index);
	struct raft_status st;

	raft_show(w->host[h].raft, &st);
	switch ((enum raft_kind)m->kind) {
	case RAFT_VOTE:
		return d->term < m->term || (d->term == m->term && d->vote != m->from) ? "its own vote"
										       : NULL;
	case RAFT_VOTE_ANSWER:
		return !m->reject && (d->term < m->term || (d->term == m->term && d->vote != m->to))
			   ? "its vote"
			   : NULL;
	case RAFT_APPEND_ANSWER:
		/* In a later term its log may have been cut meanwhile; in this one that can't be. */
		if (m->reject || st.term != m->term)
			return NULL;
		if (m->index > st.last)
			return "what it has cut off";
		if (e == NULL) /* compacted; which term it was is not known any more */
			return m->index <= d->base + d->count ? NULL : "the entries";
		return disk_has(d, m->index, e->term) ? NULL : "the entries";
	case RAFT_APPEND:
	case RAFT_HEARTBEAT:
	case RAFT_SNAPSHOT:
	case RAFT_TIMEOUT_NOW:
		return d->term < m->term ? "the term that it leads" : NULL;
	default:
		return NULL;
	}
}

void
check_sent(struct world *w, unsigned h, const struct raft_msg *m)
{
	const char *what = broken_promise(w, h, m);

	if (m->kind == RAFT_VOTE_ANSWER && !m->reject)
		check_vote(w, h, m);
	if (what != NULL)
		world_fail(w, "persist before send: host %u sends %s, and not on its disk is %s", h,
		    raft_kind_name(m->kind), what);
}

void
check_applied(struct world *w, unsigned h, const struct raft_entry *e)
{
	struct truth *t = truth_at(w, e->index);

	if (t->term == 0)
		world_fail(w, "commit before apply: host %u applies %llu, which is not committed", h,
		    (unsigned long long)e->index);
	if (t->applied == 0)
		t->applied = w->host[h].machine.hash;
	if (t->applied != w->host[h].machine.hash)
		world_fail(w, "state machine safety: host %u is in another state after %llu", h,
		    (unsigned long long)e->index);
	if (!w->early && !disk_has(&w->host[h].disk, e->index, e->term))
		world_fail(w, "durable before apply: host %u applies %llu, which is not on its disk", h,
		    (unsigned long long)e->index);
}

/* A membership holds as soon as it is in the log, and no longer (thesis, section 4.1). */
static void
check_config(struct world *w, unsigned h, const struct raft_status *st)
{
	uint64_t i = st->last;

	while (
	    i >= st->first && i > st->config_index && raft_entry_at(w->host[h].raft, i)->type != RAFT_CONFIG)
		i--;
	if (st->config_index > st->last || (i >= st->first && i != st->config_index))
		world_fail(w,
		    "membership of the log: host %u uses the one at %llu, and the last one there is at %llu",
		    h, (unsigned long long)st->config_index, (unsigned long long)i);
	if (st->config_index >= st->first &&
	    raft_entry_at(w->host[h].raft, st->config_index)->type != RAFT_CONFIG)
		world_fail(w, "membership of the log: host %u uses one at %llu, where there is none", h,
		    (unsigned long long)st->config_index);
}

void
check_after(struct world *w, unsigned h)
{
	struct raft_status st;

	raft_show(w->host[h].raft, &st);
	check_config(w, h, &st);
	if (st.commit < w->host[h].commit)
		world_fail(w, "monotonic commit: the index of host %u falls to %llu", h,
		    (unsigned long long)st.commit);
	if (st.commit > st.last)
		world_fail(w, "monotonic commit: host %u has committed more than it has", h);
	if (st.term < w->host[h].disk.term)
		world_fail(w, "monotonic term: that of host %u falls", h);
}

/* --- in the end --- */

/* Applications get on when all is well. */
static void
check_clients(struct world *w)
{
	for (unsigned c = 0; c < CLIENTS; c++)
		if (w->client[c].done_at < w->now - 8 * (int64_t)WORLD_SECOND)
			world_fail(w, "progress: client %u has got no answer since %.1f s", c,
			    (double)w->client[c].done_at / WORLD_SECOND);
}

void
check_end(struct world *w)
{
	const char *why = history_check(&w->history, MACHINE_REGISTERS);
	int leader = -1;
	struct raft_status st, best = {0};
	struct raft_member_status m;

	if (why != NULL)
		world_fail(w, "linearizability: %s", why);
	for (unsigned h = 0; h < w->hosts; h++) {
		raft_show(w->host[h].raft, &st);
		if (st.role == RAFT_LEADER && st.term > best.term) {
			leader = (int)h;
			best = st;
		}
	}
	if (leader < 0)
		world_fail(w, "progress: nobody leads although all is well");
	check_clients(w);
	for (size_t i = 0; raft_member_at(w->host[leader].raft, i, &m); i++) {
		int h = host_of(w, m.member.id);

		if (h < 0)
			continue; /* it lost its state, and is somebody else */
		raft_show(w->host[h].raft, &st);
		if (st.commit + 50 < best.commit || w->host[h].applied + 50 < best.commit)
			world_fail(w, "progress: host %d has committed %llu and applied %llu of %llu", h,
			    (unsigned long long)st.commit, (unsigned long long)w->host[h].applied,
			    (unsigned long long)best.commit);
	}
}
