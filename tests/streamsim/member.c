/* member: a node that comes back with nothing, and how its new replica takes the place of the lost one: what
 * relation_lead.c does. */
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
	disk_fini(&o->disk);
	disk_init(&o->disk);
	o->replica += REPLICA_STEP;
	o->letters_seen = 0;
	memset(&o->app, 0, sizeof(o->app));
	o->app.slow_us = 2 * WORLD_MS;
	w->sums.lost_disks++;
	world_push(w, w->now + 1 + world_below(w, LOST_DOWN_US), WORLD_START, n, 0, NULL);
	return true;
}

void
member_heard(struct world *w, unsigned n, uint64_t replica)
{
	w->node[0].heard[n] = replica;
}

struct roster {
	struct raft_member member[MEMBERS_MAX];
	struct raft_member_status now[MEMBERS_MAX];
	size_t count;
	bool changed;
};

static void
fill(const struct world *w, struct roster *t)
{
	const struct node *o = &w->node[0];
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

void
member_turn(struct world *w)
{
	struct node *o = &w->node[0];
	struct raft_config *to;
	struct raft_status st;
	struct roster t;
	bool promoted = false;

	if (!w->may_lose || w->now < o->members_at)
		return;
	o->members_at = w->now + DUTY_US;
	node_arm(w, 0, (struct mono){o->members_at});
	raft_show(o->raft, &st);
	if (st.joint)
		return;
	fill(w, &t);
	/* Of two, one votes. */
	if (!t.changed && w->targets > 1)
		promoted = promote(&st, &t);
	if (!t.changed && !promoted)
		return;
	MUST(raft_config_new(t.member, t.count, &to) == 0);
	if (raft_change(o->raft, to, world_clock(w)) == 0)
		w->sums.replaced += promoted;
	raft_config_free(to);
}
