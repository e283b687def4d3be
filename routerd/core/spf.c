#include "routerd/core/spf.h"

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
	mem_free(s->best);
	mem_free(s->fewest);
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
	s->best = mem_calloc(count, sizeof(*s->best));
	s->fewest = mem_calloc(count, sizeof(*s->fewest));
	s->heap = mem_calloc(count, sizeof(*s->heap));
	s->place = mem_calloc(count, sizeof(*s->place));
	if (s->best == NULL || s->fewest == NULL || s->heap == NULL || s->place == NULL) {
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
			relax(s, &o, labels, v, &g->edges[i]);
	}
}

int
spf_run(struct spf *s, const struct graph *g)
{
	MUST(g->root < g->vertex_count);
	if (grow(s, g->vertex_count) != 0)
		return ERR_NOMEM;
	dijkstra(s, g, s->best, false);
	s->has_fewest = false;
	for (size_t v = 0; v < g->vertex_count && !s->has_fewest; v++)
		s->has_fewest = s->best[v].parent != GRAPH_NONE && s->best[v].hops > PATH_HOPS_MAX;
	if (s->has_fewest)
		dijkstra(s, g, s->fewest, true);
	return 0;
}

bool
spf_path(const struct spf *s, const struct graph *g, uint32_t vertex, struct spf_path *out)
{
	const struct spf_label *labels = s->best;

	if (labels[vertex].parent != GRAPH_NONE && labels[vertex].hops > PATH_HOPS_MAX)
		labels = s->fewest;
	if (labels[vertex].parent == GRAPH_NONE || labels[vertex].hops > PATH_HOPS_MAX)
		return false;
	/* At most PATH_HOPS_MAX links of COST_MAX: fits. */
	out->cost = (uint32_t)labels[vertex].dist;
	out->hop_count = labels[vertex].hops;
	for (uint32_t i = out->hop_count, v = vertex; i != 0; i--, v = labels[v].parent)
		out->hops[i - 1] = g->ids[v];
	return true;
}
