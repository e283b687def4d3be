#include "tests/sim/route.h"

#include <stdlib.h>
#include <string.h>

#include "routerd/core/router_impl.h"
#include "tests/sim/net.h"

/* The paths of a route of routerd, best first: the only place that knows what struct fib_route is like. */
static size_t
route_paths(const struct fib_route *r, const struct spf_path *out[SIM_PATHS_MAX])
{
	out[0] = &r->path;
	return 1;
}

/* --- what routerd says --- */

static bool
graph_has(const struct graph *g, uint64_t from, uint64_t to)
{
	uint32_t v = graph_find(g, from), w = graph_find(g, to);

	if (v == GRAPH_NONE || w == GRAPH_NONE)
		return false;
	for (uint32_t i = g->first[v]; i < g->first[v + 1]; i++)
		if (g->edges[i].to == w)
			return true;
	return false;
}

static void
path_check(struct sim_node *n, uint64_t destination, const struct spf_path *p)
{
	struct sim *s = n->sim;
	const struct graph *g = &n->router->graph;
	uint64_t at = sim_id(n->index);

	if (p->hop_count == 0 || p->hop_count > PATH_HOPS_MAX || p->hops[p->hop_count - 1] != destination)
		sim_fail(s, "node %u: a path of %u hops that does not end at node %u", n->index, p->hop_count,
		    sim_index(destination));
	for (uint32_t i = 0; i < p->hop_count; i++) {
		if (p->hops[i] == sim_id(n->index))
			sim_fail(s, "node %u: its path to node %u leads back to it", n->index,
			    sim_index(destination));
		for (uint32_t k = 0; k < i; k++)
			if (p->hops[k] == p->hops[i])
				sim_fail(s, "node %u: its path to node %u has a loop", n->index,
				    sim_index(destination));
		if (!graph_has(g, at, p->hops[i]) || !graph_has(g, p->hops[i], at))
			sim_fail(s,
			    "node %u: its path to node %u uses a link %u-%u that is not in its graph both "
			    "ways",
			    n->index, sim_index(destination), sim_index(at), sim_index(p->hops[i]));
		at = p->hops[i];
	}
}

void
route_check(struct sim_node *n, const struct fib_route *r)
{
	const struct spf_path *paths[SIM_PATHS_MAX];
	size_t count = route_paths(r, paths);

	if (count == 0)
		sim_fail(
		    n->sim, "node %u: a route to node %u without paths", n->index, sim_index(r->destination));
	for (size_t i = 0; i < count; i++)
		path_check(n, r->destination, paths[i]);
}

/* --- what transportd has --- */

static struct sim_route *
route_copy(const struct fib_route *r)
{
	const struct spf_path *paths[SIM_PATHS_MAX];
	size_t count = route_paths(r, paths);
	struct sim_route *out = sim_alloc(1, sizeof(*out) + count * sizeof(out->path[0]));

	out->path_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		out->path[i].hop_count = (uint16_t)paths[i]->hop_count;
		for (uint32_t k = 0; k < paths[i]->hop_count; k++)
			out->path[i].hop[k] = (uint16_t)sim_index(paths[i]->hops[k]);
	}
	return out;
}

static void
path_count(struct sim_node *n, const struct sim_path *p, int step)
{
	struct sim *s = n->sim;
	uint32_t at = n->index;

	for (unsigned i = 0; i < p->hop_count; i++) {
		struct sim_link *l = net_link(s, at, p->hop[i]);

		if (l == NULL)
			sim_fail(
			    s, "node %u: a path over a link %u-%u that never was", n->index, at, p->hop[i]);
		l->use += (uint64_t)(int64_t)step;
		if (l->broken)
			s->stale += (uint64_t)(int64_t)step;
		at = p->hop[i];
	}
}

/* Puts a route in use, or (NULL) none. */
static void
route_use(struct sim_node *n, uint32_t destination, struct sim_route *fresh)
{
	struct sim_route *old = n->fib[destination];

	for (uint32_t i = 0; fresh != NULL && i < fresh->path_count; i++)
		path_count(n, &fresh->path[i], 1);
	for (uint32_t i = 0; old != NULL && i < old->path_count; i++)
		path_count(n, &old->path[i], -1);
	n->route_count += (fresh != NULL) - (uint32_t)(old != NULL);
	n->sim->routes += (fresh != NULL) - (uint64_t)(old != NULL);
	n->fib[destination] = fresh;
	free(old);
}

void
route_begin(struct sim_node *n)
{
	n->fib_opening = true;
	if (n->fib_next == NULL)
		n->fib_next = sim_alloc(n->sim->node_count, sizeof(n->fib_next[0]));
}

static void
route_abort(struct sim_node *n)
{
	for (uint32_t i = 0; n->fib_next != NULL && i < n->sim->node_count; i++)
		free(n->fib_next[i]);
	free(n->fib_next);
	n->fib_next = NULL;
	n->fib_opening = false;
}

void
route_end(struct sim_node *n)
{
	for (uint32_t i = 0; i < n->sim->node_count; i++) {
		route_use(n, i, n->fib_next[i]);
		n->fib_next[i] = NULL;
	}
	route_abort(n);
}

void
route_set(struct sim_node *n, const struct fib_route *r)
{
	uint32_t to = sim_index(r->destination);

	route_check(n, r);
	if (!n->fib_opening) {
		route_use(n, to, route_copy(r));
		return;
	}
	free(n->fib_next[to]);
	n->fib_next[to] = route_copy(r);
}

void
route_del(struct sim_node *n, uint32_t destination)
{
	route_use(n, destination, NULL);
}

void
route_clear(struct sim_node *n)
{
	route_abort(n);
	for (uint32_t i = 0; i < n->sim->node_count; i++)
		if (n->fib[i] != NULL)
			route_use(n, i, NULL);
}
