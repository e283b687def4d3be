/*
 * relation: the groups of a stream whose targets come and go, as relation.c and relation_lead.c have them.
 *
 * Each set of targets has a group of its own: the source begins it, alone, and takes in the replicas that
 * targets begin when they are told of it.  One that has no stream for a while is dissolved; its other members
 * forget it by and by.  What takes seconds there takes tenths here.
 */
#include "tests/streamsim/world.h"

enum {
	UNUSED_SOURCE_US = 1500 * WORLD_MS,
	UNUSED_TARGET_US = 5 * WORLD_SECOND,
	OUTSIDE_US = 500 * WORLD_MS,
	DUTY_US = 200 * WORLD_MS,
	LATE_GROUPS = 4, /* are left for those that have to be begun anew */
};

static bool
begin(struct world *w, unsigned set, unsigned *g)
{
	if (w->groups == GROUPS_MAX)
		return false;
	*g = w->groups++;
	w->group[*g].set = set;
	group_begin(w, 0, *g);
	w->sums.groups_begun++;
	return true;
}

bool
relation_choose(struct world *w, unsigned set, unsigned *g)
{
	for (unsigned i = 0; i < w->groups; i++) {
		if (w->node[0].in[i] == NULL || w->group[i].set != set)
			continue;
		*g = i;
		w->sums.groups_again++;
		return true;
	}
	return w->groups < GROUPS_MAX - LATE_GROUPS && begin(w, set, g);
}

void
relation_move(struct world *w)
{
	struct node *o = &w->node[0];
	struct replica *old = group_of(w, 0);
	uint64_t term;

	if (o->change.group != o->group) {
		if (group_ready(old, &term) && dsg_find(old->dsg, &w->id) != NULL)
			old->leave_term = term;
		o->group = o->change.group;
		/* It may be back before it was told that it left. */
		group_of(w, 0)->leave_term = 0;
		o->moved = true;
		o->term = 0;
	}
	/* It was lost meanwhile, and another one took its place. */
	if (o->row.group != o->group) {
		o->row.group = o->group;
		change_next_revision(w);
		(void)source_put_row(o, o->stream->state);
	}
}

void
relation_load(struct world *w, unsigned n)
{
	const struct rows *r = &w->node[n].rows;

	for (unsigned g = 0; g < w->groups; g++)
		if (w->node[n].in[g] != NULL && (!r->row || r->set.group != g))
			group_drop(w, n, g);
}

/* --- the source's --- */

static void
renew(struct world *w, unsigned g)
{
	struct node *o = &w->node[0];
	unsigned to;

	if (!begin(w, w->group[g].set, &to))
		return;
	group_drop(w, 0, g);
	w->sums.renewed++;
	if (o->change.under_way && o->change.group == g)
		o->change.group = to;
	if (o->group != g)
		return;
	o->group = to;
	o->term = 0;
	/* It is about to leave, and its row says for where. */
	if (o->change.under_way || o->stream == NULL || o->closed_put)
		return;
	o->row.group = to;
	change_next_revision(w);
	(void)source_put_row(o, o->stream->state);
	source_tell(w);
}

/* The stream has left it. */
static void
tell_leave(struct world *w, struct replica *r)
{
	uint64_t term;
	struct buf b;

	if (r->leave_term == 0)
		return;
	if (!group_ready(r, &term) || term != r->leave_term) {
		r->leave_term = 0;
		return;
	}
	buf_init(&b, 256);
	MUST(dsg_put_close(&b, &w->id) == 0);
	if (group_propose(w, r, &b, NULL))
		r->leave_term = 0;
	buf_fini(&b);
}

static void
source_duty(struct world *w, unsigned g, bool used)
{
	struct replica *r = w->node[0].in[g];
	uint64_t term;

	tell_leave(w, r);
	if (!used && w->now - r->unused_at >= UNUSED_SOURCE_US && w->now >= r->members_at) {
		r->members_at = w->now + DUTY_US;
		if (member_dissolve(w, g) || w->now - r->unused_at >= 2 * UNUSED_SOURCE_US) {
			group_drop(w, 0, g);
			w->sums.groups_dropped++;
		}
		return;
	}
	if (used && member_undecidable(w, g))
		renew(w, g);
	else if (group_leads(r, &term))
		member_turn(w, g);
}

/* --- a target's --- */

/* A replica that was let go by mistake: a new one, and the source hears of it. */
static void
begin_again(struct world *w, unsigned n, unsigned g)
{
	group_drop(w, n, g);
	group_begin(w, n, g);
	w->sums.begun_again++;
	if (w->node[n].target->state != TARGET_OPENING)
		target_answer(w, n);
}

static void
target_duty(struct world *w, unsigned n, unsigned g, bool used)
{
	struct node *o = &w->node[n];
	struct replica *r = o->in[g];
	struct raft_status st;

	raft_show(r->raft, &st);
	if (!used) {
		if (st.gone || w->now - r->unused_at >= UNUSED_TARGET_US) {
			group_drop(w, n, g);
			w->sums.groups_dropped++;
		}
		return;
	}
	if (!st.gone || o->target == NULL)
		r->members_at = 0;
	else if (r->members_at == 0)
		r->members_at = w->now + OUTSIDE_US;
	else if (w->now >= r->members_at)
		begin_again(w, n, g);
}

/* --- both --- */

/* That of a stream that is closed stays: else nobody could see in the end that its state forgets that, too.
 */
static bool
is_used(const struct world *w, unsigned n, unsigned g)
{
	const struct node *o = &w->node[n];

	if (n == 0)
		return o->group == g || (o->change.under_way && o->change.group == g);
	return o->group == g && (o->target != NULL || (o->rows.row && w->node[0].group == g));
}

void
relation_turn(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	for (unsigned g = 0; g < w->groups; g++) {
		struct replica *r = o->in[g];
		bool used = is_used(w, n, g);

		if (r == NULL)
			continue;
		if (used)
			r->unused_at = 0;
		else if (r->unused_at == 0)
			r->unused_at = w->now;
		if (n == 0)
			source_duty(w, g, used);
		else
			target_duty(w, n, g, used);
	}
	node_arm(w, n, (struct mono){w->now + DUTY_US});
}
