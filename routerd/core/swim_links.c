/*
 * What the link-state database says of members: who there is, in which life, and who has links.
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

void
swim_forget(struct swim *s, uint64_t node)
{
	struct swim_member *m = swim_members_get(&s->members, node);

	if (m != NULL && m != s->self)
		swim_members_del(&s->members, &s->broadcasts, m);
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
	m->unlinked_at = now;
	if (m->goodbye && m->state <= SWIM_STATE_SUSPECT)
		swim_state_end(s, m, 0, now);
	else if (m->state == SWIM_STATE_ALIVE)
		swim_state_begin(s, m, 0, now);
}

void
swim_neighbour(struct swim *s, uint64_t node, bool neighbour)
{
	struct swim_member *m = swim_members_get(&s->members, node);

	if (m != NULL)
		m->neighbour = neighbour;
}
