#include "transportd/path.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/loop.h"
#include "transportd/core/fib.h"
#include "transportd/core/limits.h"
#include "transportd/core/spread.h"
#include "transportd/edge_router.h"
#include "transportd/reroute.h"
#include "transportd/stats.h"
#include "transportd/transport.h"

/* --- the table --- */

int
paths_init(struct paths *p)
{
	for (unsigned i = 0; i < PATH_BUCKETS; i++)
		LIST_INIT(&p->buckets[i]);
	LIST_INIT(&p->held);
	TAILQ_INIT(&p->all);
	p->count = 0;
	p->rx = pathrx_new();
	p->spread = spread_new();
	return p->rx != NULL && p->spread != NULL ? 0 : ERR_NOMEM;
}

static unsigned
bucket(uint64_t dst)
{
	return (unsigned)((dst * 0x9e3779b97f4a7c15ULL) >> 55) % PATH_BUCKETS;
}

struct path_dst *
path_dst_get(const struct paths *ps, uint64_t dst)
{
	struct path_dst *d;

	LIST_FOREACH (d, &ps->buckets[bucket(dst)], entry)
		if (d->dst == dst)
			return d;
	return NULL;
}

struct path *
path_get(const struct path_dst *d, uint32_t path_id)
{
	struct path *p;

	LIST_FOREACH (p, &d->paths, entry)
		if (p->w.path_id == path_id)
			return p;
	return NULL;
}

static void
path_free(struct path *p)
{
	struct paths *ps = &p->t->paths;
	struct path_dst *d = p->d;

	LIST_REMOVE(p, entry);
	TAILQ_REMOVE(&ps->all, p, order);
	ps->count--;
	reroute_state_changed(p->health.state, -1);
	loop_timer_free(p->timer);
	if (LIST_EMPTY(&d->paths)) {
		router_used(p->t, d->dst, false);
		reroute_release(p->t, d);
		LIST_REMOVE(d, entry);
		mem_free(d);
	} else {
		reroute_consider(p->t, d);
	}
	mem_free(p);
}

/* routerd may still hold what it heard of it. */
static void
forget(struct path *p)
{
	if (p->health.state != PATHHEALTH_UP || p->to_report)
		router_path_forgotten(p->t, p);
	path_free(p);
}

void
paths_fini(struct paths *p)
{
	while (p->rx != NULL && !TAILQ_EMPTY(&p->all))
		path_free(TAILQ_FIRST(&p->all));
	pathrx_free(p->rx);
	spread_free(p->spread);
	p->rx = NULL;
	p->spread = NULL;
}

/* --- asking --- */

static void
send_ask(struct path *p, const struct path_feedback *a, enum stat counter)
{
	uint8_t mem[PATH_ASK_BYTES];
	struct frame f = {.type = FRAME_PATH_FEEDBACK,
	    .class = FRAME_CLASS_CLIENT,
	    .src = p->t->identity.node_id,
	    .visit_count = 1,
	    .visit = {p->d->dst},
	    .flow = p->flow,
	    .payload = mem,
	    .payload_len = PATH_ASK_BYTES};
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	if (path_feedback_encode(a, &out) == 0 && relay_over(p->t, &f, p->class, p->w.path_id))
		stat_inc(counter);
}

static void
ask(struct path *p, struct mono now)
{
	struct path_feedback a;

	if (pathwin_ask(&p->w, now, &a))
		send_ask(p, &a, STAT_PATH_ASKS);
}

/* --- time --- */

/* Does somebody want to know how it is? */
static bool
wanted(const struct path *p, struct mono now)
{
	return p->health.state != PATHHEALTH_UP || mono_before(now, mono_add_ms(p->d->used, PATH_ACTIVE_MS));
}

bool
path_in_use(const struct path *p, struct mono now)
{
	return p->carried && mono_before(now, mono_add_ms(p->used, PATH_ACTIVE_MS));
}

static const struct fib_path *
installed(const struct path *p)
{
	const struct fib_paths *paths = fib_get(p->t->fib, p->d->dst, p->class);

	return paths != NULL ? fib_paths_find(paths, p->w.path_id) : NULL;
}

/* An unused one is kept as long as its destination is used: it is the way out. */
static struct mono
idle_at(const struct path *p)
{
	return mono_add_ms(mono_before(p->used, p->d->used) ? p->d->used : p->used, PATH_IDLE_MS);
}

/* routerd knows it no more, and nothing of it comes any more. */
static bool
is_gone(const struct path *p, struct mono now)
{
	return installed(p) == NULL && (pathwin_in_flight(&p->w) == 0 || pathwin_silent(&p->w, now));
}

void
path_arm(struct path *p)
{
	struct mono next = mono_min(pathwin_next(&p->w), idle_at(p));

	if (wanted(p, clock_mono()))
		next = mono_min(next, pathhealth_next(&p->health));
	if (p->to_report)
		next = mono_min(next, mono_add_ms(p->reported, PATH_REPORT_MS));
	/* One that goes off early finds nothing to do; setting it for each frame would cost more. */
	if (!mono_before(next, p->armed))
		return;
	p->armed = next;
	loop_timer_arm(p->timer, next);
}

static void
probe(struct path *p, struct mono now)
{
	enum pathhealth_state before = p->health.state;
	struct path_feedback a;

	if (!wanted(p, now) || !pathhealth_probe(&p->health, pathwin_rto_us(&p->w), now))
		return;
	if (p->health.state != before)
		reroute_settle(p, before);
	pathwin_probe(&p->w, now, &a);
	send_ask(p, &a, STAT_PATH_PROBES);
}

static void
on_timer(void *arg)
{
	struct path *p = arg;
	struct mono now = clock_mono();

	p->armed = MONO_NEVER;
	if (!mono_before(now, idle_at(p)) || is_gone(p, now)) {
		forget(p);
		return;
	}
	ask(p, now);
	if (pathwin_silent(&p->w, now)) {
		stat_inc(STAT_PATH_SILENT);
		reroute_failed(p, PATHHEALTH_SILENT);
	}
	probe(p, now);
	reroute_report(p, now);
	path_arm(p);
}

/* --- making them --- */

static struct path_dst *
dst_make(struct transport *t, uint64_t dst)
{
	struct paths *ps = &t->paths;
	struct path_dst *d = path_dst_get(ps, dst);

	if (d != NULL || (d = mem_calloc(1, sizeof(*d))) == NULL)
		return d;
	d->dst = dst;
	LIST_INIT(&d->paths);
	LIST_INSERT_HEAD(&ps->buckets[bucket(dst)], d, entry);
	router_used(t, dst, true);
	return d;
}

static const struct fib_path *
find(const struct fib *f, uint64_t dst, uint32_t path_id, uint8_t *class)
{
	for (uint8_t c = FRAME_CLASS_COUNT; c-- > 0;) {
		const struct fib_paths *paths = fib_get(f, dst, c);
		const struct fib_path *p = paths != NULL ? fib_paths_find(paths, path_id) : NULL;

		*class = c;
		if (p != NULL)
			return p;
	}
	return NULL;
}

_Static_assert(FRAME_CLASS_CLIENT == FRAME_CLASS_COUNT - 1, "find() begins with it");

static void
path_begin(struct path *p, struct transport *t, struct path_dst *d, uint32_t path_id)
{
	struct mono now = clock_mono();

	p->t = t;
	p->d = d;
	p->armed = MONO_NEVER;
	p->used = now;
	p->reported = mono_add_ms(now, -PATH_REPORT_MS);
	pathwin_init(&p->w, path_id, t->set.path_window, now);
	pathhealth_init(&p->health, now);
	reroute_state_changed(p->health.state, 1);
	LIST_INSERT_HEAD(&d->paths, p, entry);
	TAILQ_INSERT_TAIL(&t->paths.all, p, order);
	t->paths.count++;
}

static struct path *
path_new(struct transport *t, uint64_t dst, uint32_t path_id)
{
	struct paths *ps = &t->paths;
	const struct fib_path *way;
	struct path_dst *d;
	struct path *p;
	uint8_t class;

	way = find(t->fib, dst, path_id, &class);
	if (way == NULL)
		return NULL;
	/* Before its destination is looked for: that might go, too. */
	if (ps->count >= PATHS_MAX)
		forget(TAILQ_FIRST(&ps->all));
	p = mem_calloc(1, sizeof(*p));
	if (p == NULL || (p->timer = loop_timer_new(t->loop, on_timer, p)) == NULL ||
	    (d = dst_make(t, dst)) == NULL) {
		if (p != NULL)
			loop_timer_free(p->timer);
		mem_free(p);
		return NULL;
	}
	p->first = way->hops[0];
	p->class = class;
	path_begin(p, t, d, path_id);
	return p;
}

struct path *
path_make(struct transport *t, uint64_t dst, uint32_t path_id)
{
	const struct path_dst *d = path_dst_get(&t->paths, dst);
	struct path *p = d != NULL ? path_get(d, path_id) : NULL;

	return p != NULL ? p : path_new(t, dst, path_id);
}

void
path_others(struct transport *t, uint64_t dst)
{
	const struct fib_paths *paths = fib_get(t->fib, dst, FRAME_CLASS_CLIENT);

	for (uint32_t i = 0; paths != NULL && paths->count > 1 && i < paths->count; i++) {
		struct path *p = path_make(t, dst, paths->path[i].path_id);

		if (p != NULL)
			path_arm(p);
	}
}

void
path_sent(struct transport *t, uint64_t dst, const struct frame *f)
{
	struct path *p = path_make(t, dst, f->path_id);
	struct mono now = t->turn;
	bool fresh;

	/* Without memory it is not limited; the links still are. */
	if (p == NULL)
		return;
	fresh = !mono_before(now, mono_add_ms(p->d->used, PATH_ACTIVE_MS));
	p->used = p->d->used = now;
	p->carried = true;
	p->flow = f->flow;
	if (TAILQ_NEXT(p, order) != NULL) {
		TAILQ_REMOVE(&t->paths.all, p, order);
		TAILQ_INSERT_TAIL(&t->paths.all, p, order);
	}
	/* Without the nodes still to visit, of which it arrives with none. */
	pathwin_sent(&p->w, frame_size(f) - sizeof(f->visit[0]) * f->visit_count, now);
	if (pathwin_full(&p->w))
		(void)reroute_hold(t, p->d);
	ask(p, now);
	path_arm(p);
	if (fresh)
		path_others(t, dst);
}

/* --- the far end --- */

void
path_received(struct transport *t, const struct frame *f, size_t size)
{
	/* A path that a relay has replaced is none of the source's. */
	if (!(f->flags & FRAME_FLAG_REPAIRED))
		pathrx_received(t->paths.rx, f->src, f->path_id, size, (f->flags & FRAME_FLAG_MARKED) != 0);
}

static void
answer(struct transport *t, uint64_t src, uint64_t from, struct path_feedback *a)
{
	uint8_t mem[PATH_ANSWER_BYTES];
	struct frame f = {.type = FRAME_PATH_FEEDBACK,
	    .class = FRAME_CLASS_CONTROL,
	    .src = t->identity.node_id,
	    .visit_count = 1,
	    .visit = {src},
	    .payload = mem,
	    .payload_len = PATH_ANSWER_BYTES};
	struct buf out;
	bool again = a->kind == PATH_ASK_AGAIN;

	if (again)
		reroute_unheard(t, src);
	pathrx_answer(t->paths.rx, src, a);
	buf_init_fixed(&out, mem, sizeof(mem));
	/* Back over the same links, so that the round trip is that of one way; unless just that fails. */
	if (path_feedback_encode(a, &out) == 0 && (again ? relay_own(t, &f) : relay_back(t, &f, from)))
		stat_inc(STAT_PATH_ANSWERS);
}

void
path_feedback(struct transport *t, const struct frame *f, uint64_t from)
{
	struct mono now = clock_mono();
	const struct path_dst *d;
	struct path_feedback a;
	struct path *p;

	if (path_feedback_decode(f->payload, f->payload_len, &a) != 0 || f->e2e_len != 0) {
		stat_inc(STAT_DROP_REFUSED);
		return;
	}
	if (a.kind != PATH_ANSWER) {
		answer(t, f->src, from, &a);
		return;
	}
	d = path_dst_get(&t->paths, f->src);
	p = d != NULL ? path_get(d, a.path_id) : NULL;
	if (p == NULL || !pathwin_answer(&p->w, &a, now))
		return;
	reroute_answered(p, now);
	ask(p, now);
	path_arm(p);
}

void
paths_retune(struct transport *t)
{
	struct path *p;

	TAILQ_FOREACH (p, &t->paths.all, order) {
		p->w.window_max = t->set.path_window;
		if (p->w.window > p->w.window_max)
			p->w.window = p->w.window_max;
	}
}
