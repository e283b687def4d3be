/*
 * What the link-state database says of members: who there is, in which life, and who has links; and what
 * this node's own links say of what it can know.
 */
#include "common/base/err.h"
#include "routerd/core/swim_impl.h"

int
swim_member(struct swim *s, uint64_t node, uint64_t start, struct mono now)
{
	struct swim_member *m = swim_members_get(&s->members, node);
	int err;

	if (start > UINT32_MAX || node == 0)
		return ERR_RANGE;
	if (m == NULL && (err = swim_state_add(s, node, start << 32, now, &m)) != 0)
		return err;
	m->listed = true;
	if (start <= SWIM_START(m->incarnation) || m == s->self)
		return 0;
	m->incarnation = start << 32; /* a new life */
	swim_state_revive(s, m, now);
	return 0;
}

/* A node that is gone already, as this one learns of it: no news. */
static int
add_ended(struct swim *s, const struct swim_listing *l, struct mono now)
{
	struct swim_member *m;
	int err = swim_state_place(s, l->node, l->start << 32, now, &m);

	if (err != 0)
		return err;
	m->linked = SWIM_LINK_NONE;
	m->by_links = !l->left;
	swim_state_set(s, m, l->left ? SWIM_STATE_LEFT : SWIM_STATE_DEAD, now);
	return 0;
}

static void
listing_left(struct swim *s, struct swim_member *m, struct mono now)
{
	m->linked = SWIM_LINK_NONE;
	m->goodbye = true;
	if (m->state <= SWIM_STATE_SUSPECT)
		swim_state_end(s, m, 0, now);
}

int
swim_list(struct swim *s, const struct swim_listing *l, struct mono now)
{
	struct swim_member *m = swim_members_get(&s->members, l->node);
	bool fresh = m == NULL, newer;
	int err;

	if (fresh && (l->left || !l->linked) && (s->self == NULL || l->node != s->self->node) &&
	    l->start <= UINT32_MAX && l->node != 0 && (err = add_ended(s, l, now)) != 0)
		return err;
	if ((err = swim_member(s, l->node, l->start, now)) != 0)
		return err;
	m = swim_members_get(&s->members, l->node);
	newer = !fresh && (int32_t)((uint32_t)l->seq - m->seq) > 0 && l->start == SWIM_START(m->incarnation);
	m->seq = (uint32_t)l->seq;
	if (m == s->self)
		return 0;
	if (l->left) {
		listing_left(s, m, now);
		return 0;
	}
	if (newer && m->state == SWIM_STATE_DEAD && !m->by_links)
		swim_state_revive(s, m, now);
	swim_linked(s, l->node, l->linked, now);
	return 0;
}

void
swim_forget(struct swim *s, uint64_t node)
{
	struct swim_member *m = swim_members_get(&s->members, node);

	if (m != NULL && m != s->self)
		swim_members_del(&s->members, &s->broadcasts, m);
}

static void
unlinked(struct swim *s, struct swim_member *m, struct mono now)
{
	struct swim_suspicion *sus = swim_member_suspicion(m);

	if (sus != NULL)
		sus->unlinked_at = now;
	if (m->goodbye && m->state <= SWIM_STATE_SUSPECT)
		swim_state_end(s, m, 0, now);
	else if (m->state == SWIM_STATE_ALIVE)
		swim_state_begin(s, m, 0, now);
}

void
swim_linked(struct swim *s, uint64_t node, bool linked, struct mono now)
{
	struct swim_member *m = swim_members_get(&s->members, node);
	uint8_t before;

	if (m == NULL || m == s->self)
		return;
	before = m->linked;
	m->linked = linked ? SWIM_LINK_SOME : SWIM_LINK_NONE;
	if (before == m->linked)
		return;
	if (linked) {
		if (m->by_links)
			swim_state_revive(s, m, now);
		return;
	}
	if (s->sight == SWIM_SIGHT_CLEAR)
		unlinked(s, m, now);
}

void
swim_neighbour(struct swim *s, uint64_t node, bool neighbour)
{
	struct swim_member *m = swim_members_get(&s->members, node);

	if (m != NULL)
		m->neighbour = neighbour;
}

/* --- sight --- */

/* What happened since is as if it had happened now: members had no time yet to show that they are there. */
static void
sight_back(struct swim *s, struct mono now)
{
	int64_t us = mono_diff_us(now, s->dim_since);
	const struct swim_members *t = &s->members;
	struct swim_member *m;

	for (m = swim_members_nth(t, t->suspects); m != NULL; m = swim_members_nth(t, m->after)) {
		struct swim_suspicion *sus = m->u.suspicion;

		sus->started = mono_min(mono_add_us(sus->started, us), now);
		sus->unlinked_at = mono_min(mono_add_us(sus->unlinked_at, us), now);
	}
	for (size_t i = 0; i < t->count; i++)
		if ((m = swim_members_sorted(t, i))->linked == SWIM_LINK_NONE && m != s->self &&
		    (m->state == SWIM_STATE_ALIVE || m->goodbye))
			unlinked(s, m, now);
}

void
swim_sight(struct swim *s, enum swim_sight sight, struct mono now)
{
	enum swim_sight before = s->sight;

	if (sight == before)
		return;
	s->sight = sight;
	s->due = MONO_NEVER; /* that nothing was due is no standing still */
	if (before == SWIM_SIGHT_CLEAR)
		s->dim_since = now;
	if (s->self == NULL)
		return;
	swim_probe_restart(s, now);
	if (sight == SWIM_SIGHT_CLEAR)
		sight_back(s, now);
}
