/* loop_event: the loop of loop.h on libevent (the only file that includes it). */
#include "common/os/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"

#define TIMER_FAR_US (86400LL * 1000000) /* where disarmed timers lie; later ones go there in steps */

struct loop_event {
	struct loop loop;
	struct event_base *base;
	bool stopped;
};

struct loop_fd {
	struct loop *loop;
	struct event ev;
	int fd;
	unsigned events;
	loop_fd_fn *fn;
	void *arg;
};

struct loop_timer {
	struct loop *loop;
	struct event ev;
	struct mono when;
	loop_timer_fn *fn;
	void *arg;
};

static struct loop_event *
self(struct loop *l)
{
	return (struct loop_event *)l;
}

static void
on_fd(evutil_socket_t fd, short what, void *arg)
{
	struct loop_fd *f = arg;

	f->fn(f->arg, (int)fd, ((what & EV_READ) ? LOOP_READ : 0u) | ((what & EV_WRITE) ? LOOP_WRITE : 0u));
}

/* Adds the event for f->events; nothing is waited for when they are 0. */
static int
fd_watch(struct loop_fd *f)
{
	short what = EV_PERSIST;

	if (f->events == 0)
		return 0;
	what |= (f->events & LOOP_READ) ? EV_READ : 0;
	what |= (f->events & LOOP_WRITE) ? EV_WRITE : 0;
	if (event_assign(&f->ev, self(f->loop)->base, f->fd, what, on_fd, f) == -1 ||
	    event_add(&f->ev, NULL) == -1)
		return ERR_NOMEM;
	return 0;
}

static struct loop_fd *
event_fd_add(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *arg)
{
	struct loop_fd *f = mem_calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->loop = l;
	f->fd = fd;
	f->events = events;
	f->fn = fn;
	f->arg = arg;
	if (fd_watch(f) != 0) {
		mem_free(f);
		return NULL;
	}
	return f;
}

static int
event_fd_mod(struct loop_fd *f, unsigned events)
{
	if (events == f->events)
		return 0;
	if (f->events != 0)
		event_del(&f->ev);
	f->events = events;
	return fd_watch(f);
}

static void
event_fd_del(struct loop_fd *f)
{
	if (f->events != 0)
		event_del(&f->ev);
	mem_free(f);
}

static void
event_timer_arm(struct loop_timer *t, struct mono when)
{
	int64_t us = mono_is_never(when) ? TIMER_FAR_US : mono_diff_us(when, clock_mono());
	struct timeval tv;

	if (us < 0)
		us = 0;
	if (us > TIMER_FAR_US)
		us = TIMER_FAR_US;
	t->when = when;
	tv.tv_sec = (time_t)(us / 1000000);
	tv.tv_usec = (suseconds_t)(us % 1000000);
	/* Fails only when libevent's heap can't grow, and it has had room since the timer was made. */
	MUST(event_add(&t->ev, &tv) == 0);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	/* Far away was a placeholder; and libevent rounds to its own clock: never earlier than asked for, or
	 * cores would spin. */
	if (mono_before(clock_mono(), t->when)) {
		event_timer_arm(t, t->when);
		return;
	}
	t->fn(t->arg);
}

static struct loop_timer *
event_timer_new(struct loop *l, loop_timer_fn *fn, void *arg)
{
	struct timeval far = {.tv_sec = TIMER_FAR_US / 1000000};
	struct loop_timer *t = mem_calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->loop = l;
	t->fn = fn;
	t->arg = arg;
	t->when = MONO_NEVER;
	/* A disarmed timer stays in libevent's heap, far away: arming it then can't run out of memory. */
	if (event_assign(&t->ev, self(l)->base, -1, 0, on_timer, t) == -1 || event_add(&t->ev, &far) == -1) {
		mem_free(t);
		return NULL;
	}
	return t;
}

static void
event_timer_disarm(struct loop_timer *t)
{
	event_timer_arm(t, MONO_NEVER);
}

static void
event_timer_free(struct loop_timer *t)
{
	event_del(&t->ev);
	mem_free(t);
}

static int
event_run(struct loop *l)
{
	struct loop_event *e = self(l);

	e->stopped = false;
	while (!e->stopped) {
		int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;

		if (loop_deferred(l))
			flags |= EVLOOP_NONBLOCK;
		if (event_base_loop(e->base, flags) == -1)
			return ERR_IO;
		loop_deferred_run(l);
	}
	return 0;
}

static void
event_stop(struct loop *l)
{
	self(l)->stopped = true;
	event_base_loopbreak(self(l)->base);
}

static void
event_free_loop(struct loop *l)
{
	event_base_free(self(l)->base);
	mem_free(l);
}

static const struct loop_ops event_ops = {
    .fd_add = event_fd_add,
    .fd_mod = event_fd_mod,
    .fd_del = event_fd_del,
    .timer_new = event_timer_new,
    .timer_arm = event_timer_arm,
    .timer_disarm = event_timer_disarm,
    .timer_free = event_timer_free,
    .run = event_run,
    .stop = event_stop,
    .free = event_free_loop,
};

static struct event_base *
base_new(void)
{
	struct event_config *c = event_config_new();
	struct event_base *base = NULL;

	if (c == NULL)
		return NULL;
	/* Without these, timers are as coarse as the kernel's tick (4 ms) and as old as the turn. */
	if (event_config_set_flag(c, EVENT_BASE_FLAG_PRECISE_TIMER) == 0 &&
	    event_config_set_flag(c, EVENT_BASE_FLAG_NO_CACHE_TIME) == 0 &&
	    event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK) == 0 &&
	    event_config_set_flag(c, EVENT_BASE_FLAG_IGNORE_ENV) == 0)
		base = event_base_new_with_config(c);
	event_config_free(c);
	return base;
}

struct loop *
loop_event_new(void)
{
	struct loop_event *e = mem_calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->base = base_new();
	if (e->base == NULL) {
		mem_free(e);
		return NULL;
	}
	e->loop.ops = &event_ops;
	e->loop.runs_deferred = true;
	return &e->loop;
}
