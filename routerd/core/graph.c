#include "routerd/core/graph.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/cost.h"
#include "routerd/core/lsdb.h"

void
graph_init(struct graph *g)
{
	*g = (struct graph){.root = GRAPH_NONE};
}

void
graph_fini(struct graph *g)
{
	mem_free(g->ids);
	mem_free(g->first);
	mem_free(g->edges);
	graph_init(g);
}

/* Who of the database takes part: tombstones aside, all but those that left. */
static bool
takes_part(const struct lsdb_entry *e, uint64_t self)
{
	return e->id.node != self && (e->flags & LSA_FLAG_LEFT) == 0;
}

struct sizes {
	size_t vertices, edges;
};

static struct sizes
sizes_get(struct lsdb *db, uint64_t self, size_t own_edges)
{
	struct sizes s = {1, own_edges};

	for (struct lsdb_entry *e = lsdb_from(db, 0); e != NULL; e = lsdb_next(db, e)) {
		if (!takes_part(e, self))
			continue;
		s.vertices++;
		s.edges += e->adj_count;
	}
	return s;
}

static int
grow_vertices(struct graph *g, size_t count)
{
	uint64_t *ids;
	uint32_t *first;

	if (count <= g->vertex_cap)
		return 0;
	if ((ids = mem_reallocarray(g->ids, count, sizeof(*ids))) == NULL)
		return ERR_NOMEM;
	g->ids = ids;
	if ((first = mem_reallocarray(g->first, count + 1, sizeof(*first))) == NULL)
		return ERR_NOMEM;
	g->first = first;
	g->vertex_cap = count;
	return 0;
}

static int
grow_edges(struct graph *g, size_t count)
{
	struct graph_edge *edges;

	if (count <= g->edge_cap)
		return 0;
	if ((edges = mem_reallocarray(g->edges, count, sizeof(*edges))) == NULL)
		return ERR_NOMEM;
	g->edges = edges;
	g->edge_cap = count;
	return 0;
}

static void
list_vertices(struct graph *g, struct lsdb *db, uint64_t self)
{
	bool placed = false;

	for (struct lsdb_entry *e = lsdb_from(db, 0); e != NULL; e = lsdb_next(db, e)) {
		if (!takes_part(e, self))
			continue;
		if (!placed && self < e->id.node) {
			g->root = (uint32_t)g->vertex_count;
			g->ids[g->vertex_count++] = self;
			placed = true;
		}
		g->ids[g->vertex_count++] = e->id.node;
	}
	if (!placed) {
		g->root = (uint32_t)g->vertex_count;
		g->ids[g->vertex_count++] = self;
	}
}

uint32_t
graph_find(const struct graph *g, uint64_t node)
{
	size_t lo = 0, hi = g->vertex_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (g->ids[mid] == node)
			return (uint32_t)mid;
		if (g->ids[mid] < node)
			lo = mid + 1;
		else
			hi = mid;
	}
	return GRAPH_NONE;
}

struct own {
	uint64_t self;
	const struct lsa_adj *adj;
	size_t adj_count;
};

static bool
own_lists(const struct own *own, uint64_t neighbour)
{
	const struct lsdb_entry view = {
	    .adj = (struct lsa_adj *)(uintptr_t)own->adj, .adj_count = (uint16_t)own->adj_count};

	return lsdb_adj(&view, neighbour) != NULL;
}

/* The two-way check: does node list from? */
static bool
lists_back(struct lsdb *db, const struct own *own, uint64_t node, uint64_t from)
{
	const struct lsdb_entry *e;

	if (node == own->self)
		return own_lists(own, from);
	e = lsdb_get(db, node);
	return e != NULL && lsdb_adj(e, from) != NULL;
}

static void
add_edges(struct graph *g, struct lsdb *db, const struct own *own, uint64_t from, const struct lsa_adj *adj,
    size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t to = graph_find(g, adj[i].neighbour);

		if (to != GRAPH_NONE && lists_back(db, own, adj[i].neighbour, from))
			g->edges[g->edge_count++] = (struct graph_edge){to, cost_link(&adj[i])};
	}
}

int
graph_build(struct graph *g, struct lsdb *db, uint64_t self, const struct lsa_adj *adj, size_t adj_count)
{
	struct own own = {self, adj, adj_count};
	struct sizes s = sizes_get(db, self, adj_count);
	const struct lsdb_entry *e;

	g->vertex_count = g->edge_count = 0;
	g->root = GRAPH_NONE;
	if (grow_vertices(g, s.vertices) != 0 || grow_edges(g, s.edges) != 0)
		return ERR_NOMEM;
	list_vertices(g, db, self);
	for (size_t v = 0; v < g->vertex_count; v++) {
		g->first[v] = (uint32_t)g->edge_count;
		if (g->ids[v] == self)
			add_edges(g, db, &own, self, adj, adj_count);
		else if ((e = lsdb_get(db, g->ids[v])) != NULL)
			add_edges(g, db, &own, g->ids[v], e->adj, e->adj_count);
	}
	g->first[g->vertex_count] = (uint32_t)g->edge_count;
	return 0;
}

/* --- differences: both graphs list their links (a < b) in ascending order --- */

struct walk {
	const struct graph *g;
	size_t vertex, edge;
	uint64_t a, b; /* the link at hand; both UINT64_MAX at the end */
};

static void
walk_next(struct walk *w)
{
	const struct graph *g = w->g;

	for (; w->edge < g->edge_count; w->edge++) {
		while (w->edge >= g->first[w->vertex + 1])
			w->vertex++;
		if (g->edges[w->edge].to <= w->vertex)
			continue;
		w->a = g->ids[w->vertex];
		w->b = g->ids[g->edges[w->edge].to];
		w->edge++;
		return;
	}
	w->a = w->b = UINT64_MAX;
}

void
graph_diff(const struct graph *old, const struct graph *fresh,
    void (*fn)(void *arg, uint64_t a, uint64_t b, bool up), void *arg)
{
	struct walk o = {.g = old}, n = {.g = fresh};

	walk_next(&o);
	walk_next(&n);
	while (o.a != UINT64_MAX || n.a != UINT64_MAX) {
		if (o.a == n.a && o.b == n.b) {
			walk_next(&o);
			walk_next(&n);
		} else if (o.a < n.a || (o.a == n.a && o.b < n.b)) {
			fn(arg, o.a, o.b, false);
			walk_next(&o);
		} else {
			fn(arg, n.a, n.b, true);
			walk_next(&n);
		}
	}
}
