#include "routerd/core/router_impl.h"

void
paths_want(struct router *r, struct mono now, bool urgent)
{
	/* The wait that grew in a storm is for what follows closely, not for what comes long after. */
	bool calm = mono_diff_us(now, r->spf_last) > SPF_BACKOFF_MAX_US;
	struct mono at = mono_add_us(now, urgent ? 0 : calm ? r->conf.spf_delay_us : r->spf_wait_us);

	r->spf_at = r->spf_wanted ? mono_min(r->spf_at, at) : at;
	r->spf_wanted = true;
}

static void
tell(struct router *r, struct lsdb_entry *e)
{
	e->changed = false;
	r->ops->node(r->arg, e);
}

static void
tell_event(struct router *r, uint64_t node, enum node_state before, enum node_state after)
{
	if (after == NODE_STATE_ALIVE)
		r->ops->event(r->arg, ROUTER_NODE_UP, node, 0);
	else if (after == NODE_STATE_LEFT)
		r->ops->event(r->arg, ROUTER_NODE_LEFT, node, 0);
	else if (before == NODE_STATE_ALIVE)
		r->ops->event(r->arg, ROUTER_NODE_DOWN, node, 0);
}

static void
set_state(struct router *r, struct lsdb_entry *e, enum node_state state, uint32_t hops)
{
	enum node_state before = e->state;

	e->hops = hops;
	if (state != before) {
		e->state = state;
		e->changed = true;
		if (e->id.node != r->self.node)
			tell_event(r, e->id.node, before, state);
	}
	if (e->changed)
		tell(r, e);
}

void
paths_refreshed(struct router *r, struct lsdb_entry *e)
{
	if (e->state != NODE_STATE_NEW)
		tell(r, e);
}

void
paths_ended(struct router *r, struct lsdb_entry *e)
{
	if (e->state == NODE_STATE_ALIVE)
		set_state(r, e, NODE_STATE_UNREACHABLE, 0);
}

/* --- the FIB --- */

/* What transportd has is not what we think: it gets everything again, in a while. */
static void
fib_lost(struct router *r, struct mono now)
{
	r->fib_state = FIB_WAIT;
	r->fib_from = r->fib_by = mono_add_us(now, RETRY_US);
}

static void
route_gone(void *arg, const struct fib_route *gone)
{
	struct router *r = arg;

	r->counters.routes_changed++;
	if (r->fib_state == FIB_LIVE && r->ops->route_del(r->arg, gone->destination) != 0)
		fib_lost(r, r->spf_last);
}

/* A path to e, or none: 0, or ERR_NOMEM. */
static int
put_route(struct router *r, struct lsdb_entry *e, const struct spf_path *path)
{
	enum fib_change change;
	struct fib_route *route;
	int err = fib_put(&r->fib, e->id.node, path, &change, &route);

	if (err != 0 || change == FIB_SAME)
		return err;
	r->counters.routes_changed++;
	if (change == FIB_CHANGED)
		r->ops->event(r->arg, ROUTER_PATH_CHANGED, e->id.node, 0);
	if (r->fib_state == FIB_LIVE && r->ops->route_set(r->arg, route) != 0)
		fib_lost(r, r->spf_last);
	return 0;
}

static int
update_node(struct router *r, struct lsdb_entry *e)
{
	struct spf_path path;
	uint32_t v = graph_find(&r->graph, e->id.node);
	int err;

	if (e->id.node == r->self.node) {
		set_state(r, e, NODE_STATE_ALIVE, 0);
	} else if ((e->flags & LSA_FLAG_LEFT) != 0) {
		set_state(r, e, NODE_STATE_LEFT, 0);
	} else if (v != GRAPH_NONE && spf_path(&r->spf, &r->graph, v, &path)) {
		if ((err = put_route(r, e, &path)) != 0)
			return err;
		set_state(r, e, NODE_STATE_ALIVE, path.hop_count);
	} else {
		set_state(r, e, NODE_STATE_UNREACHABLE, 0);
	}
	return 0;
}

static void
link_changed(void *arg, uint64_t a, uint64_t b, bool up)
{
	struct router *r = arg;

	r->ops->event(r->arg, up ? ROUTER_LINK_UP : ROUTER_LINK_DOWN, a, b);
}

/* The graph as it is now; what differs from before is told. */
static int
rebuild_graph(struct router *r)
{
	struct graph old = r->graph_before;
	size_t left_out;
	size_t count = neighbour_table_adj(&r->neighbours, r->lsa.adj, &left_out);
	int err = graph_build(&old, &r->db, r->self.node, r->lsa.adj, count);

	if (err == 0)
		err = spf_run(&r->spf, &old);
	if (err != 0) {
		r->graph_before = old; /* its memory, at least */
		return err;
	}
	r->graph_before = r->graph;
	r->graph = old;
	graph_diff(&r->graph_before, &r->graph, link_changed, r);
	return 0;
}

/* Everything that follows from the topology.  Not 0: to be done again. */
static int
compute(struct router *r)
{
	int failed = 0, err = rebuild_graph(r);

	if (err != 0)
		return err;
	r->counters.spf_runs++;
	fib_begin(&r->fib);
	for (struct lsdb_entry *e = lsdb_from(&r->db, 0); e != NULL; e = lsdb_next(&r->db, e))
		if ((err = update_node(r, e)) != 0)
			failed = err;
	fib_end(&r->fib, route_gone, r);
	return failed;
}

static void
install_whole(struct router *r, struct mono now)
{
	const struct fib_route *route;
	int err = r->ops->fib_begin(r->arg, r->fib.version);

	for (route = fib_from(&r->fib, 0); route != NULL && err == 0; route = fib_next(&r->fib, route))
		err = r->ops->route_set(r->arg, route);
	if (err == 0)
		err = r->ops->fib_end(r->arg, r->fib.version);
	if (err != 0) {
		fib_lost(r, now);
		return;
	}
	r->fib_state = FIB_LIVE;
	r->counters.fib_whole++;
}

static bool
whole_fib_due(struct router *r, struct mono now)
{
	if (r->fib_state != FIB_WAIT || !r->identified || mono_before(now, r->fib_from))
		return false;
	return !mono_before(now, r->fib_by) || neighbour_table_synced(&r->neighbours);
}

/* Computations that follow each other closely wait longer and longer. */
static void
adapt_wait(struct router *r, struct mono now)
{
	if (mono_diff_us(now, r->spf_last) > SPF_BACKOFF_MAX_US)
		r->spf_wait_us = r->conf.spf_delay_us;
	else
		r->spf_wait_us = 2 * r->spf_wait_us;
	if (r->spf_wait_us > SPF_BACKOFF_MAX_US && r->conf.spf_delay_us < SPF_BACKOFF_MAX_US)
		r->spf_wait_us = SPF_BACKOFF_MAX_US;
	r->spf_last = now;
}

void
paths_step(struct router *r, struct mono now)
{
	bool whole = whole_fib_due(r, now);

	if (!r->identified)
		return;
	if (r->spf_wanted && (whole || !mono_before(now, r->spf_at))) {
		r->spf_wanted = false;
		adapt_wait(r, now);
		if (compute(r) != 0) {
			r->counters.memory_out++;
			r->spf_wanted = true;
			r->spf_at = mono_add_us(now, RETRY_US);
			if (whole)
				fib_lost(r, now);
			return;
		}
	}
	if (whole)
		install_whole(r, now);
}

struct mono
paths_next(struct router *r)
{
	struct mono next = MONO_NEVER;

	if (!r->identified)
		return next;
	if (r->spf_wanted)
		next = r->spf_at;
	if (r->fib_state == FIB_WAIT)
		next = mono_min(next, neighbour_table_synced(&r->neighbours) ? r->fib_from : r->fib_by);
	return next;
}

void
paths_transport_up(struct router *r, struct mono now)
{
	r->fib_state = FIB_WAIT;
	r->fib_from = now;
	r->fib_by = r->settle_by = mono_add_us(now, SETTLE_US);
	paths_want(r, now, true);
}

void
paths_transport_down(struct router *r)
{
	r->fib_state = FIB_AWAY;
}
