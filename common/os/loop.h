/*
 * loop: the event loop as the rest of the suite sees it.
 *
 * Two implementations: libevent (common/os/loop_event.c) for routerd, consensusd, gatewayd and
 * meshctl, and libwebsockets' own poll loop (transportd/ws_loop.c).  So channels, timers and signal
 * handling exist once.  Single-threaded; callbacks never nest; a callback may free its own handle.
 */
#ifndef COMMON_OS_LOOP_H
#define COMMON_OS_LOOP_H

#include <stdbool.h>

#include "common/base/mono.h"
#include "common/base/must.h"

struct loop;
struct loop_fd;    /* one watched descriptor */
struct loop_timer; /* one timer, one-shot, re-armable */

enum loop_events { LOOP_READ = 1, LOOP_WRITE = 2 };

typedef void loop_fd_fn(void *arg, int fd, unsigned events);
typedef void loop_timer_fn(void *arg);

struct loop_ops {
	struct loop_fd *(*fd_add)(struct loop *, int fd, unsigned events, loop_fd_fn *, void *arg);
	int (*fd_mod)(struct loop_fd *, unsigned events);
	void (*fd_del)(struct loop_fd *);
	struct loop_timer *(*timer_new)(struct loop *, loop_timer_fn *, void *arg);
	void (*timer_arm)(struct loop_timer *, struct mono when);
	void (*timer_disarm)(struct loop_timer *);
	void (*timer_free)(struct loop_timer *);
	int (*run)(struct loop *);
	void (*stop)(struct loop *);
	void (*free)(struct loop *);
};

/*
 * Work put off to the end of the turn: channels write once per turn what many callbacks queued.
 * Embedded by its user, all zero before its first use; fn may add it again, for the next turn.
 */
struct loop_defer {
	void (*fn)(void *arg);
	void *arg;
	struct loop_defer *next, *prev; /* NULL: not waiting */
	struct loop *loop;              /* NULL: not waiting */
};

/* Implementations embed this, zeroed, as their first member; and `struct loop *loop` is the first
 * member of their struct loop_fd and struct loop_timer: that is how a call finds the ops. */
struct loop {
	const struct loop_ops *ops;
	/*
	 * true: the implementation calls loop_deferred_run() after the callbacks of each turn, and does
	 * not wait for events while loop_deferred() says that there is work.  false: a timer does it.
	 */
	bool runs_deferred;
	struct loop_defer *defer_first, *defer_last;
	struct loop_timer *defer_timer;
};

/* The libevent loop; NULL when memory is out. */
struct loop *loop_event_new(void) MUST_USE;

/* Watches fd (borrowed: the caller closes it, after loop_fd_del).  Level-triggered.  NULL: no memory. */
struct loop_fd *loop_fd_add(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *arg) MUST_USE;
/* Changes what is waited for; events may be 0 (paused). */
int loop_fd_mod(struct loop_fd *f, unsigned events);
/* NULL is fine. */
void loop_fd_del(struct loop_fd *f);

struct loop_timer *loop_timer_new(struct loop *l, loop_timer_fn *fn, void *arg) MUST_USE;
/* Fires once at when (at once if that is past); arming again moves it; MONO_NEVER disarms. */
void loop_timer_arm(struct loop_timer *t, struct mono when);
void loop_timer_arm_ms(struct loop_timer *t, int64_t ms_from_now);
void loop_timer_disarm(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

/* Calls d->fn(d->arg) at the end of this turn; once, however often it is added. */
void loop_defer_add(struct loop *l, struct loop_defer *d);
/* Takes it back, if it is waiting; must come before the memory of d goes. */
void loop_defer_del(struct loop_defer *d);
/* For implementations: whether something waits, and running what waits (not what it adds). */
bool loop_deferred(const struct loop *l);
void loop_deferred_run(struct loop *l);

/* Runs until loop_stop(); 0, or ERR_IO.  May run again after that. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l);
void loop_free(struct loop *l);

#endif
