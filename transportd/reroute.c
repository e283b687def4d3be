#include "transportd/reroute.h"

#include "common/base/frame.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "transportd/backpressure.h"
#include "transportd/core/fib.h"
#include "transportd/core/forward.h"
#include "transportd/core/limits.h"
#include "transportd/core/sched.h"
#include "transportd/core/spread.h"
#include "transportd/stats.h"
#include "transportd/transport.h"

/* --- choosing --- */

unsigned
reroute_badness(void *arg, uint64_t dst, uint32_t path_id)
{
	const struct transport *t = arg;
	const struct path_dst *d = path_dst_get(&t->paths, dst);
	const struct path *p = d != NULL ? path_get(d, path_id) : NULL;

	return p != NULL ? pathhealth_badness(&p->health) : 0;
}

/* What is known of a path; d and its path may be unknown. */
static void
describe(const struct transport *t, const struct path_dst *d, const struct fib_path *way, bool choice,
    struct spread_path *out)
{
	const struct path *p = d != NULL ? path_get(d, way->path_id) : NULL;
	const struct link *l = links_get(&t->links, way->hops[0]);

	*out = (struct spread_path){
	    .path_id = way->path_id,
	    .weight = way->weight,
	    .window = PATHWIN_INITIAL_BYTES,
	    .alive = l != NULL,
	    /* With one path the link itself holds those that fill it. */
	    .full = choice && l != NULL && sched_high(l->q),
	};
	if (p == NULL)
		return;
	out->rate = pathwin_rate(&p->w);
	out->window = p->w.window;
	out->in_flight = pathwin_in_flight(&p->w);
	out->badness = pathhealth_badness(&p->health);
	out->full |= pathwin_full(&p->w);
	out->credit = p->credit;
}

static size_t
describe_all(const struct transport *t, uint64_t dst, const struct path_dst *d, struct spread_path *out)
{
	const struct fib_paths *paths = fib_get(t->fib, dst, FRAME_CLASS_CLIENT);
	size_t count = paths != NULL ? paths->count : 0;

	for (size_t i = 0; i < count; i++)
		describe(t, d, &paths->path[i], count > 1, &out[i]);
	return count;
}

bool
reroute_choice(struct transport *t, uint64_t dst)
{
	const struct fib_paths *paths = fib_get(t->fib, dst, FRAME_CLASS_CLIENT);

	return paths != NULL && paths->count > 1;
}

/* A relay that does not let the tenant's data through is as good as none for it. */
static void
keep_off(
    const struct transport *t, uint64_t dst, const struct frame *f, struct spread_path *paths, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (avoid_has(&t->paths.avoid, dst, paths[i].path_id, f->flow, t->turn))
			paths[i].alive = false;
}

bool
reroute_pick(struct transport *t, uint64_t dst, const struct frame *f, uint32_t *path_id)
{
	struct spread_path paths[FIB_PATHS_MAX];
	const struct path_dst *d;
	size_t count;
	int chosen;

	if (!reroute_choice(t, dst))
		return false;
	d = path_dst_get(&t->paths, dst);
	count = describe_all(t, dst, d, paths);
	keep_off(t, dst, f, paths, count);
	chosen = spread_pick(t->paths.spread, dst, f->flow, frame_size(f), paths, count, t->turn);
	if (chosen < 0)
		return false;
	for (size_t i = 0; d != NULL && i < count; i++) {
		struct path *p = path_get(d, paths[i].path_id);

		if (p != NULL)
			p->credit = paths[i].credit;
	}
	*path_id = paths[chosen].path_id;
	if (chosen != 0)
		stat_inc(STAT_PATH_OTHER);
	return true;
}

/* --- room --- */

static bool
has_room(const struct transport *t, const struct path_dst *d)
{
	struct spread_path paths[FIB_PATHS_MAX];
	size_t count = describe_all(t, d->dst, d, paths);

	return spread_room(paths, count);
}

/* Room enough for consensusd to be told. */
static bool
is_open(const struct transport *t, const struct path_dst *d)
{
	struct spread_path paths[FIB_PATHS_MAX];
	const struct fib_paths *fib = fib_get(t->fib, d->dst, FRAME_CLASS_CLIENT);
	size_t count = describe_all(t, d->dst, d, paths);

	for (size_t i = 0; i < count; i++) {
		const struct path *p = path_get(d, paths[i].path_id);
		const struct link *l = links_get(&t->links, fib->path[i].hops[0]);

		paths[i].full =
		    (p != NULL && !pathwin_open(&p->w)) || (count > 1 && l != NULL && !sched_low(l->q));
	}
	return spread_room(paths, count);
}

bool
reroute_hold(struct transport *t, struct path_dst *d)
{
	if (d->held || has_room(t, d) || !backpressure_hold(t, d->dst))
		return false;
	d->held = true;
	LIST_INSERT_HEAD(&t->paths.held, d, held_entry);
	stat_inc(STAT_PATH_FULL);
	return true;
}

bool
reroute_link_full(struct transport *t, uint64_t dst)
{
	struct path_dst *d = path_dst_get(&t->paths, dst);

	return d != NULL && (d->held || reroute_hold(t, d));
}

void
reroute_release(struct transport *t, struct path_dst *d)
{
	if (!d->held)
		return;
	d->held = false;
	LIST_REMOVE(d, held_entry);
	backpressure_release(t, d->dst);
}

void
reroute_consider(struct transport *t, struct path_dst *d)
{
	if (d->held && is_open(t, d))
		reroute_release(t, d);
}

static void
consider_all(struct transport *t)
{
	struct path_dst *d, *next;

	LIST_FOREACH_SAFE (d, &t->paths.held, held_entry, next)
		reroute_consider(t, d);
}

void
reroute_link_relieved(struct transport *t)
{
	consider_all(t);
}

void
reroute_reset(struct transport *t)
{
	struct path_dst *d;

	while ((d = LIST_FIRST(&t->paths.held)) != NULL) {
		d->held = false;
		LIST_REMOVE(d, held_entry);
	}
}

/* --- leaving and returning --- */

void
reroute_state_changed(enum pathhealth_state state, int by)
{
	static const enum stat gauges[] = {
	    [PATHHEALTH_UP] = STAT_PATHS_UP,
	    [PATHHEALTH_SLOW] = STAT_PATHS_SLOW,
	    [PATHHEALTH_SUSPECT] = STAT_PATHS_SUSPECT,
	};

	stat_add(gauges[state], by);
}

static void
count_change(const struct path *p, enum pathhealth_state before)
{
	static const enum stat left[] = {
	    [PATHHEALTH_SILENT] = STAT_PATH_LEFT_SILENT,
	    [PATHHEALTH_LINK] = STAT_PATH_LEFT_LINK,
	    [PATHHEALTH_NOTICE] = STAT_PATH_LEFT_NOTICE,
	    [PATHHEALTH_RTT] = STAT_PATH_LEFT_RTT,
	};

	reroute_state_changed(before, -1);
	reroute_state_changed(p->health.state, 1);
	if (p->health.state == PATHHEALTH_UP)
		stat_inc(STAT_PATH_RETURNED);
	else
		stat_inc(left[p->health.reason]);
}

void
reroute_report(struct path *p, struct mono now)
{
	if (!p->to_report || mono_before(now, mono_add_ms(p->reported, PATH_REPORT_MS)))
		return;
	p->to_report = !router_path(p->t, p);
	p->reported = now;
}

/* Is there a better path to go on on? */
static bool
has_better(const struct path *p)
{
	struct spread_path paths[FIB_PATHS_MAX];
	size_t count = describe_all(p->t, p->d->dst, p->d, paths);

	for (size_t i = 0; i < count; i++)
		if (paths[i].path_id != p->w.path_id && paths[i].alive &&
		    paths[i].badness < pathhealth_badness(&p->health))
			return true;
	return false;
}

/* What is on its way is lost for all that is known; it is sent again without waiting for a timer.  But not
 * over the same path only because it is silent: what waits there, in front of it or behind a slow line, is
 * not lost, and twice as much would wait. */
static void
give_up(struct path *p, enum pathhealth_reason reason, struct mono now)
{
	if (pathwin_in_flight(&p->w) != 0 && (reason != PATHHEALTH_SILENT || has_better(p)))
		consensus_rerouted(p->t, p->d->dst);
	pathwin_reset(&p->w, now);
}

void
reroute_settle(struct path *p, enum pathhealth_state before)
{
	struct mono now = clock_mono();
	char id[NODEID_TEXT_SIZE];
	struct log_ctx ctx = {.peer = id};

	if (p->health.state == before)
		return;
	count_change(p, before);
	nodeid_format(id, p->d->dst);
	log_at(LOG_INFO, &ctx, "path %u is %s%s%s", p->w.path_id, pathhealth_name(p->health.state),
	    p->health.state == PATHHEALTH_UP ? "" : ": ",
	    p->health.state == PATHHEALTH_UP ? "" : pathhealth_reason_name(p->health.reason));
	if (p->health.state == PATHHEALTH_SUSPECT)
		give_up(p, p->health.reason, now);
	p->to_report = true;
	reroute_report(p, now);
	/* Whoever waits for this path may have another one now, or this one again. */
	reroute_consider(p->t, p->d);
	path_arm(p);
}

void
reroute_failed(struct path *p, enum pathhealth_reason reason)
{
	enum pathhealth_state before = p->health.state;
	struct mono now = clock_mono();

	pathhealth_fail(&p->health, reason, now);
	if (p->health.state != before) {
		reroute_settle(p, before);
		return;
	}
	/* A relay says it again: that is no reason to send more than the window allows. */
	if (reason == PATHHEALTH_NOTICE)
		return;
	give_up(p, reason, now);
	reroute_consider(p->t, p->d);
}

void
reroute_link_down(struct transport *t, uint64_t node)
{
	struct path *p;

	TAILQ_FOREACH (p, &t->paths.all, order)
		if (p->first == node)
			reroute_failed(p, PATHHEALTH_LINK);
	consider_all(t);
}

void
reroute_link_up(struct transport *t, uint64_t node)
{
	struct path *p;

	TAILQ_FOREACH (p, &t->paths.all, order)
		if (p->first == node) {
			pathhealth_hurry(&p->health, clock_mono());
			path_arm(p);
		}
	consider_all(t);
}

static void
dst_changed(struct transport *t, struct path_dst *d)
{
	bool active = mono_before(clock_mono(), mono_add_ms(d->used, PATH_ACTIVE_MS));

	if (active)
		path_others(t, d->dst);
	reroute_consider(t, d);
}

void
reroute_fib_changed(struct transport *t, uint64_t dst)
{
	struct path_dst *d, *next;

	if (dst != 0) {
		if ((d = path_dst_get(&t->paths, dst)) != NULL)
			dst_changed(t, d);
		return;
	}
	for (unsigned i = 0; i < PATH_BUCKETS; i++)
		LIST_FOREACH_SAFE (d, &t->paths.buckets[i], entry, next)
			dst_changed(t, d);
}

/* The quickest of the others that are up. */
static uint32_t
other_rtt(const struct path *p)
{
	const struct path *o;
	uint32_t least = 0;

	LIST_FOREACH (o, &p->d->paths, entry)
		if (o != p && o->health.state == PATHHEALTH_UP && o->w.srtt_us != 0 &&
		    links_get(&p->t->links, o->first) != NULL && (least == 0 || o->w.srtt_us < least))
			least = o->w.srtt_us;
	return least;
}

void
reroute_answered(struct path *p, struct mono now)
{
	enum pathhealth_state before = p->health.state;
	const struct link *l = links_get(&p->t->links, p->first);
	struct pathhealth_sample s = {
	    .rtt_us = p->w.rtt_us,
	    .srtt_us = p->w.srtt_us,
	    .rtt_min_us = p->w.rtt_min_us,
	    .other_us = other_rtt(p),
	    .busy = pathwin_congested(&p->w) || (l != NULL && sched_bytes(l->q) > PATHWIN_MIN_BYTES),
	};

	pathhealth_answer(&p->health, &s, now);
	if (p->health.state != before)
		reroute_settle(p, before);
	else
		reroute_consider(p->t, p->d);
}

/* Is the node one that the path leads over?  Others have nothing to say about it. */
static bool
leads_over(const struct fib_path *way, uint64_t node)
{
	for (unsigned i = 0; i + 1 < way->hop_count; i++)
		if (way->hops[i] == node)
			return true;
	return false;
}

static const struct fib_path *
path_of(const struct transport *t, uint64_t dst, uint32_t path_id)
{
	for (unsigned c = 0; c < FRAME_CLASS_COUNT; c++) {
		const struct fib_paths *paths = fib_get(t->fib, dst, (uint8_t)c);
		const struct fib_path *way = paths != NULL ? fib_paths_find(paths, path_id) : NULL;

		if (way != NULL)
			return way;
	}
	return NULL;
}

bool
reroute_notice(struct transport *t, const struct frame *f)
{
	const struct fib_path *way;
	struct unreach u;
	struct path *p;

	if (unreach_decode(f->payload, f->payload_len, &u) != 0)
		return false;
	way = u.path_id != 0 ? path_of(t, u.destination, u.path_id) : NULL;
	if (way == NULL || !leads_over(way, f->src))
		return u.reason == UNREACH_REPAIRED;
	stat_inc(STAT_PATH_NOTICES);
	if (u.reason == UNREACH_DENIED) {
		/* Of this tenant only; what it has dropped is sent again at once. */
		if (avoid_add(&t->paths.avoid, u.destination, u.path_id, f->flow, clock_mono()))
			consensus_rerouted(t, u.destination);
		return true;
	}
	p = path_make(t, u.destination, u.path_id);
	if (p != NULL)
		reroute_failed(p, PATHHEALTH_NOTICE);
	return u.reason == UNREACH_REPAIRED;
}

void
reroute_unheard(struct transport *t, uint64_t node)
{
	const struct fib_paths *paths = fib_get(t->fib, node, FRAME_CLASS_CONTROL);
	struct mono now = clock_mono();
	struct forward_way way;
	struct path *p;

	if (paths == NULL || paths->count < 2 ||
	    relay_way(t, node, FRAME_CLASS_CONTROL, &way) != FORWARD_SEND ||
	    (p = path_make(t, node, way.path_id)) == NULL)
		return;
	if (mono_before(now, mono_add_ms(p->d->unheard, PATH_UNHEARD_MS)))
		return;
	p->d->unheard = now;
	reroute_failed(p, PATHHEALTH_SILENT);
}

void
reroute_router_up(struct transport *t)
{
	struct mono now = clock_mono();
	struct path *p;

	TAILQ_FOREACH (p, &t->paths.all, order) {
		p->to_report |= p->health.state != PATHHEALTH_UP;
		p->reported = mono_add_ms(now, -PATH_REPORT_MS);
		reroute_report(p, now);
		path_arm(p);
	}
}
