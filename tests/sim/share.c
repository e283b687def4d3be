#include "tests/sim/share.h"

#include <stdlib.h>
#include <string.h>

#include "routerd/core/router.h"

/* LSAs in one payload: more than fit. */
enum { NOTED_MAX = 1024 };

void
share_init(struct sim *s)
{
	s->shared = sim_alloc(s->node_count, sizeof(s->shared[0]));
	s->noted = sim_alloc(NOTED_MAX, sizeof(s->noted[0]));
}

void
share_fini(struct sim *s)
{
	for (uint32_t i = 0; i < s->node_count; i++)
		lsa_body_unref(s->shared[i]);
	free(s->shared);
	free(s->noted);
}

void
share_note(struct sim *s, uint32_t origin)
{
	if (s->noted_count < NOTED_MAX)
		s->noted[s->noted_count++] = origin;
}

void
share_add(struct sim *s, uint32_t origin, struct lsa_body *body)
{
	lsa_body_unref(s->shared[origin]);
	s->shared[origin] = body;
}

struct lsa_body *
share_newest(const struct sim *s, uint32_t origin)
{
	return s->shared[origin];
}

static void
share_entry(struct sim_node *n, uint32_t origin, struct lsdb_entry *e)
{
	struct lsa_body *shared = n->sim->shared[origin];
	int order = shared != NULL ? lsa_compare(&e->lsa->id, &shared->id) : 1;

	if (order > 0)
		share_add(n->sim, origin, lsa_body_ref(e->lsa));
	if (order != 0 || e->lsa == shared)
		return;
	if (e->lsa->raw_len != shared->raw_len || memcmp(e->lsa->raw, shared->raw, e->lsa->raw_len) != 0)
		sim_fail(n->sim, "node %u has another LSA of node %u with the same id", n->index, origin);
	lsa_body_unref(e->lsa);
	e->lsa = lsa_body_ref(shared);
}

void
share_noted(struct sim_node *n)
{
	struct sim *s = n->sim;

	for (size_t i = 0; i < s->noted_count; i++) {
		struct lsdb_entry *e = lsdb_get(router_lsdb(n->router), sim_id(s->noted[i]));

		if (e != NULL)
			share_entry(n, s->noted[i], e);
	}
	s->noted_count = 0;
}
