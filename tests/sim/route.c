#include "tests/sim/route.h"

#include <stdlib.h>
#include <string.h>

#include "routerd/core/router_impl.h"
#include "tests/sim/net.h"

/* The traffic class whose paths frames take here. */
enum { CLASS = FRAME_CLASS_CLIENT };

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
	const struct graph *g = &n->router->routes.graphs[n->router->routes.used];
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

static void
paths_check(struct sim_node *n, uint64_t destination, const struct fib_paths *paths)
{
	if (paths->count == 0 || paths->count > SIM_PATHS_MAX)
		sim_fail(
		    n->sim, "node %u: %u paths to node %u", n->index, paths->count, sim_index(destination));
	for (uint32_t i = 0; i < paths->count; i++)
		path_check(n, destination, &paths->path[i].path);
}

void
route_check(struct sim_node *n, const struct fib_route *r)
{
	for (size_t p = 0; p < n->router->profiles.count; p++) {
		if (r->paths[p] == NULL)
			sim_fail(n->sim, "node %u: no paths to node %u of profile %zu", n->index,
			    sim_index(r->destination), p);
		paths_check(n, r->destination, r->paths[p]);
	}
}

/* --- what transportd has --- */

static struct sim_route *
route_copy(const struct fib_paths *paths)
{
	struct sim_route *out = sim_alloc(1, sizeof(*out) + paths->count * sizeof(out->path[0]));

	out->path_count = paths->count;
	for (size_t i = 0; i < paths->count; i++) {
		const struct spf_path *p = &paths->path[i].path;

		out->path[i].hop_count = (uint16_t)p->hop_count;
		for (uint32_t k = 0; k < p->hop_count; k++)
			out->path[i].hop[k] = (uint16_t)sim_index(p->hops[k]);
	}
	return out;
}

static void
path_count(struct sim_node *n, const struct sim_path *p, bool best, int step)
{
	struct sim *s = n->sim;
	uint32_t at = n->index;

	for (unsigned i = 0; i < p->hop_count; i++) {
		struct sim_link *l = net_link(s, at, p->hop[i]);

		if (l == NULL)
			sim_fail(
			    s, "node %u: a path over a link %u-%u that never was", n->index, at, p->hop[i]);
		l->use += (uint64_t)(int64_t)step;
		l->use_best += best ? (uint64_t)(int64_t)step : 0;
		if (l->broken) {
			s->stale += (uint64_t)(int64_t)step;
			s->stale_best += best ? (uint64_t)(int64_t)step : 0;
		}
		at = p->hop[i];
	}
}

/* Puts a route in use, or (NULL) none. */
static void
route_use(struct sim_node *n, uint32_t destination, struct sim_route *fresh)
{
	struct sim_route *old = n->fib[destination];

	for (uint32_t i = 0; fresh != NULL && i < fresh->path_count; i++)
		path_count(n, &fresh->path[i], i == 0, 1);
	for (uint32_t i = 0; old != NULL && i < old->path_count; i++)
		path_count(n, &old->path[i], i == 0, -1);
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
route_set(struct sim_node *n, uint64_t destination, uint8_t class_mask, const struct fib_paths *paths)
{
	uint32_t to = sim_index(destination);

	paths_check(n, destination, paths);
	if ((class_mask & 1u << CLASS) == 0)
		return;
	if (!n->fib_opening) {
		route_use(n, to, route_copy(paths));
		return;
	}
	free(n->fib_next[to]);
	n->fib_next[to] = route_copy(paths);
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
