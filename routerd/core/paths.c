#include "routerd/core/router_impl.h"

void
paths_want(struct router *r, struct mono now, enum paths_hurry hurry)
{
	/* The wait that grew in a storm is for what follows closely, not for what comes long after. */
	bool calm = mono_diff_us(now, r->spf_last) > SPF_BACKOFF_MAX_US;
	struct mono rested =
	    mono_add_us(r->spf_last, PATHS_LOST_WAIT_US + (int64_t)r->db.count * PATHS_LOST_NODE_US);
	struct mono at = now;

	if (hurry == PATHS_LATER)
		at = mono_add_us(now, calm ? r->conf.spf_delay_us : r->spf_wait_us);
	else if (hurry == PATHS_LOST && mono_before(now, rested))
		at = rested;
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
	else if (after == NODE_STATE_EVICTED)
		r->ops->event(r->arg, ROUTER_NODE_EVICTED, node, 0);
	else if (after == NODE_STATE_LEFT)
		r->ops->event(r->arg, ROUTER_NODE_LEFT, node, 0);
	else if (before == NODE_STATE_ALIVE)
		r->ops->event(r->arg, ROUTER_NODE_DOWN, node, 0);
}

static void
set_state(struct router *r, struct lsdb_entry *e, enum node_state state, uint32_t hops)
{
	enum node_state before = e->state;

	e->hops = (uint8_t)hops;
	if (state != before) {
		e->state = state;
		e->changed = true;
		if (e->node != r->self.node)
			tell_event(r, e->node, before, state);
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

void
paths_evicted(struct router *r, struct lsdb_entry *e)
{
	set_state(r, e, NODE_STATE_EVICTED, 0);
}

/* --- the FIB --- */

void
paths_fib_lost(struct router *r, struct mono now)
{
	r->fib_state = FIB_WAIT;
	r->fib_from = r->fib_by = mono_add_us(now, RETRY_US);
}

static int
update_node(struct router *r, struct lsdb_entry *e)
{
	uint32_t hops = 0;
	int found;

	if (e->node == r->self.node) {
		set_state(r, e, NODE_STATE_ALIVE, 0);
		return 0;
	}
	if ((e->lsa->flags & LSA_FLAG_LEFT) != 0) {
		set_state(r, e, NODE_STATE_LEFT, 0);
		return 0;
	}
	if ((found = routes_update(r, e->node, &hops)) < 0)
		return found;
	e->missed = found == 0 && r->blind && (e->missed || e->state == NODE_STATE_ALIVE);
	r->missed |= e->missed;
	set_state(r, e, found != 0 ? NODE_STATE_ALIVE : NODE_STATE_UNREACHABLE, hops);
	return 0;
}

/* Everything that follows from the topology.  Not 0: to be done again. */
static int
compute(struct router *r, struct mono now)
{
	int failed = 0, err = routes_rebuild(r, now);

	if (err != 0)
		return err;
	r->counters.spf_runs++;
	routes_begin(r);
	r->missed = false;
	for (struct lsdb_entry *e = lsdb_from(&r->db, 0); e != NULL; e = lsdb_next(&r->db, e))
		if ((err = update_node(r, e)) != 0)
			failed = err;
	routes_end(r, failed == 0);
	if (failed == 0 && !r->missed && !mono_is_never(r->blind_until))
		r->blind = false;
	return failed;
}

static void
install_whole(struct router *r, struct mono now)
{
	const struct fib_route *route;
	int err = r->ops->fib_begin(r->arg, r->fib.version);

	for (route = fib_from(&r->fib, 0); route != NULL && err == 0; route = fib_next(&r->fib, route))
		err = routes_send(r, route);
	if (err == 0)
		err = r->ops->fib_end(r->arg, r->fib.version);
	if (err != 0) {
		paths_fib_lost(r, now);
		return;
	}
	r->fib_state = FIB_LIVE;
	r->counters.fib_whole++;
}

void
paths_configured(struct router *r, bool costs, struct mono now)
{
	if (costs) {
		/* Which profile a route's paths are of is no longer true.  transportd goes on with what it
		 * has until the whole FIB is there again. */
		fib_fini(&r->fib);
		if (r->fib_state == FIB_LIVE) {
			r->fib_state = FIB_WAIT;
			r->fib_from = now;
			r->fib_by = mono_add_us(now, SETTLE_US);
		}
	}
	r->routes.current = false; /* until the graph has the new costs */
	r->routes.gained = true;
	paths_want(r, now, PATHS_AT_ONCE);
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

/* 0, or what is to be done again. */
static int
compute_if_due(struct router *r, struct mono now, bool whole)
{
	int err;

	if (!r->spf_wanted || (!whole && mono_before(now, r->spf_at)))
		return 0;
	r->spf_wanted = false;
	adapt_wait(r, now);
	if ((err = compute(r, now)) == 0)
		return 0;
	r->spf_wanted = true;
	r->spf_at = mono_add_us(now, RETRY_US);
	return err;
}

void
paths_step(struct router *r, struct mono now)
{
	bool whole = whole_fib_due(r, now);

	if (!r->identified)
		return;
	if (r->blind && !mono_before(now, r->blind_until))
		r->blind = false;
	if (compute_if_due(r, now, whole) != 0 || routes_slice(r, now) != 0) {
		r->counters.memory_out++;
		if (whole)
			paths_fib_lost(r, now);
		return;
	}
	/* With its alternatives, if they are there in time: what transportd has may be better than half. */
	if (whole && (r->fib.waiting == 0 || !mono_before(now, r->fib_by)))
		install_whole(r, now);
}

struct mono
paths_next(struct router *r)
{
	struct mono next = MONO_NEVER;

	if (!r->identified)
		return next;
	next = routes_next(r);
	if (r->blind)
		next = mono_min(next, r->blind_until);
	if (r->spf_wanted)
		next = mono_min(next, r->spf_at);
	if (r->fib_state == FIB_WAIT && neighbour_table_synced(&r->neighbours) && r->fib.waiting == 0)
		next = mono_min(next, r->fib_from);
	else if (r->fib_state == FIB_WAIT)
		next = mono_min(next, r->fib_by);
	return next;
}

/* By when all links should be there again. */
static struct mono
return_by(const struct router *r, struct mono now)
{
	int64_t away = mono_diff_us(now, r->blind_since);

	return mono_add_us(now, RETURN_US + (away < RETURN_AWAY_MAX_US ? away : RETURN_AWAY_MAX_US));
}

void
paths_transport_up(struct router *r, struct mono now)
{
	r->fib_state = FIB_WAIT;
	r->fib_from = now;
	r->fib_by = r->settle_by = mono_add_us(now, SETTLE_US);
	if (r->blind && mono_is_never(r->blind_until))
		r->blind_until = return_by(r, now);
	paths_want(r, now, PATHS_AT_ONCE);
}

void
paths_transport_down(struct router *r, struct mono now)
{
	r->fib_state = FIB_AWAY;
	if (!r->blind)
		r->blind_since = now;
	r->blind = true;
	r->blind_until = MONO_NEVER;
	while (r->demand.count != 0)
		MUST(router_used(r, r->demand.nodes[r->demand.count - 1], false) == 0);
}
