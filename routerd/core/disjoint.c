#include "routerd/core/disjoint.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/graph.h"
#include "routerd/core/search.h"

/*
 * The walk goes from the destination towards the root, as in search.c.  A state is a vertex and how it
 * was reached: on the shortest path, who came by a link of its own may only go back along that path
 * (the vertex is taken); who came back along it may leave it again.
 */
enum { ARRIVED, CAME_BACK };

struct run {
	struct disjoint *d;
	struct search *s;
	uint32_t dst;
	bool relays;
};

void
disjoint_init(struct disjoint *d)
{
	*d = (struct disjoint){0};
}

void
disjoint_fini(struct disjoint *d)
{
	mem_free(d->nodes);
	disjoint_init(d);
}

static int
grow(struct disjoint *d, size_t count)
{
	if (count <= d->cap && d->stamp != UINT32_MAX)
		return 0;
	disjoint_fini(d);
	d->nodes = mem_calloc(count, sizeof(*d->nodes));
	if (d->nodes == NULL)
		return ERR_NOMEM;
	d->cap = count;
	return 0;
}

static uint32_t
towards_root(const struct run *r, uint32_t v)
{
	const struct spf_tree *t = &r->s->spf.best;

	return v == r->dst ? t->arrive[v].parent : t->pass[v].parent;
}

static void
mark_shortest(struct run *r)
{
	uint32_t before = GRAPH_NONE;

	for (uint32_t v = r->dst; v != GRAPH_NONE; before = v, v = towards_root(r, v)) {
		struct disjoint_node *n = &r->d->nodes[v];

		n->on_path = r->d->stamp;
		n->before = before;
		n->next = GRAPH_NONE;
		n->cancelled = false;
	}
}

static bool
on_path(const struct run *r, uint32_t v)
{
	return r->d->nodes[v].on_path == r->d->stamp;
}

static int
push(struct run *r, uint64_t key, uint32_t v, int how, uint32_t parent)
{
	/* The state's how is kept where searches have hops. */
	const struct label l = {key, v, parent, (uint32_t)how};

	if (r->d->nodes[v].settled[how] == r->d->stamp)
		return 0;
	return labels_push(&r->s->labels, key, &l);
}

/* By all links that are not on the shortest path.  Costs are reduced by the distances of their ends
 * (Johnson 1977): none is negative, and those of the shortest path are 0, backwards, too. */
static int
leave(struct run *r, uint64_t key, uint32_t v, uint32_t label)
{
	const struct search *s = r->s;
	const struct disjoint_node *n = &r->d->nodes[v];
	bool on = on_path(r, v);

	for (uint32_t e = s->g->first[v]; e < s->g->first[v + 1]; e++) {
		uint32_t u = s->in[e].from;
		uint64_t more, less = v == r->dst ? s->nodes[v].arrive : s->nodes[v].bound;
		int err, how = r->relays && on_path(r, u) ? ARRIVED : CAME_BACK;

		if (u == r->dst || s->nodes[u].bound == ROUTE_ANY ||
		    !search_usable(s, &s->in[e], v == r->dst) ||
		    (on && (u == towards_root(r, v) || u == n->before)))
			continue;
		more = ((uint64_t)s->in[e].cost << ROUTE_COST_SHIFT) + 1 + s->nodes[u].bound;
		if ((err = push(r, key + (more > less ? more - less : 0), u, how, label)) != 0)
			return err;
	}
	return 0;
}

static int
expand(struct run *r, uint64_t key, uint32_t label)
{
	const struct label at = r->s->labels.pool[label];
	const struct disjoint_node *n = &r->d->nodes[at.vertex];
	bool back = on_path(r, at.vertex) && at.vertex != r->dst && n->before != r->dst;
	int err = 0;

	if (back)
		err = push(r, key, n->before, CAME_BACK, label);
	if (err == 0 && at.hops == CAME_BACK)
		err = leave(r, key, at.vertex, label);
	return err;
}

/* The label of the root, or LABEL_NONE. */
static int
augment(struct run *r, uint32_t *label)
{
	uint64_t key;
	int err;

	labels_clear(&r->s->labels);
	err = push(r, 0, r->dst, CAME_BACK, LABEL_NONE);
	while (err == 0 && (*label = labels_pop(&r->s->labels, &key)) != LABEL_NONE) {
		const struct label *at = &r->s->labels.pool[*label];
		uint32_t *settled = &r->d->nodes[at->vertex].settled[at->hops];

		if (at->vertex == r->s->g->root)
			return 0;
		if (*settled == r->d->stamp)
			continue;
		*settled = r->d->stamp;
		err = expand(r, key, *label);
	}
	return err;
}

/* Lays the second path over the shortest: links used in both directions cancel out. */
static void
overlay(struct run *r, uint32_t label)
{
	const struct label *pool = r->s->labels.pool;

	for (uint32_t to = label, at; (at = pool[to].parent) != LABEL_NONE; to = at) {
		uint32_t v = pool[at].vertex, u = pool[to].vertex;

		if (on_path(r, v) && u == r->d->nodes[v].before)
			r->d->nodes[u].cancelled = true;
		else
			r->d->nodes[v].next = u;
	}
}

/* Follows what is left; each link is used once. */
static bool
follow(struct run *r, struct route *out)
{
	uint32_t v = r->dst;

	out->hops = 0;
	out->v[0] = v;
	out->weight[0] = 0;
	while (v != r->s->g->root) {
		struct disjoint_node *n = &r->d->nodes[v];

		if (on_path(r, v) && !n->cancelled) {
			n->cancelled = true;
			v = towards_root(r, v);
		} else {
			v = n->next;
			n->next = GRAPH_NONE;
		}
		MUST(v != GRAPH_NONE);
		if (!search_extend(r->s, out, v))
			return false;
	}
	return true;
}

int
disjoint_pair(
    struct disjoint *d, struct search *s, uint32_t dst, bool relays, struct route *pair, bool *found)
{
	struct run r = {d, s, dst, relays};
	uint32_t label = LABEL_NONE;
	int err;

	*found = false;
	if (s->nodes[dst].arrive == ROUTE_ANY)
		return 0;
	if ((err = grow(d, s->g->vertex_count)) != 0)
		return err;
	d->stamp++;
	mark_shortest(&r);
	if ((err = augment(&r, &label)) != 0 || label == LABEL_NONE)
		return err;
	overlay(&r, label);
	*found = follow(&r, &pair[0]) && follow(&r, &pair[1]);
	return 0;
}
