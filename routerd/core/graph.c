#include "routerd/core/graph.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/lsdb.h"

void
graph_init(struct graph *g, uint64_t seed, const struct cost_profiles *profiles)
{
	*g = (struct graph){.root = GRAPH_NONE, .seed = seed, .profiles = profiles};
}

void
graph_fini(struct graph *g)
{
	mem_free(g->ids);
	mem_free(g->first);
	mem_free(g->edges);
	mem_free(g->costs);
	mem_free(g->entries);
	mem_free(g->slots);
	graph_init(g, g->seed, g->profiles);
}

/* Who of the database takes part: tombstones aside, all but those that left. */
static bool
takes_part(const struct lsdb_entry *e, uint64_t self)
{
	return e->node != self && (e->lsa->flags & LSA_FLAG_LEFT) == 0 && !e->dead;
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
		s.edges += e->lsa->adj_count;
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
	g->costs = mem_calloc(COST_PROFILES_MAX * edges, sizeof(*g->costs));
	g->entries = mem_calloc(vertices, sizeof(*g->entries));
	g->slots = mem_calloc(g->slot_count, sizeof(*g->slots));
	if (g->ids == NULL || g->first == NULL || g->edges == NULL || g->costs == NULL ||
	    g->entries == NULL || g->slots == NULL) {
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
		if (!takes_part(e, self->node))
			continue;
		if (g->root == GRAPH_NONE && self->node < e->node) {
			g->root = (uint32_t)g->vertex_count;
			add_vertex(g, self->node, self);
		}
		add_vertex(g, e->node, e);
	}
	if (g->root == GRAPH_NONE) {
		g->root = (uint32_t)g->vertex_count;
		add_vertex(g, self->node, self);
	}
}

uint32_t
graph_find(const struct graph *g, uint64_t node)
{
	return g->slot_count != 0 ? *slot_of(g, node) : GRAPH_NONE;
}

static void
add_edge(struct graph *g, uint32_t to, const struct lsa_adj *a, enum graph_use use)
{
	uint32_t e = (uint32_t)g->edge_count++;

	for (size_t p = 0; p < g->profiles->count; p++)
		g->costs[p * g->edge_cap + e] = cost_link(&g->profiles->coefficients[p], a);
	g->edges[e] = (struct graph_edge){.to = to, .cost = g->costs[e], .use = (uint8_t)use};
	g->limited |= use != GRAPH_TRANSIT;
}

/* What those of the node's edges are for that have LSA_WEIGHT_NEVER. */
static enum graph_use
limited_use(const struct lsdb_entry *e)
{
	for (size_t i = 0; i < e->lsa->adj_count; i++)
		if (e->lsa->adj[i].weight != LSA_WEIGHT_NEVER)
			return GRAPH_ENDS;
	return GRAPH_FIRST;
}

static void
add_edges(struct graph *g, size_t from)
{
	const struct lsdb_entry *e = g->entries[from];
	enum graph_use limited = limited_use(e);

	g->first[from] = (uint32_t)g->edge_count;
	for (size_t i = 0; i < e->lsa->adj_count; i++) {
		const struct lsa_adj *a = &e->lsa->adj[i];
		uint32_t to = graph_find(g, a->neighbour);

		/* The two-way check: does it list us? */
		if (to != GRAPH_NONE && lsdb_adj(g->entries[to], e->node) != NULL)
			add_edge(g, to, a, a->weight == LSA_WEIGHT_NEVER ? limited : GRAPH_TRANSIT);
	}
}

int
graph_build(struct graph *g, struct lsdb *db, uint64_t self, const struct lsa_adj *adj, size_t adj_count)
{
	struct lsa_body links = {.adj = adj, .adj_count = (uint16_t)adj_count};
	const struct lsdb_entry own = {.node = self, .lsa = &links};
	struct sizes s = sizes_get(db, self, adj_count);

	MUST(adj_count <= LSA_ADJ_MAX);
	g->vertex_count = g->edge_count = g->selected = 0;
	g->root = GRAPH_NONE;
	g->limited = false;
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

/* --- edges and paths --- */

uint32_t
graph_edge(const struct graph *g, uint32_t from, uint32_t to)
{
	uint32_t lo = g->first[from], hi = g->first[from + 1];

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (g->edges[mid].to == to)
			return mid;
		if (g->edges[mid].to < to)
			lo = mid + 1;
		else
			hi = mid;
	}
	return GRAPH_NONE;
}

void
graph_select(struct graph *g, size_t profile)
{
	const uint32_t *costs = g->costs + profile * g->edge_cap;

	MUST(profile < g->profiles->count);
	if (g->selected == profile)
		return;
	for (size_t i = 0; i < g->edge_count; i++)
		g->edges[i].cost = costs[i];
	g->selected = profile;
}

uint32_t
graph_cost(const struct graph *g, size_t profile, uint32_t edge)
{
	return g->costs[profile * g->edge_cap + edge];
}

static void
damp_edge(struct graph *g, uint32_t from, uint32_t to)
{
	uint32_t e = graph_edge(g, from, to);

	if (e == GRAPH_NONE)
		return;
	for (size_t p = 0; p < g->profiles->count; p++) {
		uint32_t *cost = &g->costs[p * g->edge_cap + e];

		*cost = cost_damped(*cost);
	}
	g->edges[e].cost = graph_cost(g, g->selected, e);
}

void
graph_damp(struct graph *g, uint64_t a, uint64_t b)
{
	uint32_t v = graph_find(g, a), w = graph_find(g, b);

	if (v == GRAPH_NONE || w == GRAPH_NONE)
		return;
	damp_edge(g, v, w);
	damp_edge(g, w, v);
}

bool
graph_path_cost(const struct graph *g, size_t profile, const uint64_t *hops, uint32_t count, uint32_t *cost)
{
	uint32_t at = g->root, dst = count != 0 ? graph_find(g, hops[count - 1]) : GRAPH_NONE;

	*cost = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t to = i + 1 < count ? graph_find(g, hops[i]) : dst;
		uint32_t e = to != GRAPH_NONE ? graph_edge(g, at, to) : GRAPH_NONE;

		if (e == GRAPH_NONE || !graph_usable(g, at, &g->edges[e], dst))
			return false;
		*cost += graph_cost(g, profile, e);
		at = to;
	}
	return count != 0;
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

/* --- and what became cheaper --- */

static bool
is_cheaper(const struct graph *old, uint32_t e, const struct graph *fresh, uint32_t f)
{
	for (size_t p = 0; p < fresh->profiles->count; p++)
		if (graph_cost(fresh, p, f) < graph_cost(old, p, e))
			return true;
	return false;
}

/* Edges of one node in both graphs: they ascend by the ids of the other ends. */
static void
cheaper_edges(const struct graph *old, uint32_t v, const struct graph *fresh, uint32_t w,
    void (*fn)(void *arg, uint32_t from, uint32_t edge, bool opened), void *arg)
{
	uint32_t e = old->first[v], f = fresh->first[w];

	while (e < old->first[v + 1] && f < fresh->first[w + 1]) {
		uint64_t a = old->ids[old->edges[e].to], b = fresh->ids[fresh->edges[f].to];

		bool opened = a == b && fresh->edges[f].use < old->edges[e].use;

		if (a == b && (opened || is_cheaper(old, e, fresh, f)))
			fn(arg, w, f, opened);
		e += a <= b;
		f += b <= a;
	}
}

void
graph_cheaper(const struct graph *old, const struct graph *fresh,
    void (*fn)(void *arg, uint32_t from, uint32_t edge, bool opened), void *arg)
{
	uint32_t v = 0, w = 0;

	while (v < old->vertex_count && w < fresh->vertex_count) {
		uint64_t a = old->ids[v], b = fresh->ids[w];

		if (a == b)
			cheaper_edges(old, v, fresh, w, fn, arg);
		v += a <= b;
		w += b <= a;
	}
}
