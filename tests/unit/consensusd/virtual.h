/*
 * virtual: a loop whose time is the test's: it passes when nothing else is left to do, and then at once up to
 * the next timer.  So a test that waits for seconds takes none, and no slow machine makes it fail.
 *
 * Include it before env.h, in one file of a test: it defines clock_*().  Randomness is drawn from a seed,
 * which the environment may give (SEED), to run a test with other chances.
 */
#ifndef TESTS_UNIT_CONSENSUSD_VIRTUAL_H
#define TESTS_UNIT_CONSENSUSD_VIRTUAL_H

#include "tests/unit/unit.h"

#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/os/clock.h"
#include "common/os/loop.h"

enum {
	VIRTUAL_FDS = 256,
	VIRTUAL_TIMERS = 256,
	VIRTUAL_TURN_US = 10, /* what a turn takes, so that what never comes to rest ends, too */
};

#define VIRTUAL_START_US (INT64_C(1000) * 1000000)
#define VIRTUAL_UNIX_MS UINT64_C(1700000000000)

/* --- time and chance --- */

static struct mono virtual_now = {VIRTUAL_START_US};
static struct rng virtual_rng;

struct mono
clock_mono(void)
{
	return virtual_now;
}

/* What a turn costs is nothing, but what the test says. */
static struct {
	unsigned permille;
	int64_t cpu_us;
	struct mono since;
} virtual_load;

int64_t
clock_cpu_us(void)
{
	return virtual_load.cpu_us +
	       mono_diff_us(virtual_now, virtual_load.since) * virtual_load.permille / 1000;
}

/* From now on the process uses so much of its time. */
static inline void
virtual_busy(unsigned permille)
{
	virtual_load.cpu_us = clock_cpu_us();
	virtual_load.since = virtual_now;
	virtual_load.permille = permille;
}

uint64_t
clock_unix_us(void)
{
	return VIRTUAL_UNIX_MS * 1000 + (uint64_t)virtual_now.us;
}

uint64_t
clock_unix_ms(void)
{
	return clock_unix_us() / 1000;
}

static const char *
virtual_random_name(void)
{
	return "virtual";
}

static uint32_t
virtual_random(void)
{
	return (uint32_t)rng_u64(&virtual_rng);
}

static void
virtual_random_buf(void *out, size_t len)
{
	uint8_t *p = out;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rng_u64(&virtual_rng);
}

static struct randombytes_implementation virtual_randombytes = {
    .implementation_name = virtual_random_name, .random = virtual_random, .buf = virtual_random_buf};

static inline uint64_t
virtual_given_seed(void)
{
	const char *text = getenv("SEED");

	return text != NULL ? strtoull(text, NULL, 10) : 1;
}

/* Before the first use of randomness in a test: the same numbers again. */
static inline void
virtual_seed(uint64_t seed)
{
	rng_seed(&virtual_rng, seed);
	assert_int_equal(randombytes_set_implementation(&virtual_randombytes), 0);
}

/* --- the loop --- */

struct loop_fd {
	struct loop *loop;
	int fd;
	unsigned events;
	loop_fd_fn *fn;
	void *arg;
	bool gone;
};

struct loop_timer {
	struct loop *loop;
	struct mono when;
	uint64_t order; /* of arming: those for the same time fire in it */
	loop_timer_fn *fn;
	void *arg;
};

struct virtual_loop {
	struct loop loop;
	struct loop_fd *fds[VIRTUAL_FDS];
	struct loop_timer *timers[VIRTUAL_TIMERS];
	size_t fd_count, timer_count;
	uint64_t order;
	bool stopped;
};

static struct loop_fd *
virtual_fd_add(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *arg)
{
	struct virtual_loop *v = (struct virtual_loop *)l;
	struct loop_fd *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_true(v->fd_count < VIRTUAL_FDS);
	*f = (struct loop_fd){l, fd, events, fn, arg, false};
	v->fds[v->fd_count++] = f;
	return f;
}

static int
virtual_fd_mod(struct loop_fd *f, unsigned events)
{
	f->events = events;
	return 0;
}

/* Its memory stays until the turn is over. */
static void
virtual_fd_del(struct loop_fd *f)
{
	f->gone = true;
}

static struct loop_timer *
virtual_timer_new(struct loop *l, loop_timer_fn *fn, void *arg)
{
	struct virtual_loop *v = (struct virtual_loop *)l;
	struct loop_timer *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	assert_true(v->timer_count < VIRTUAL_TIMERS);
	*t = (struct loop_timer){l, MONO_NEVER, 0, fn, arg};
	v->timers[v->timer_count++] = t;
	return t;
}

static void
virtual_timer_arm(struct loop_timer *t, struct mono when)
{
	t->when = when;
	t->order = ++((struct virtual_loop *)t->loop)->order;
}

static void
virtual_timer_disarm(struct loop_timer *t)
{
	t->when = MONO_NEVER;
}

static void
virtual_timer_free(struct loop_timer *t)
{
	struct virtual_loop *v = (struct virtual_loop *)t->loop;

	for (size_t i = 0; i < v->timer_count; i++)
		if (v->timers[i] == t)
			v->timers[i] = v->timers[--v->timer_count];
	free(t);
}

static void
virtual_bury(struct virtual_loop *v)
{
	size_t kept = 0;

	for (size_t i = 0; i < v->fd_count; i++) {
		if (v->fds[i]->gone)
			free(v->fds[i]);
		else
			v->fds[kept++] = v->fds[i];
	}
	v->fd_count = kept;
}

/* True: something was ready. */
static bool
virtual_poll(struct virtual_loop *v)
{
	struct pollfd p[VIRTUAL_FDS];
	size_t count = v->fd_count;
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		unsigned events = v->fds[i]->gone ? 0 : v->fds[i]->events;

		p[i] = (struct pollfd){.fd = events != 0 ? v->fds[i]->fd : -1,
		    .events =
			(short)(((events & LOOP_READ) ? POLLIN : 0) | ((events & LOOP_WRITE) ? POLLOUT : 0))};
	}
	assert_true(poll(p, count, 0) >= 0);
	for (size_t i = 0; i < count && !v->stopped; i++) {
		struct loop_fd *f = v->fds[i];
		unsigned ready = ((p[i].revents & (POLLIN | POLLHUP | POLLERR)) ? LOOP_READ : 0u) |
				 ((p[i].revents & (POLLOUT | POLLHUP | POLLERR)) ? LOOP_WRITE : 0u);

		if (p[i].fd < 0 || f->gone || (ready &= f->events) == 0)
			continue;
		any = true;
		f->fn(f->arg, f->fd, ready);
	}
	return any;
}

static struct loop_timer *
virtual_first(const struct virtual_loop *v)
{
	struct loop_timer *first = NULL;

	for (size_t i = 0; i < v->timer_count; i++) {
		struct loop_timer *t = v->timers[i];

		if (!mono_is_never(t->when) && (first == NULL || mono_before(t->when, first->when) ||
						   (t->when.us == first->when.us && t->order < first->order)))
			first = t;
	}
	return first;
}

static void
virtual_fire(struct virtual_loop *v)
{
	uint64_t last = v->order;
	struct loop_timer *t;

	/* What is armed meanwhile is for the next turn. */
	while (!v->stopped && (t = virtual_first(v)) != NULL && !mono_before(virtual_now, t->when) &&
	       t->order <= last) {
		t->when = MONO_NEVER;
		t->fn(t->arg);
	}
}

static int
virtual_run(struct loop *l)
{
	struct virtual_loop *v = (struct virtual_loop *)l;

	v->stopped = false;
	while (!v->stopped) {
		bool busy = virtual_poll(v);
		struct loop_timer *next;

		virtual_bury(v);
		busy |= loop_deferred(l);
		loop_deferred_run(l);
		virtual_now.us += VIRTUAL_TURN_US;
		next = virtual_first(v);
		if (!busy && !v->stopped && next != NULL && mono_before(virtual_now, next->when))
			virtual_now = next->when;
		virtual_fire(v);
	}
	return 0;
}

static void
virtual_stop(struct loop *l)
{
	((struct virtual_loop *)l)->stopped = true;
}

static void
virtual_free(struct loop *l)
{
	struct virtual_loop *v = (struct virtual_loop *)l;

	virtual_bury(v);
	assert_true(v->fd_count == 0 && v->timer_count == 0);
	free(v);
}

static const struct loop_ops virtual_ops = {
    .fd_add = virtual_fd_add,
    .fd_mod = virtual_fd_mod,
    .fd_del = virtual_fd_del,
    .timer_new = virtual_timer_new,
    .timer_arm = virtual_timer_arm,
    .timer_disarm = virtual_timer_disarm,
    .timer_free = virtual_timer_free,
    .run = virtual_run,
    .stop = virtual_stop,
    .free = virtual_free,
};

static struct loop *
virtual_loop_new(void)
{
	struct virtual_loop *v = calloc(1, sizeof(*v));

	assert_non_null(v);
	v->loop.ops = &virtual_ops;
	v->loop.runs_deferred = true;
	virtual_seed(virtual_given_seed());
	return &v->loop;
}

#define ENV_LOOP_NEW virtual_loop_new
#define NET_SEED virtual_given_seed()
#define ENV_DEADLINE_MS (600 * 1000)

#endif
