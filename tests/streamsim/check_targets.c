/*
 * check_targets: what must hold of a stream whose targets come and go.
 *
 * A node that becomes a target gets all from the first message on that is taken after that, in order, each
 * once, and nothing older.  What it has processed when it hears that it is none any more counts; the rest of
 * what it has is dropped.  Until it hears of it, it goes on with what had been sent: nothing that the source
 * took after the removal was durable.  Added again, it begins anew, behind all that it ever had.
 */
#include "tests/streamsim/world.h"

bool
check_gets(const struct world *w, unsigned n, uint64_t seq)
{
	const struct rows *r = &w->node[0].rows;

	if (!w->changes)
		return true;
	return r->row && set_has(r->set.present, n) && r->set.first[n - 1] <= seq;
}

bool
check_got(const struct world *w, unsigned n, uint64_t seq)
{
	const struct node *o = &w->node[n];

	for (unsigned i = 0; i < o->stays; i++)
		if (o->stay[i].first <= seq && (!o->stay[i].ended || seq <= o->stay[i].last))
			return true;
	return check_gets(w, n, seq);
}

uint64_t
check_ever_processed(const struct node *o)
{
	return o->rows.marks[0] > o->ever_marked ? o->rows.marks[0] : o->ever_marked;
}

uint64_t
check_bound(const struct world *w, unsigned n)
{
	uint64_t has = check_ever_processed(&w->node[n]), first = w->node[0].rows.set.first[n - 1];

	return check_gets(w, n, UINT64_MAX) && first > has + 1 ? first - 1 : has;
}

static struct stay *
newest(struct node *o)
{
	return o->stays > 0 ? &o->stay[o->stays - 1] : NULL;
}

/* --- rows that became durable --- */

static void
source_row(struct world *w, const struct rows_put *p)
{
	const struct rows *r = &w->node[0].rows;

	for (unsigned n = 1; n <= w->targets; n++) {
		struct node *o = &w->node[n];
		bool was = set_has(r->set.present, n), is = set_has(p->set.present, n);

		if (was && (!is || p->set.first[n - 1] != r->set.first[n - 1]))
			o->removed_bound = r->last_seq;
		w->sums.removed += was && !is;
		if (was || !is || !r->row)
			continue;
		w->sums.added++;
		w->sums.added_again += o->stays > 0;
		w->sums.unheard += o->stays > 0 && newest(o)->last == 0 && o->rows.row;
		if (p->set.first[n - 1] != r->last_seq + 1)
			world_fail(w, "target %u is to get what comes from %llu on, and there is up to %llu",
			    n, (unsigned long long)p->set.first[n - 1], (unsigned long long)r->last_seq);
	}
}

static void
begins(struct world *w, unsigned n, const struct rows_put *p)
{
	struct node *o = &w->node[n];

	MUST(o->stays < STAYS_MAX);
	if (o->stays > 0 && p->first <= o->rows.marks[0])
		world_fail(
		    w, "node %u begins anew at %llu, and may have had that", n, (unsigned long long)p->first);
	o->stay[o->stays++] = (struct stay){.first = p->first > 0 ? p->first : 1};
}

/* By then it has heard of it, and its bound is known. */
static void
ends(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct stay *s = newest(o);

	s->last = o->rows.marks[0];
	s->bound = o->removed_bound;
	s->ended = true;
}

void
check_row(struct world *w, unsigned n, const struct rows_put *p)
{
	if (!w->changes)
		return;
	if (n == 0)
		source_row(w, p);
	else if (p->leave)
		ends(w, n);
	else if (!w->node[n].rows.row)
		begins(w, n, p);
}

/* --- messages --- */

void
check_stay(const struct world *w, unsigned n, uint64_t seq)
{
	const struct node *o = &w->node[n];
	uint64_t first = o->row.first[n - 1];

	if (!w->changes)
		return;
	if (seq < first)
		world_fail(w, "application %u gets %llu, which was there before it was a target", n,
		    (unsigned long long)seq);
	if (check_gets(w, n, UINT64_MAX) && w->node[0].rows.set.first[n - 1] <= first)
		return;
	if (seq > o->removed_bound)
		world_fail(
		    w, "application %u gets %llu, and was removed before that", n, (unsigned long long)seq);
}

/* Behind what counts: what it had begun with, without a hole but for what its application could not process.
 */
static void
check_rest(const struct world *w, unsigned n, const struct stay *s, uint64_t next)
{
	const struct app_message *m = w->node[n].app.messages;
	uint64_t hole = 0;

	for (uint64_t seq = s->last + 1; seq < next; seq++) {
		if (m[seq].done && seq > s->bound)
			world_fail(
			    w, "application %u has %llu, and was no target then", n, (unsigned long long)seq);
		if (m[seq].done && hole != 0)
			world_fail(w, "application %u has %llu, and not %llu", n, (unsigned long long)seq,
			    (unsigned long long)hole);
		if (!m[seq].done && m[seq].attempts == 0 && rows_gap(&w->node[n].rows, 0, seq) == NULL &&
		    hole == 0)
			hole = seq;
	}
}

/* --- at the end --- */

void
check_stays_closed(const struct world *w)
{
	uint64_t last = w->node[0].rows.last_seq;

	for (unsigned n = 1; n <= w->targets; n++) {
		const struct rows *r = &w->node[n].rows;

		if (!check_gets(w, n, UINT64_MAX)) {
			/* It may have been closed there before the removal was durable. */
			if (r->row && r->row_state != TARGET_CLOSING)
				world_fail(w, "the stream is closed, and node %u still has it", n);
			continue;
		}
		if (check_bound(w, n) != last)
			world_fail(w, "the stream is closed before node %u has processed all", n);
		if (r->row ? r->row_state != TARGET_CLOSING : w->node[0].rows.set.first[n - 1] <= last)
			world_fail(w, "the stream is closed, and not at node %u", n);
	}
}

/* One that had all when its stream moved to the last group may have forgotten that group by now, or never
 * have heard of it, or the source has not heard of its replica. */
static bool
came(const struct world *w, unsigned n)
{
	const struct rows *r = &w->node[n].rows;

	return r->row && r->set.group == w->node[0].group && group_of(w, 0)->heard[n] != 0;
}

static bool
members_right(const struct world *w)
{
	const struct node *o = &w->node[0];
	const struct replica *r = group_of(w, 0);
	struct raft_member_status s;
	unsigned there = 0;

	for (size_t i = 0; raft_member_at(r->raft, i, &s); i++) {
		const struct node *other = &w->node[s.member.node - 1];

		if (other != o && !came(w, s.member.node - 1))
			continue;
		if (other->in[o->group] == NULL || other->in[o->group]->id != s.member.id)
			return false;
		there |= 1u << (s.member.node - 1);
	}
	for (unsigned n = 1; n <= w->targets; n++)
		if (!came(w, n))
			there |= o->rows.set.present & 1u << n;
	return there == (o->rows.set.present | 1);
}

/* Where all have moved to it, the last group forgets the stream; another one can't decide that perhaps. */
static bool
is_kept(const struct world *w, const struct replica *r)
{
	for (unsigned n = 1; n <= w->targets; n++)
		if (set_has(w->node[0].rows.set.present, n) && !came(w, n))
			return false;
	return dsg_find(r->dsg, &w->id) != NULL;
}

bool
check_stays_done(const struct world *w)
{
	for (unsigned n = 0; n <= w->targets; n++) {
		const struct node *o = &w->node[n];

		for (unsigned g = 0; g < GROUPS_MAX; g++)
			if (o->in[g] != NULL && (g != w->node[0].group || is_kept(w, o->in[g])))
				return false;
		if (n != 0 && o->rows.row &&
		    (o->rows.count != 0 && o->rows.marks[0] != w->node[0].rows.last_seq))
			return false;
	}
	return members_right(w);
}

void
check_stays_tell(const struct world *w)
{
	struct raft_member_status s;

	for (unsigned n = 0; n <= w->targets; n++) {
		const struct node *o = &w->node[n];

		world_tell(w,
		    "node %u: row %d state %llu, up to %llu, marks %llu %llu %llu; group %u, present %x left "
		    "%x, target %d",
		    n, o->rows.row, (unsigned long long)o->rows.row_state,
		    (unsigned long long)o->rows.last_seq, (unsigned long long)o->rows.marks[0],
		    (unsigned long long)o->rows.marks[1], (unsigned long long)o->rows.marks[2], o->group,
		    o->rows.set.present, o->rows.set.left, o->target != NULL ? (int)o->target->state : -1);
		for (unsigned g = 0; g < GROUPS_MAX; g++) {
			if (o->in[g] == NULL)
				continue;
			world_tell(w, "  group %u of %x: replica %llu%s", g, w->group[g].set,
			    (unsigned long long)o->in[g]->id,
			    dsg_find(o->in[g]->dsg, &w->id) != NULL ? ", has it" : "");
			for (size_t i = 0; raft_member_at(o->in[g]->raft, i, &s); i++)
				world_tell(w, "    member %llu role %d", (unsigned long long)s.member.id,
				    s.member.role);
		}
	}
	for (size_t i = 0; w->node[0].stream != NULL && i < w->node[0].stream->flow_count; i++) {
		const struct flow *f = &w->node[0].stream->flows[i];

		world_tell(w, "flow to %u: %s%s, first %llu stored %llu processed %llu recorded %llu",
		    (unsigned)f->node - 1, flow_state_name(f->state), f->untold ? " untold" : "",
		    (unsigned long long)f->first_seq, (unsigned long long)f->stored,
		    (unsigned long long)f->processed, (unsigned long long)f->recorded_seq);
	}
}

void
check_stays_end(const struct world *w)
{
	for (unsigned n = 1; n <= w->targets; n++) {
		const struct node *o = &w->node[n];
		uint64_t seq = 1;

		for (unsigned i = 0; i < o->stays; i++) {
			struct stay s = o->stay[i];

			if (!s.ended)
				s.last = s.bound = o->rows.marks[0];
			for (; seq < s.first; seq++)
				if (i == 0 && o->app.messages[seq].done)
					world_fail(w, "application %u has %llu, which came before it", n,
					    (unsigned long long)seq);
			for (; seq <= s.last; seq++)
				if (!check_once(w, n, seq))
					world_fail(w, "node %u: %llu is not applied once", n,
					    (unsigned long long)seq);
			check_rest(
			    w, n, &s, i + 1 < o->stays ? o->stay[i + 1].first : w->node[0].rows.last_seq + 1);
		}
	}
}
