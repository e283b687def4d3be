#include "routerd/core/graph.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/cost.h"
#include "routerd/core/lsdb.h"

void
graph_init(struct graph *g, uint64_t seed)
{
	*g = (struct graph){.root = GRAPH_NONE, .seed = seed};
}

void
graph_fini(struct graph *g)
{
	mem_free(g->ids);
	mem_free(g->first);
	mem_free(g->edges);
	mem_free(g->entries);
	mem_free(g->slots);
	graph_init(g, g->seed);
}

/* Who of the database takes part: tombstones aside, all but those that left. */
static bool
takes_part(const struct lsdb_entry *e, uint64_t self)
{
	return e->id.node != self && (e->flags & LSA_FLAG_LEFT) == 0 && !e->dead;
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

static size_t
slots_for(size_t vertices)
{
	size_t count = 16;

	while (count < 2 * vertices)
		count *= 2;
	return count;
}

/* The graph is built anew: what it held need not be kept.  Some more than is asked for, as meshes grow. */
static int
make_room(struct graph *g, size_t vertices, size_t edges)
{
	if (vertices <= g->vertex_cap && edges <= g->edge_cap)
		return 0;
	graph_fini(g);
	vertices += vertices / 4 + 1;
	edges += edges / 4 + 1;
	g->slot_count = slots_for(vertices);
	g->ids = mem_calloc(vertices, sizeof(*g->ids));
	g->first = mem_calloc(vertices + 1, sizeof(*g->first));
	g->edges = mem_calloc(edges, sizeof(*g->edges));
	g->entries = mem_calloc(vertices, sizeof(*g->entries));
	g->slots = mem_calloc(g->slot_count, sizeof(*g->slots));
	if (g->ids == NULL || g->first == NULL || g->edges == NULL || g->entries == NULL ||
	    g->slots == NULL) {
		graph_fini(g);
		return ERR_NOMEM;
	}
	g->vertex_cap = vertices;
	g->edge_cap = edges;
	return 0;
}

/* The slot that holds a node's vertex, or the empty one where it belongs (linear probing). */
static uint32_t *
slot_of(const struct graph *g, uint64_t node)
{
	uint64_t h = (node ^ g->seed) * 0x9e3779b97f4a7c15u;
	size_t i = (h ^ h >> 32) & (g->slot_count - 1);

	while (g->slots[i] != GRAPH_NONE && g->ids[g->slots[i]] != node)
		i = (i + 1) & (g->slot_count - 1);
	return &g->slots[i];
}

static void
add_vertex(struct graph *g, uint64_t node, const struct lsdb_entry *e)
{
	uint32_t v = (uint32_t)g->vertex_count++;

	g->ids[v] = node;
	g->entries[v] = e;
	*slot_of(g, node) = v;
}

/* self stands for this node: its own LSA may be older than what is known here. */
static void
list_vertices(struct graph *g, struct lsdb *db, const struct lsdb_entry *self)
{
	for (struct lsdb_entry *e = lsdb_from(db, 0); e != NULL; e = lsdb_next(db, e)) {
		if (!takes_part(e, self->id.node))
			continue;
		if (g->root == GRAPH_NONE && self->id.node < e->id.node) {
			g->root = (uint32_t)g->vertex_count;
			add_vertex(g, self->id.node, self);
		}
		add_vertex(g, e->id.node, e);
	}
	if (g->root == GRAPH_NONE) {
		g->root = (uint32_t)g->vertex_count;
		add_vertex(g, self->id.node, self);
	}
}

uint32_t
graph_find(const struct graph *g, uint64_t node)
{
	return g->slot_count != 0 ? *slot_of(g, node) : GRAPH_NONE;
}

static void
add_edges(struct graph *g, size_t from)
{
	const struct lsdb_entry *e = g->entries[from];

	g->first[from] = (uint32_t)g->edge_count;
	for (size_t i = 0; i < e->adj_count; i++) {
		uint32_t to = graph_find(g, e->adj[i].neighbour);

		/* The two-way check: does it list us? */
		if (to != GRAPH_NONE && lsdb_adj(g->entries[to], e->id.node) != NULL)
			g->edges[g->edge_count++] = (struct graph_edge){to, cost_link(&e->adj[i])};
	}
}

int
graph_build(struct graph *g, struct lsdb *db, uint64_t self, const struct lsa_adj *adj, size_t adj_count)
{
	const struct lsdb_entry own = {
	    .id.node = self,
	    .adj = (struct lsa_adj *)(uintptr_t)adj,
	    .adj_count = (uint16_t)adj_count,
	};
	struct sizes s = sizes_get(db, self, adj_count);

	MUST(adj_count <= LSA_ADJ_MAX);
	g->vertex_count = g->edge_count = 0;
	g->root = GRAPH_NONE;
	if (make_room(g, s.vertices, s.edges) != 0)
		return ERR_NOMEM;
	for (size_t i = 0; i < g->slot_count; i++)
		g->slots[i] = GRAPH_NONE;
	list_vertices(g, db, &own);
	for (size_t v = 0; v < g->vertex_count; v++)
		add_edges(g, v);
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
