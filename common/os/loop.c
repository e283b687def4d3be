/* loop: dispatch to the implementation, and deferred work, which is the same for all of them. */
#include "common/os/loop.h"

#include <stddef.h>

#include "common/os/clock.h"

/* The implementations put the loop first in their handles, so that the ops can be found. */
struct handle {
	struct loop *loop;
};

static const struct loop_ops *
fd_ops(struct loop_fd *f)
{
	return ((struct handle *)(void *)f)->loop->ops;
}

static const struct loop_ops *
timer_ops(struct loop_timer *t)
{
	return ((struct handle *)(void *)t)->loop->ops;
}

struct loop_fd *
loop_fd_add(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *arg)
{
	return l->ops->fd_add(l, fd, events, fn, arg);
}

int
loop_fd_mod(struct loop_fd *f, unsigned events)
{
	return fd_ops(f)->fd_mod(f, events);
}

void
loop_fd_del(struct loop_fd *f)
{
	if (f != NULL)
		fd_ops(f)->fd_del(f);
}

struct loop_timer *
loop_timer_new(struct loop *l, loop_timer_fn *fn, void *arg)
{
	return l->ops->timer_new(l, fn, arg);
}

void
loop_timer_arm(struct loop_timer *t, struct mono when)
{
	if (mono_is_never(when))
		timer_ops(t)->timer_disarm(t);
	else
		timer_ops(t)->timer_arm(t, when);
}

void
loop_timer_arm_ms(struct loop_timer *t, int64_t ms_from_now)
{
	loop_timer_arm(t, mono_add_ms(clock_mono(), ms_from_now));
}

void
loop_timer_disarm(struct loop_timer *t)
{
	timer_ops(t)->timer_disarm(t);
}

void
loop_timer_free(struct loop_timer *t)
{
	if (t != NULL)
		timer_ops(t)->timer_free(t);
}

int
loop_run(struct loop *l)
{
	return l->ops->run(l);
}

void
loop_stop(struct loop *l)
{
	l->ops->stop(l);
}

void
loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	loop_timer_free(l->defer_timer);
	l->defer_timer = NULL;
	l->ops->free(l);
}

static void
defer_unlink(struct loop *l, struct loop_defer *d)
{
	if (d->prev != NULL)
		d->prev->next = d->next;
	else
		l->defer_first = d->next;
	if (d->next != NULL)
		d->next->prev = d->prev;
	else
		l->defer_last = d->prev;
	d->next = d->prev = NULL;
	d->loop = NULL;
}

static void
on_defer_timer(void *arg)
{
	loop_deferred_run(arg);
}

/* Without memory for the timer the work is done by whichever later call gets it: the next
 * loop_defer_add() tries again, and every write or read of a channel makes one. */
static void
defer_wake(struct loop *l)
{
	if (l->runs_deferred)
		return;
	if (l->defer_timer == NULL)
		l->defer_timer = loop_timer_new(l, on_defer_timer, l);
	if (l->defer_timer != NULL)
		loop_timer_arm(l->defer_timer, clock_mono());
}

void
loop_defer_add(struct loop *l, struct loop_defer *d)
{
	if (d->loop != NULL)
		return;
	d->loop = l;
	d->next = NULL;
	d->prev = l->defer_last;
	if (l->defer_last != NULL)
		l->defer_last->next = d;
	else
		l->defer_first = d;
	l->defer_last = d;
	defer_wake(l);
}

void
loop_defer_del(struct loop_defer *d)
{
	if (d->loop != NULL)
		defer_unlink(d->loop, d);
}

bool
loop_deferred(const struct loop *l)
{
	return l->defer_first != NULL;
}

void
loop_deferred_run(struct loop *l)
{
	/* A mark in the list ends this round, so that work that adds itself waits for the next turn. */
	struct loop_defer mark = {0};
	bool wakes = l->runs_deferred;

	if (l->defer_first == NULL)
		return;
	l->runs_deferred = true; /* the mark needs no timer */
	loop_defer_add(l, &mark);
	l->runs_deferred = wakes;
	while (l->defer_first != &mark) {
		struct loop_defer *d = l->defer_first;

		MUST(d != NULL); /* the mark is still in the list */
		defer_unlink(l, d);
		d->fn(d->arg);
	}
	defer_unlink(l, &mark);
}
