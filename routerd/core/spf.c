#include "routerd/core/spf.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/graph.h"

#define DIST_INFINITE UINT64_MAX

void
spf_init(struct spf *s)
{
	*s = (struct spf){0};
}

void
spf_fini(struct spf *s)
{
	mem_free(s->best.pass);
	mem_free(s->best.arrive);
	mem_free(s->fewest.pass);
	mem_free(s->fewest.arrive);
	mem_free(s->heap);
	mem_free(s->place);
	spf_init(s);
}

static int
grow(struct spf *s, size_t count)
{
	if (count <= s->cap)
		return 0;
	spf_fini(s);
	s->best.pass = mem_calloc(count, sizeof(*s->best.pass));
	s->best.arrive = mem_calloc(count, sizeof(*s->best.arrive));
	s->fewest.pass = mem_calloc(count, sizeof(*s->fewest.pass));
	s->fewest.arrive = mem_calloc(count, sizeof(*s->fewest.arrive));
	s->heap = mem_calloc(count, sizeof(*s->heap));
	s->place = mem_calloc(count, sizeof(*s->place));
	if (s->best.pass == NULL || s->best.arrive == NULL || s->fewest.pass == NULL ||
	    s->fewest.arrive == NULL || s->heap == NULL || s->place == NULL) {
		spf_fini(s);
		return ERR_NOMEM;
	}
	s->cap = count;
	return 0;
}

/* Orders labels; which of dist and hops comes first is what by_hops says. */
struct order {
	const struct spf_label *labels;
	bool by_hops;
};

static int
compare(const struct order *o, const struct spf_label *a, const struct spf_label *b)
{
	int dist = a->dist < b->dist ? -1 : a->dist > b->dist;
	int hops = a->hops < b->hops ? -1 : a->hops > b->hops;

	if (o->by_hops)
		return hops != 0 ? hops : dist;
	return dist != 0 ? dist : hops;
}

/* --- the heap: of vertices, with the place of each, so that a label can be lowered --- */

static bool
heap_before(const struct order *o, uint32_t a, uint32_t b)
{
	int c = compare(o, &o->labels[a], &o->labels[b]);

	return c != 0 ? c < 0 : a < b;
}

static void
heap_set(struct spf *s, size_t i, uint32_t v)
{
	s->heap[i] = v;
	s->place[v] = (uint32_t)i;
}

static void
heap_up(struct spf *s, const struct order *o, size_t i)
{
	uint32_t v = s->heap[i];

	for (; i != 0 && heap_before(o, v, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap_set(s, i, s->heap[(i - 1) / 2]);
	heap_set(s, i, v);
}

static void
heap_down(struct spf *s, const struct order *o, size_t i)
{
	uint32_t v = s->heap[i];

	for (size_t child; (child = 2 * i + 1) < s->heap_count; i = child) {
		if (child + 1 < s->heap_count && heap_before(o, s->heap[child + 1], s->heap[child]))
			child++;
		if (!heap_before(o, s->heap[child], v))
			break;
		heap_set(s, i, s->heap[child]);
	}
	heap_set(s, i, v);
}

static uint32_t
heap_pop(struct spf *s, const struct order *o)
{
	uint32_t top = s->heap[0], last = s->heap[--s->heap_count];

	s->place[top] = GRAPH_NONE;
	if (s->heap_count != 0) {
		heap_set(s, 0, last);
		heap_down(s, o, 0);
	}
	return top;
}

static void
heap_lowered(struct spf *s, const struct order *o, uint32_t v)
{
	if (s->place[v] == GRAPH_NONE)
		heap_set(s, s->heap_count++, v);
	heap_up(s, o, s->place[v]);
}

/* --- Dijkstra --- */

static void
relax(
    struct spf *s, const struct order *o, struct spf_label *labels, uint32_t from, const struct graph_edge *e)
{
	struct spf_label *to = &labels[e->to];
	struct spf_label offer = {labels[from].dist + e->cost, labels[from].hops + 1, from};
	int c = compare(o, &offer, to);

	if (c < 0) {
		*to = offer;
		heap_lowered(s, o, e->to);
	} else if (c == 0 && to->parent != GRAPH_NONE && from < to->parent) {
		to->parent = from;
	}
}

static void
dijkstra(struct spf *s, const struct graph *g, struct spf_label *labels, bool by_hops)
{
	struct order o = {labels, by_hops};

	for (size_t v = 0; v < g->vertex_count; v++) {
		labels[v] = (struct spf_label){DIST_INFINITE, UINT32_MAX, GRAPH_NONE};
		s->place[v] = GRAPH_NONE;
	}
	labels[g->root] = (struct spf_label){0, 0, GRAPH_NONE};
	s->heap_count = 0;
	heap_lowered(s, &o, g->root);
	while (s->heap_count != 0) {
		uint32_t v = heap_pop(s, &o);

		for (uint32_t i = g->first[v]; i < g->first[v + 1]; i++)
			if (g->edges[i].use == GRAPH_TRANSIT || v == g->root)
				relax(s, &o, labels, v, &g->edges[i]);
	}
}

/* Offers what the edge leads to an arrival, from where nothing goes on. */
static void
offer_last(const struct spf_tree *t, bool by_hops, uint32_t from, const struct graph_edge *e)
{
	struct spf_label offer = {t->pass[from].dist + e->cost, t->pass[from].hops + 1, from};
	struct order o = {NULL, by_hops};

	if (compare(&o, &offer, &t->arrive[e->to]) < 0)
		t->arrive[e->to] = offer;
}

static void
tree_make(struct spf *s, const struct graph *g, const struct spf_tree *t, bool by_hops)
{
	dijkstra(s, g, t->pass, by_hops);
	memcpy(t->arrive, t->pass, g->vertex_count * sizeof(*t->arrive));
	if (!g->limited)
		return;
	for (uint32_t v = 0; v < g->vertex_count; v++) {
		if (t->pass[v].parent == GRAPH_NONE)
			continue; /* not reached, or the root, whose edges were all taken */
		for (uint32_t i = g->first[v]; i < g->first[v + 1]; i++)
			if (g->edges[i].use == GRAPH_ENDS && g->edges[i].to != g->root)
				offer_last(t, by_hops, v, &g->edges[i]);
	}
}

static bool
too_long(const struct spf_label *l)
{
	return l->parent != GRAPH_NONE && l->hops > PATH_HOPS_MAX;
}

int
spf_run(struct spf *s, const struct graph *g)
{
	MUST(g->root < g->vertex_count);
	if (grow(s, g->vertex_count) != 0)
		return ERR_NOMEM;
	tree_make(s, g, &s->best, false);
	s->has_fewest = false;
	for (size_t v = 0; v < g->vertex_count && !s->has_fewest; v++)
		s->has_fewest = too_long(&s->best.arrive[v]);
	if (s->has_fewest)
		tree_make(s, g, &s->fewest, true);
	return 0;
}

uint64_t
spf_dist(const struct spf *s, uint32_t vertex)
{
	return s->best.arrive[vertex].dist;
}

bool
spf_path(const struct spf *s, const struct graph *g, uint32_t vertex, struct spf_path *out)
{
	const struct spf_tree *t = too_long(&s->best.arrive[vertex]) ? &s->fewest : &s->best;
	const struct spf_label *end = &t->arrive[vertex];

	if (end->parent == GRAPH_NONE || end->hops > PATH_HOPS_MAX)
		return false;
	/* At most PATH_HOPS_MAX links of COST_MAX: fits. */
	out->cost = (uint32_t)end->dist;
	out->hop_count = end->hops;
	out->hops[end->hops - 1] = g->ids[vertex];
	for (uint32_t i = end->hops - 1, v = end->parent; i != 0; i--, v = t->pass[v].parent)
		out->hops[i - 1] = g->ids[v];
	return true;
}
