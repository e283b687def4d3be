/*
 * reach: a node that is not of the sample computes no paths: of routerd/core/routes.c it has only who can
 * be reached.  That is found once for all nodes whose databases are the same.
 *
 * The linker puts this before the real ones (--wrap in the Makefile); when it is computed, and what follows
 * from it, are those of the shipped core.
 */
#include <stdlib.h>
#include <string.h>

#include "routerd/core/router_impl.h"
#include "tests/sim/agree.h"
#include "tests/sim/reach.h"

enum { CACHE_SLOTS = 512, NOWHERE = UINT16_MAX };

_Static_assert((int)SIM_NODES_MAX < (int)NOWHERE, "indexes of nodes fit");

/* Which nodes can reach each other over links that both ends list. */
struct reach_map {
	uint64_t key;   /* of the database; 0: of nothing */
	uint16_t *part; /* by node; NOWHERE: it is not there */
};

struct reach {
	struct reach_map cache[CACHE_SLOTS];
	struct reach_map own;           /* of a node whose links are not as its database has them */
	const struct reach_map *map;    /* of the node whose turn it is */
	const struct lsa_body **bodies; /* by node, while a map is made */
	uint32_t *list;
};

int __real_routes_rebuild(struct router *r, struct mono now);
int __real_routes_update(struct router *r, uint64_t node, uint32_t *hops);
int __wrap_routes_rebuild(struct router *r, struct mono now);
int __wrap_routes_update(struct router *r, uint64_t node, uint32_t *hops);

void
reach_init(struct sim *s)
{
	s->reach = sim_alloc(1, sizeof(*s->reach));
	s->reach->bodies = sim_alloc(s->node_count, sizeof(s->reach->bodies[0]));
	s->reach->list = sim_alloc(s->node_count, sizeof(s->reach->list[0]));
}

void
reach_fini(struct sim *s)
{
	if (s->reach == NULL)
		return;
	for (size_t i = 0; i < CACHE_SLOTS; i++)
		free(s->reach->cache[i].part);
	free(s->reach->own.part);
	free(s->reach->bodies);
	free(s->reach->list);
	free(s->reach);
}

/* --- maps --- */

/* Who takes part, as graph.c has it. */
static void
list_bodies(struct sim *s, struct lsdb *db)
{
	memset(s->reach->bodies, 0, s->node_count * sizeof(s->reach->bodies[0]));
	for (struct lsdb_entry *e = lsdb_from(db, 0); e != NULL; e = lsdb_next(db, e))
		if (!e->dead && (e->lsa->flags & LSA_FLAG_LEFT) == 0)
			s->reach->bodies[sim_index(e->node)] = e->lsa;
}

static bool
lists(const struct lsa_body *b, uint64_t neighbour)
{
	for (size_t i = 0; i < b->adj_count; i++)
		if (b->adj[i].neighbour == neighbour)
			return true;
	return false;
}

/* All that can be reached from a node are of its part. */
static void
fill_part(struct reach *x, uint16_t *part, uint32_t from)
{
	uint32_t found = 1;

	x->list[0] = from;
	part[from] = (uint16_t)from;
	for (uint32_t i = 0; i < found; i++) {
		const struct lsa_body *b = x->bodies[x->list[i]];

		for (size_t k = 0; k < b->adj_count; k++) {
			uint32_t peer = sim_index(b->adj[k].neighbour);

			if (part[peer] != NOWHERE || x->bodies[peer] == NULL ||
			    !lists(x->bodies[peer], sim_id(x->list[i])))
				continue;
			part[peer] = (uint16_t)from;
			x->list[found++] = peer;
		}
	}
}

static void
map_make(struct sim *s, struct reach_map *m, struct lsdb *db, uint32_t self, const struct lsa_body *links)
{
	if (m->part == NULL)
		m->part = sim_alloc(s->node_count, sizeof(m->part[0]));
	memset(m->part, 0xff, s->node_count * sizeof(m->part[0]));
	list_bodies(s, db);
	s->reach->bodies[self] = links;
	for (uint32_t i = 0; i < s->node_count; i++)
		if (s->reach->bodies[i] != NULL && m->part[i] == NOWHERE)
			fill_part(s->reach, m->part, i);
}

/* Of the LSAs that are there, and of nodes that membership has for dead.  Not 0. */
static uint64_t
key_of(struct lsdb *db)
{
	uint64_t key = db->sum;

	for (struct lsdb_entry *e = lsdb_from(db, 0); e != NULL; e = lsdb_next(db, e))
		if (e->dead)
			key += sim_mix(1, &e->node, sizeof(e->node));
	return key != 0 ? key : 1;
}

/* Are its links those of its LSA? */
static bool
links_said(struct lsdb *db, uint64_t self, const struct lsa_body *links)
{
	const struct lsdb_entry *own = lsdb_get(db, self);

	if (own == NULL || own->lsa->flags != 0 || own->lsa->adj_count != links->adj_count)
		return false;
	for (size_t i = 0; i < links->adj_count; i++)
		if (own->lsa->adj[i].neighbour != links->adj[i].neighbour)
			return false;
	return true;
}

static const struct reach_map *
map_of(struct sim_node *n)
{
	struct sim *s = n->sim;
	struct router *r = n->router;
	size_t left_out;
	struct lsa_body links = {.adj = r->lsa.adj};
	struct reach_map *m = &s->reach->own;
	uint64_t key = 0;

	links.adj_count = (uint16_t)neighbour_table_adj(&r->neighbours, r->lsa.adj, &left_out);
	if (links_said(&r->db, r->self.node, &links)) {
		key = key_of(&r->db);
		m = &s->reach->cache[key % CACHE_SLOTS];
		if (m->key == key)
			return m;
	}
	map_make(s, m, &r->db, n->index, &links);
	m->key = key;
	return m;
}

/* --- in place of those of routes.c --- */

int
__wrap_routes_rebuild(struct router *r, struct mono now)
{
	struct sim_node *n = r->arg;

	if (n->fib != NULL)
		return __real_routes_rebuild(r, now);
	n->sim->reach->map = map_of(n);
	agree_reached(n);
	return 0;
}

int
__wrap_routes_update(struct router *r, uint64_t node, uint32_t *hops)
{
	struct sim_node *n = r->arg;
	const uint16_t *part;

	if (n->fib != NULL)
		return __real_routes_update(r, node, hops);
	part = n->sim->reach->map->part;
	*hops = 1;
	return part[sim_index(node)] == part[n->index];
}
