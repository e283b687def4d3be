/* routes: paths to all nodes.  Best ones for all at once, alternatives in slices. */
#include "common/base/err.h"
#include "common/base/num.h"
#include "routerd/core/choice.h"
#include "routerd/core/router_impl.h"

_Static_assert((int)ROUTE_PATHS_MAX == (int)KSP_PATHS_MAX, "all paths that are found can be installed");

void
routes_init(struct router *r)
{
	for (size_t i = 0; i < 2; i++)
		graph_init(&r->routes.graphs[i], rng_u64(&r->rng), &r->profiles);
	for (size_t p = 0; p < COST_PROFILES_MAX; p++)
		ksp_init(&r->routes.ksp[p]);
}

void
routes_fini(struct router *r)
{
	for (size_t p = 0; p < COST_PROFILES_MAX; p++)
		ksp_fini(&r->routes.ksp[p]);
	for (size_t i = 0; i < 2; i++)
		graph_fini(&r->routes.graphs[i]);
}

static const struct graph *
graph(const struct router *r)
{
	return &r->routes.graphs[r->routes.used];
}

static const struct spf *
spf(const struct router *r, size_t profile)
{
	return ksp_spf(&r->routes.ksp[profile]);
}

/* --- the topology --- */

static void
link_changed(void *arg, uint64_t a, uint64_t b, bool up)
{
	struct router *r = arg;
	size_t damped = r->damp.damped;

	r->ops->event(r->arg, up ? ROUTER_LINK_UP : ROUTER_LINK_DOWN, a, b);
	if (up) {
		r->routes.gained = true;
		return;
	}
	damp_down(&r->damp, a, b, r->routes.now);
	if (r->damp.damped > damped)
		r->counters.links_damped++;
}

static void
edge_cheaper(void *arg, uint32_t from, uint32_t edge, bool opened)
{
	struct routes *s = arg;

	if (opened || s->cheaper_count == PATHS_CHEAPER_MAX) {
		s->gained = true;
		return;
	}
	s->cheaper[s->cheaper_count].from = from;
	s->cheaper[s->cheaper_count++].edge = edge;
}

static void
damp_edge(void *arg, uint64_t a, uint64_t b)
{
	graph_damp(arg, a, b);
}

static int
take_graph(struct router *r, struct graph *g)
{
	damp_each(&r->damp, damp_edge, g);
	r->routes.current = false;
	for (size_t p = 0; p < r->profiles.count; p++) {
		graph_select(g, p);
		if (ksp_begin(&r->routes.ksp[p], g) != 0)
			return ERR_NOMEM;
	}
	r->routes.current = true;
	return 0;
}

int
routes_rebuild(struct router *r, struct mono now)
{
	struct routes *s = &r->routes;
	struct graph *before = &s->graphs[s->used], *fresh = &s->graphs[!s->used];
	size_t left_out;
	size_t count = neighbour_table_adj(&r->neighbours, r->lsa.adj, &left_out);
	int err = graph_build(fresh, &r->db, r->self.node, r->lsa.adj, count);

	if (err != 0 || (err = take_graph(r, fresh)) != 0)
		return err;
	s->used = !s->used;
	s->now = now;
	if (!s->sweep)
		s->sweep_at = mono_add_us(now, PATHS_SWEEP_US);
	s->sweep = true;
	graph_diff(before, fresh, link_changed, r);
	graph_cheaper(before, fresh, edge_cheaper, s);
	return 0;
}

/* --- changes, told --- */

int
routes_send(struct router *r, const struct fib_route *route)
{
	int err = 0;

	for (size_t p = 0; p < r->profiles.count && err == 0; p++)
		if (route->paths[p] != NULL)
			err = r->ops->route_set(
			    r->arg, route->destination, r->profiles.class_mask[p], route->paths[p]);
	return err;
}

/* The first paths differ in some profile. */
static void
tell_path(struct router *r, const struct fib_route *route)
{
	r->ops->event(r->arg, ROUTER_PATH_CHANGED, route->destination, 0);
}

static int
set_paths(struct router *r, struct fib_route *route, size_t profile, const struct choice *c, bool *moved)
{
	enum fib_change change;
	int err = fib_set(&r->fib, route, profile, c->paths, c->count, &change);

	if (err != 0 || change == FIB_SAME)
		return err;
	r->counters.routes_changed++;
	*moved |= change == FIB_CHANGED;
	if (r->fib_state == FIB_LIVE && r->ops->route_set(r->arg, route->destination,
					    r->profiles.class_mask[profile], route->paths[profile]) != 0)
		paths_fib_lost(r, r->routes.now);
	return 0;
}

/* --- best paths --- */

/* Can one of the links that became cheaper be on a path that is better than the worst one in use?  The way
 * from there on costs at least what is missing to the best path. */
static bool
may_improve(const struct router *r, size_t profile, uint32_t vertex, const struct fib_paths *paths)
{
	const struct routes *s = &r->routes;
	const struct spf *tree = spf(r, profile);
	uint64_t worst = 0;

	for (uint32_t i = 0; i < paths->count; i++)
		worst = paths->path[i].path.cost > worst ? paths->path[i].path.cost : worst;
	for (size_t i = 0; i < s->cheaper_count; i++) {
		uint64_t from = spf_dist(tree, s->cheaper[i].from),
			 to = spf_dist(tree, graph(r)->edges[s->cheaper[i].edge].to),
			 end = spf_dist(tree, vertex);

		if (from == UINT64_MAX)
			continue;
		from += graph_cost(graph(r), profile, s->cheaper[i].edge);
		if (!graph(r)->limited && end > to)
			from += end - to;
		if (from < worst)
			return true;
	}
	return false;
}

/* What the alternatives of the route have to be computed anew for. */
static void
note_need(struct router *r, struct fib_route *route, enum choice_fate fate, size_t profile, uint32_t vertex)
{
	if (r->conf.paths_max == 1)
		return;
	if (fate == CHOICE_LOST)
		fib_queue(&r->fib, route, FIB_URGENT);
	else if (r->routes.gained || fate == CHOICE_COST ||
		 may_improve(r, profile, vertex, route->paths[profile]))
		fib_queue(&r->fib, route, FIB_BACKGROUND);
}

/* What profile's best path is, and which of the paths in use are left. */
static int
update_profile(struct router *r, struct fib_route *route, size_t profile, uint32_t vertex, bool *moved)
{
	const struct fib_paths *old = route->paths[profile];
	enum choice_fate fate = old == NULL ? CHOICE_LOST : CHOICE_SAME;
	struct spf_path best;
	struct choice c;
	int err;

	choice_init(&c, graph(r), profile, r->conf.hysteresis_percent);
	if (!spf_path(spf(r, profile), graph(r), vertex, &best))
		return 0;
	choice_first(&c, old, &best);
	if (old != NULL && r->conf.paths_max > 1)
		fate = choice_survivors(&c, old);
	choice_cut(&c, r->conf.paths_max == 1 ? 1 : ROUTE_PATHS_MAX);
	if ((err = set_paths(r, route, profile, &c, moved)) != 0)
		return err;
	note_need(r, route, fate, profile, vertex);
	return 1;
}

int
routes_update(struct router *r, uint64_t node, uint32_t *hops)
{
	uint32_t vertex = graph_find(graph(r), node);
	struct fib_route *route;
	struct spf_path best;
	bool moved = false;
	int found = 0;

	if (vertex == GRAPH_NONE || !spf_path(spf(r, 0), graph(r), vertex, &best))
		return 0;
	if ((route = fib_add(&r->fib, node)) == NULL)
		return ERR_NOMEM;
	fib_keep(route);
	route->used = demand_has(&r->demand, node);
	for (size_t p = 0; p < r->profiles.count; p++)
		if ((found = update_profile(r, route, p, vertex, &moved)) < 0)
			return found;
	if (moved)
		tell_path(r, route);
	*hops = route->paths[0]->path[0].path.hop_count;
	return 1;
}

static void
route_gone(void *arg, const struct fib_route *gone)
{
	struct router *r = arg;

	r->counters.routes_changed++;
	if (r->fib_state == FIB_LIVE && r->ops->route_del(r->arg, gone->destination) != 0)
		paths_fib_lost(r, r->routes.now);
}

void
routes_begin(struct router *r)
{
	fib_begin(&r->fib);
}

void
routes_end(struct router *r, bool complete)
{
	fib_end(&r->fib, route_gone, r);
	/* Whom memory shortage kept from being looked at is looked at the next time, with all others. */
	r->routes.gained = !complete;
	r->routes.cheaper_count = 0;
}

/* --- alternatives --- */

static size_t
paths_max(const struct router *r, const struct fib_route *route)
{
	return route->used ? r->conf.paths_max : min_u64(r->conf.paths_max, ROUTE_PATHS_IDLE);
}

static int
renew_profile(struct router *r, struct fib_route *route, size_t profile, uint32_t vertex, bool *moved)
{
	struct spf_path found[ROUTE_PATHS_MAX];
	size_t count, max = paths_max(r, route);
	struct choice c;
	int err;

	for (;; max--) {
		err = ksp_run(&r->routes.ksp[profile], graph(r), vertex, (unsigned)max, found, &count);
		if (err != 0 || count == 0)
			return err;
		choice_init(&c, graph(r), profile, r->conf.hysteresis_percent);
		choice_first(&c, route->paths[profile], &found[0]);
		choice_add(&c, found, count);
		/* Room for the path in use beside those: none is left out that may be the only backup. */
		if (c.count <= ROUTE_PATHS_MAX)
			return set_paths(r, route, profile, &c, moved);
	}
}

static int
renew(struct router *r, struct fib_route *route)
{
	uint32_t vertex = graph_find(graph(r), route->destination);
	bool moved = false;
	int err = 0;

	r->counters.alternatives_runs++;
	for (size_t p = 0; p < r->profiles.count && vertex != GRAPH_NONE && err == 0; p++)
		err = renew_profile(r, route, p, vertex, &moved);
	if (moved)
		tell_path(r, route);
	return err;
}

void
routes_demand(struct router *r, uint64_t node, bool used)
{
	struct fib_route *route = fib_find(&r->fib, node);
	bool waits;

	if (route == NULL || route->used == used)
		return;
	route->used = used;
	waits = route->queue != FIB_IDLE;
	/* One that waits gets to the front. */
	if (used)
		fib_unqueue(&r->fib, route);
	if (waits || r->conf.paths_max > ROUTE_PATHS_IDLE)
		fib_queue(&r->fib, route, used ? FIB_URGENT : FIB_BACKGROUND);
}

static void
sweep_if_due(struct router *r, struct mono now)
{
	if (!r->routes.sweep || mono_before(now, r->routes.sweep_at))
		return;
	r->routes.sweep = false;
	if (r->conf.paths_max > 1)
		fib_queue_all(&r->fib);
}

int
routes_slice(struct router *r, struct mono now)
{
	struct routes *s = &r->routes;
	size_t each = (graph(r)->vertex_count + PATHS_SLICE_FLOOR) * r->profiles.count;
	struct fib_route *route;
	int err;

	sweep_if_due(r, now);
	if (r->fib.waiting == 0 || mono_before(now, routes_next(r)))
		return 0;
	s->now = now;
	fib_turn(&r->fib);
	for (size_t work = 0; work < PATHS_SLICE_WORK; work += each) {
		if ((route = fib_waiting(&r->fib)) == NULL)
			break;
		if ((err = renew(r, route)) != 0) {
			s->urgent_at = s->slice_at = mono_add_us(now, RETRY_US);
			return err;
		}
		fib_unqueue(&r->fib, route);
	}
	s->urgent_at = mono_add_us(now, PATHS_BREATH_US);
	s->slice_at = mono_add_us(now, PATHS_PAUSE_US);
	return 0;
}

struct mono
routes_next(const struct router *r)
{
	bool urgent = !TAILQ_EMPTY(&r->fib.urgent);

	if (!r->routes.current || r->fib_state == FIB_AWAY)
		return MONO_NEVER;
	if (r->fib.waiting == 0)
		return r->routes.sweep ? r->routes.sweep_at : MONO_NEVER;
	return urgent || r->fib_state == FIB_WAIT ? r->routes.urgent_at : r->routes.slice_at;
}
