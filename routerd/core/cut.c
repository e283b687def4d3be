#include "routerd/core/cut.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "routerd/core/graph.h"

void
cut_init(struct cut *c)
{
	*c = (struct cut){0};
}

void
cut_fini(struct cut *c)
{
	mem_free(c->nodes);
	mem_free(c->visited);
	cut_init(c);
}

static int
grow(struct cut *c, size_t count)
{
	if (count <= c->cap)
		return 0;
	cut_fini(c);
	c->nodes = mem_calloc(count, sizeof(*c->nodes));
	c->visited = mem_calloc(count, sizeof(*c->visited));
	if (c->nodes == NULL || c->visited == NULL) {
		cut_fini(c);
		return ERR_NOMEM;
	}
	c->cap = count;
	return 0;
}

static void
enter(struct cut *c, const struct graph *g, uint32_t v, uint32_t parent, uint32_t *visited)
{
	c->visited[(*visited)++] = v;
	c->nodes[v].order = c->nodes[v].low = *visited;
	c->nodes[v].parent = parent;
	c->nodes[v].next_edge = g->first[v];
}

/* Sets order, low and parent; how many vertices were reached.  The parents are the stack. */
static uint32_t
search(struct cut *c, const struct graph *g)
{
	uint32_t visited = 0;

	enter(c, g, g->root, GRAPH_NONE, &visited);
	for (uint32_t v = g->root; v != GRAPH_NONE;) {
		struct cut_node *n = &c->nodes[v];
		uint32_t to;

		if (n->next_edge == g->first[v + 1]) {
			if (n->parent != GRAPH_NONE)
				c->nodes[n->parent].low = (uint32_t)min_u64(c->nodes[n->parent].low, n->low);
			v = n->parent;
			continue;
		}
		to = g->edges[n->next_edge++].to;
		if (c->nodes[to].order == 0) {
			enter(c, g, to, v, &visited);
			v = to;
		} else if (to != n->parent) {
			n->low = (uint32_t)min_u64(n->low, c->nodes[to].order);
		}
	}
	return visited;
}

int
cut_run(struct cut *c, const struct graph *g)
{
	uint32_t visited;

	if (grow(c, g->vertex_count) != 0)
		return ERR_NOMEM;
	for (size_t v = 0; v < g->vertex_count; v++)
		c->nodes[v] = (struct cut_node){.parent = GRAPH_NONE};
	visited = search(c, g);
	for (uint32_t i = 1; i < visited; i++) {
		struct cut_node *n = &c->nodes[c->visited[i]];
		const struct cut_node *p = &c->nodes[n->parent];

		/* Nothing below n reaches above p: p separates it from the root. */
		n->vertices = p->vertices + (n->low >= p->order && n->parent != g->root);
		n->bridges = p->bridges + (n->low > p->order);
	}
	return 0;
}
