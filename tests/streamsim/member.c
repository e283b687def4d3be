/* member: a node that comes back with nothing, and how its new replica takes the place of the lost one, or
 * how the replica of a new target is taken in: what relation_lead.c does. */
#include <string.h>

#include "common/base/err.h"
#include "tests/streamsim/world.h"

enum { DUTY_US = 200 * WORLD_MS, CAUGHT_UP = 100, MEMBERS_MAX = 2 * ENDS_MAX, LOST_DOWN_US = 900 * WORLD_MS };

bool
member_lose(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	/* The group could not do without a second one, or without one of two. */
	if (!w->may_lose || n == 0 || w->targets < 2 || w->sums.lost_disks != 0)
		return false;
	if (o->up)
		node_crash(w, n);
	world_tell(
	    w, "node %u loses all it had: up to %llu was processed", n, (unsigned long long)o->rows.marks[0]);
	o->lost++;
	o->ever_marked = o->rows.marks[0];
	rows_fini(&o->rows);
	rows_init(&o->rows);
	group_lose(w, n);
	o->letters_seen = 0;
	memset(&o->app, 0, sizeof(o->app));
	o->app.slow_us = 2 * WORLD_MS;
	w->sums.lost_disks++;
	world_push(w, w->now + 1 + world_below(w, LOST_DOWN_US), WORLD_START, n, 0, NULL);
	return true;
}

static bool
belongs(const struct world *w, unsigned g, unsigned n)
{
	return !w->changes || set_has(w->group[g].set, n);
}

void
member_heard(struct world *w, unsigned n, uint64_t replica)
{
	if (belongs(w, w->node[0].group, n))
		group_of(w, 0)->heard[n] = replica;
}

struct roster {
	struct raft_member member[MEMBERS_MAX];
	struct raft_member_status now[MEMBERS_MAX];
	size_t count, voters;
	bool changed;
};

static void
fill(const struct world *w, unsigned g, struct roster *t)
{
	const struct replica *o = w->node[0].in[g];
	bool there[ENDS_MAX] = {false};

	*t = (struct roster){0};
	for (size_t i = 0; raft_member_at(o->raft, i, &t->now[t->count]); i++) {
		const struct raft_member *m = &t->now[t->count].member;
		uint64_t heard = o->heard[m->node - 1];

		if (heard != 0 && heard != m->id) {
			t->changed = true;
			continue;
		}
		there[m->node - 1] = true;
		t->voters += m->role != RAFT_LEARNER;
		t->member[t->count++] = *m;
	}
	for (unsigned n = 1; n <= w->targets; n++) {
		if (there[n] || o->heard[n] == 0)
			continue;
		t->now[t->count] = (struct raft_member_status){0};
		t->member[t->count++] = (struct raft_member){o->heard[n], n + 1, RAFT_LEARNER};
		t->changed = true;
	}
}

/* Of two, one votes; where targets come and go, no more than three. */
static size_t
voters_wanted(const struct world *w, size_t members)
{
	if (!w->changes)
		return w->targets > 1 ? members : 1;
	return members < 3 ? 1 : 3;
}

/* One that has the log votes. */
static bool
promote(const struct raft_status *st, struct roster *t)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct raft_member_status *s = &t->now[i];

		if (s->member.role != RAFT_LEARNER || s->snapshot || s->match == 0 || !s->active ||
		    s->match + CAUGHT_UP < st->last)
			continue;
		t->member[i].role = RAFT_VOTER;
		return true;
	}
	return false;
}

static bool
unvote(struct roster *t)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->member[i].role == RAFT_LEARNER || t->member[i].node == 1)
			continue;
		t->member[i].role = RAFT_LEARNER;
		return true;
	}
	return false;
}

static bool
change_to(struct world *w, struct replica *o, const struct roster *t)
{
	struct raft_config *to;
	int err;

	MUST(raft_config_new(t->member, t->count, &to) == 0);
	err = raft_change(o->raft, to, world_clock(w));
	raft_config_free(to);
	return err == 0;
}

void
member_turn(struct world *w, unsigned g)
{
	struct replica *o = w->node[0].in[g];
	struct raft_status st;
	struct roster t;
	bool promoted = false;
	size_t wanted;

	if ((!w->may_lose && !w->changes) || w->now < o->members_at)
		return;
	o->members_at = w->now + DUTY_US;
	node_arm(w, 0, (struct mono){o->members_at});
	raft_show(o->raft, &st);
	if (st.joint)
		return;
	fill(w, g, &t);
	wanted = voters_wanted(w, t.count);
	if (!t.changed && t.voters > wanted)
		t.changed = unvote(&t);
	else if (!t.changed && t.voters < wanted)
		promoted = promote(&st, &t);
	if ((!t.changed && !promoted) || !change_to(w, o, &t))
		return;
	if (w->changes)
		w->sums.voters += promoted;
	else
		w->sums.replaced += promoted;
	w->sums.members_added += w->changes && t.changed;
}

/* Where the stream is closed nothing keeps the replica, and nobody says when it goes. */
static bool
is_done(const struct world *w, uint64_t node)
{
	struct stream *st = w->node[0].stream;
	const struct flow *f = st != NULL ? stream_flow(st, node) : NULL;

	return f != NULL && f->state == FLOW_CLOSED;
}

bool
member_undecidable(const struct world *w, unsigned g)
{
	const struct replica *o = w->node[0].in[g];
	struct raft_member_status s;
	size_t voters = 0, lost = 0;
	struct raft_status st;

	raft_show(o->raft, &st);
	for (size_t i = 0; raft_member_at(o->raft, i, &s); i++) {
		uint64_t heard = o->heard[s.member.node - 1];

		if (s.member.role == RAFT_LEARNER)
			continue;
		voters++;
		lost += (heard != 0 && heard != s.member.id) || (st.leader == 0 && is_done(w, s.member.node));
	}
	return voters - lost < voters / 2 + 1;
}

bool
member_dissolve(struct world *w, unsigned g)
{
	struct replica *o = w->node[0].in[g];
	struct raft_status st;
	struct roster t;

	raft_show(o->raft, &st);
	if (st.role != RAFT_LEADER || st.members <= 1)
		return true;
	if (st.joint)
		return false;
	t = (struct roster){.count = 1, .member = {{st.id, 1, RAFT_VOTER}}};
	w->sums.members_let_go += change_to(w, o, &t) ? st.members - 1 : 0;
	return false;
}
