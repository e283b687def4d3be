#include "transportd/path.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/backpressure.h"
#include "transportd/core/limits.h"
#include "transportd/stats.h"
#include "transportd/transport.h"

/* --- the table --- */

int
paths_init(struct paths *p)
{
	for (unsigned i = 0; i < PATH_BUCKETS; i++)
		LIST_INIT(&p->buckets[i]);
	TAILQ_INIT(&p->all);
	p->count = 0;
	p->rx = pathrx_new();
	return p->rx != NULL ? 0 : ERR_NOMEM;
}

static unsigned
bucket(uint64_t dst, uint32_t path_id)
{
	return (unsigned)(((dst ^ path_id) * 0x9e3779b97f4a7c15ULL) >> 55) % PATH_BUCKETS;
}

static struct path *
path_get(const struct paths *ps, uint64_t dst, uint32_t path_id)
{
	struct path *p;

	LIST_FOREACH (p, &ps->buckets[bucket(dst, path_id)], entry)
		if (p->dst == dst && p->w.path_id == path_id)
			return p;
	return NULL;
}

static void
release(struct path *p)
{
	if (p->held)
		backpressure_release(p->t, p->dst);
	p->held = false;
}

static void
path_free(struct paths *ps, struct path *p)
{
	release(p);
	LIST_REMOVE(p, entry);
	TAILQ_REMOVE(&ps->all, p, order);
	ps->count--;
	loop_timer_free(p->timer);
	mem_free(p);
}

void
paths_fini(struct paths *p)
{
	while (p->rx != NULL && !TAILQ_EMPTY(&p->all))
		path_free(p, TAILQ_FIRST(&p->all));
	pathrx_free(p->rx);
	p->rx = NULL;
}

/* --- asking --- */

static void
ask(struct path *p, struct mono now)
{
	uint8_t mem[PATH_ASK_BYTES];
	struct path_feedback a;
	struct frame f = {.type = FRAME_PATH_FEEDBACK,
	    .class = FRAME_CLASS_CLIENT,
	    .src = p->t->identity.node_id,
	    .visit_count = 1,
	    .visit = {p->dst},
	    .flow = p->flow,
	    .payload = mem,
	    .payload_len = PATH_ASK_BYTES};
	struct buf out;

	if (!pathwin_ask(&p->w, now, &a))
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	if (path_feedback_encode(&a, &out) == 0 && relay_own(p->t, &f, p->w.path_id))
		stat_inc(STAT_PATH_ASKS);
}

static void
arm(struct path *p)
{
	struct mono next = mono_min(pathwin_next(&p->w), mono_add_ms(p->used, PATH_IDLE_MS));

	/* One that goes off early finds nothing to do; setting it for each frame would cost more. */
	if (!mono_before(next, p->armed))
		return;
	p->armed = next;
	loop_timer_arm(p->timer, next);
}

static void
on_timer(void *arg)
{
	struct path *p = arg;
	struct mono now = clock_mono();

	p->armed = MONO_NEVER;
	if (!mono_before(now, mono_add_ms(p->used, PATH_IDLE_MS))) {
		path_free(&p->t->paths, p);
		return;
	}
	ask(p, now);
	if (pathwin_silent(&p->w, now)) {
		/* Whoever waits for it may go on, and finds out whether there is another way. */
		stat_inc(STAT_PATH_SILENT);
		pathwin_reset(&p->w, now);
		release(p);
	}
	arm(p);
}

static struct path *
path_new(struct transport *t, uint64_t dst, uint32_t path_id)
{
	struct paths *ps = &t->paths;
	struct path *p;

	if (ps->count >= PATHS_MAX)
		path_free(ps, TAILQ_FIRST(&ps->all));
	p = mem_calloc(1, sizeof(*p));
	if (p == NULL || (p->timer = loop_timer_new(t->loop, on_timer, p)) == NULL) {
		mem_free(p);
		return NULL;
	}
	p->t = t;
	p->dst = dst;
	p->armed = MONO_NEVER;
	pathwin_init(&p->w, path_id, t->set.path_window, clock_mono());
	LIST_INSERT_HEAD(&ps->buckets[bucket(dst, path_id)], p, entry);
	TAILQ_INSERT_TAIL(&ps->all, p, order);
	ps->count++;
	return p;
}

void
path_sent(struct transport *t, uint64_t dst, const struct frame *f)
{
	struct path *p = path_get(&t->paths, dst, f->path_id);
	struct mono now = t->turn;

	/* Without memory it is not limited; the links still are. */
	if (p == NULL && (p = path_new(t, dst, f->path_id)) == NULL)
		return;
	p->used = now;
	p->flow = f->flow;
	if (TAILQ_NEXT(p, order) != NULL) {
		TAILQ_REMOVE(&t->paths.all, p, order);
		TAILQ_INSERT_TAIL(&t->paths.all, p, order);
	}
	/* Without the nodes still to visit, of which it arrives with none. */
	pathwin_sent(&p->w, frame_size(f) - sizeof(f->visit[0]) * f->visit_count, now);
	if (!p->held && pathwin_full(&p->w)) {
		stat_inc(STAT_PATH_FULL);
		p->held = backpressure_hold(t, dst);
	}
	ask(p, now);
	arm(p);
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
answer(struct transport *t, uint64_t src, struct path_feedback *a)
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

	pathrx_answer(t->paths.rx, src, a);
	buf_init_fixed(&out, mem, sizeof(mem));
	if (path_feedback_encode(a, &out) == 0 && relay_own(t, &f, 0))
		stat_inc(STAT_PATH_ANSWERS);
}

void
path_feedback(struct transport *t, const struct frame *f)
{
	struct path_feedback a;
	struct mono now = clock_mono();
	struct path *p;

	if (path_feedback_decode(f->payload, f->payload_len, &a) != 0 || f->e2e_len != 0) {
		stat_inc(STAT_DROP_REFUSED);
		return;
	}
	if (a.kind == PATH_ASK) {
		answer(t, f->src, &a);
		return;
	}
	p = path_get(&t->paths, f->src, a.path_id);
	if (p == NULL || !pathwin_answer(&p->w, &a, now))
		return;
	if (p->held && pathwin_open(&p->w))
		release(p);
	ask(p, now);
	arm(p);
}

void
paths_reset(struct transport *t)
{
	struct path *p;

	TAILQ_FOREACH (p, &t->paths.all, order)
		p->held = false;
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
