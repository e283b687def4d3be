#include "transportd/ws_loop.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"

enum { EVENTS_PER_TURN = 64, TIMERS_MIN = 64, SERVE_MS = 1000 };

struct loop_fd {
	struct loop *loop;
	int fd;
	unsigned events;
	loop_fd_fn *fn;
	void *arg;
	bool dead; /* deleted while its events are being handled */
	struct loop_fd *next_dead;
};

struct loop_timer {
	struct loop *loop;
	struct mono when;
	size_t pos; /* in the heap, from 1; 0: not armed */
	loop_timer_fn *fn;
	void *arg;
};

struct ws_loop {
	struct loop loop;
	struct lws_context *context;
	int epoll_fd, timer_fd;
	bool ready; /* the epoll set has events */
	bool stopped;
	bool serving;         /* libwebsockets is on the stack */
	unsigned served;      /* connections that it has to look after */
	struct mono serve_at; /* it is called in any case */
	bool dispatching;
	struct loop_fd *dead;
	struct loop_timer **heap; /* by time, from 1; has room for all timers that exist */
	size_t heap_count, heap_cap, timer_count;
	struct mono timer_fd_at; /* what timer_fd is set to */
	struct mono running;     /* timers run that were due then; MONO_NEVER: none runs */
};

static struct ws_loop *
self(struct loop *l)
{
	return (struct ws_loop *)l;
}

/* --- descriptors --- */

static uint32_t
epoll_events(unsigned events)
{
	return ((events & LOOP_READ) ? EPOLLIN : 0u) | ((events & LOOP_WRITE) ? EPOLLOUT : 0u);
}

/* A descriptor that nothing is waited for is not in the set: a hang-up would wake it for ever. */
static int
fd_watch(struct loop_fd *f, unsigned events)
{
	struct epoll_event ev = {.events = epoll_events(events), .data.ptr = f};
	int op = f->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

	if (events == f->events)
		return 0;
	if (events == 0)
		op = EPOLL_CTL_DEL;
	if (epoll_ctl(self(f->loop)->epoll_fd, op, f->fd, &ev) == -1)
		return ERR_NOMEM;
	f->events = events;
	return 0;
}

static struct loop_fd *
ws_fd_add(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *arg)
{
	struct loop_fd *f = mem_calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->loop = l;
	f->fd = fd;
	f->fn = fn;
	f->arg = arg;
	if (fd_watch(f, events) != 0) {
		mem_free(f);
		return NULL;
	}
	return f;
}

static int
ws_fd_mod(struct loop_fd *f, unsigned events)
{
	return fd_watch(f, events);
}

static void
ws_fd_del(struct loop_fd *f)
{
	struct ws_loop *w = self(f->loop);

	(void)fd_watch(f, 0);
	if (!w->dispatching) {
		mem_free(f);
		return;
	}
	f->dead = true;
	f->next_dead = w->dead;
	w->dead = f;
}

static void
bury(struct ws_loop *w)
{
	while (w->dead != NULL) {
		struct loop_fd *f = w->dead;

		w->dead = f->next_dead;
		mem_free(f);
	}
}

static void
fd_dispatch(struct loop_fd *f, uint32_t got)
{
	unsigned events = 0;

	if (got & (EPOLLIN | EPOLLHUP | EPOLLERR))
		events |= LOOP_READ;
	if (got & (EPOLLOUT | EPOLLERR))
		events |= LOOP_WRITE;
	events &= f->events;
	/* Only a hang-up, and only writing is waited for: the write will tell. */
	if (events == 0)
		events = f->events;
	if (events != 0)
		f->fn(f->arg, f->fd, events);
}

/* --- timers: a heap, and one descriptor set to its first --- */

static void
heap_place(struct ws_loop *w, struct loop_timer *t, size_t pos)
{
	w->heap[pos] = t;
	t->pos = pos;
}

static void
heap_up(struct ws_loop *w, struct loop_timer *t, size_t pos)
{
	while (pos > 1 && mono_before(t->when, w->heap[pos / 2]->when)) {
		heap_place(w, w->heap[pos / 2], pos);
		pos /= 2;
	}
	heap_place(w, t, pos);
}

static void
heap_down(struct ws_loop *w, struct loop_timer *t, size_t pos)
{
	for (;;) {
		size_t child = pos * 2;

		if (child < w->heap_count && mono_before(w->heap[child + 1]->when, w->heap[child]->when))
			child++;
		if (child > w->heap_count || !mono_before(w->heap[child]->when, t->when))
			break;
		heap_place(w, w->heap[child], pos);
		pos = child;
	}
	heap_place(w, t, pos);
}

static void
heap_remove(struct ws_loop *w, struct loop_timer *t)
{
	size_t pos = t->pos;
	struct loop_timer *last;

	if (pos == 0)
		return;
	t->pos = 0;
	last = w->heap[w->heap_count--];
	if (last == t)
		return;
	if (pos > 1 && mono_before(last->when, w->heap[pos / 2]->when))
		heap_up(w, last, pos);
	else
		heap_down(w, last, pos);
}

/* Room for one more timer, so that arming never needs memory. */
static int
heap_grow(struct ws_loop *w)
{
	struct loop_timer **heap;

	if (w->timer_count + 1 < w->heap_cap)
		return 0;
	heap = mem_reallocarray(w->heap, w->heap_cap * 2, sizeof(struct loop_timer *));
	if (heap == NULL)
		return ERR_NOMEM;
	w->heap = heap;
	w->heap_cap *= 2;
	return 0;
}

static struct loop_timer *
ws_timer_new(struct loop *l, loop_timer_fn *fn, void *arg)
{
	struct loop_timer *t;

	if (heap_grow(self(l)) != 0 || (t = mem_calloc(1, sizeof(*t))) == NULL)
		return NULL;
	t->loop = l;
	t->fn = fn;
	t->arg = arg;
	self(l)->timer_count++;
	return t;
}

static void
ws_timer_disarm(struct loop_timer *t)
{
	heap_remove(self(t->loop), t);
}

static void
timer_fd_set(struct ws_loop *w)
{
	struct mono first = w->heap_count != 0 ? w->heap[1]->when : MONO_NEVER;
	struct itimerspec its = {0};

	if (first.us == w->timer_fd_at.us)
		return;
	w->timer_fd_at = first;
	if (!mono_is_never(first)) {
		/* 0 would disarm it; the past fires at once. */
		int64_t us = first.us > 0 ? first.us : 1;

		its.it_value.tv_sec = (time_t)(us / 1000000);
		its.it_value.tv_nsec = (long)(us % 1000000) * 1000;
	}
	MUST(timerfd_settime(w->timer_fd, TFD_TIMER_ABSTIME, &its, NULL) == 0);
}

static void
ws_timer_arm(struct loop_timer *t, struct mono when)
{
	struct ws_loop *w = self(t->loop);

	heap_remove(w, t);
	if (!mono_is_never(w->running) && !mono_before(w->running, when))
		when = mono_add_us(w->running, 1);
	t->when = when;
	w->heap_count++;
	heap_up(w, t, w->heap_count);
	/* libwebsockets may end connections before it polls, in the same call. */
	if (w->serving)
		timer_fd_set(w);
}

static void
ws_timer_free(struct loop_timer *t)
{
	heap_remove(self(t->loop), t);
	self(t->loop)->timer_count--;
	mem_free(t);
}

/* Timers armed by these callbacks, even for now, wait for the next turn. */
static void
timers_run(struct ws_loop *w)
{
	struct mono now;

	if (w->heap_count == 0)
		return;
	w->running = now = clock_mono();
	while (w->heap_count != 0 && !mono_before(now, w->heap[1]->when)) {
		struct loop_timer *t = w->heap[1];

		heap_remove(w, t);
		t->fn(t->arg);
	}
	w->running = MONO_NEVER;
}

/* The timer descriptor fired: what is due is found in the heap. */
static void
timer_fd_clear(struct ws_loop *w)
{
	uint64_t count;

	if (read(w->timer_fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
		w->timer_fd_at = MONO_NEVER;
}

/* --- running --- */

static void
dispatch(struct ws_loop *w, int wait_ms)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int n = epoll_wait(w->epoll_fd, events, EVENTS_PER_TURN, wait_ms);

	w->ready = false;
	w->dispatching = true;
	for (int i = 0; i < n; i++) {
		struct loop_fd *f = events[i].data.ptr;

		if (f == NULL)
			timer_fd_clear(w);
		else if (!f->dead)
			fd_dispatch(f, events[i].events);
	}
	w->dispatching = false;
	bury(w);
}

/* A turn of libwebsockets: it waits, unless there is other work.  Negative: it has failed. */
static int
serve(struct ws_loop *w, bool wait)
{
	int err;

	w->serving = true;
	err = lws_service(w->context, wait ? 0 : -1);
	w->serving = false;
	return err;
}

static int
turn(struct ws_loop *w)
{
	bool wait = !loop_deferred(&w->loop);
	struct mono now = clock_mono();

	timer_fd_set(w);
	if (!mono_before(now, w->serve_at)) {
		w->serve_at = mono_add_ms(now, SERVE_MS);
		if (serve(w, false) < 0)
			return ERR_IO;
		/* It may have put work off, or armed timers. */
		wait = false;
	}
	if (w->served == 0) {
		dispatch(w, wait ? SERVE_MS : 0);
		return 0;
	}
	if (serve(w, wait) < 0)
		return ERR_IO;
	if (w->ready)
		dispatch(w, 0);
	return 0;
}

static int
ws_run(struct loop *l)
{
	struct ws_loop *w = self(l);
	int err;

	w->stopped = false;
	while (!w->stopped) {
		if ((err = turn(w)) != 0)
			return err;
		timers_run(w);
		loop_deferred_run(l);
	}
	return 0;
}

static void
ws_stop(struct loop *l)
{
	self(l)->stopped = true;
}

static void
ws_free(struct loop *l)
{
	struct ws_loop *w = self(l);

	if (w->context != NULL)
		lws_context_destroy(w->context);
	if (w->timer_fd != -1)
		close(w->timer_fd);
	if (w->epoll_fd != -1)
		close(w->epoll_fd);
	bury(w);
	mem_free(w->heap);
	mem_free(w);
}

static const struct loop_ops ops = {
    .fd_add = ws_fd_add,
    .fd_mod = ws_fd_mod,
    .fd_del = ws_fd_del,
    .timer_new = ws_timer_new,
    .timer_arm = ws_timer_arm,
    .timer_disarm = ws_timer_disarm,
    .timer_free = ws_timer_free,
    .run = ws_run,
    .stop = ws_stop,
    .free = ws_free,
};

/* --- libwebsockets --- */

static int
on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	(void)user;
	(void)in;
	(void)len;
	if (reason == LWS_CALLBACK_RAW_RX_FILE) {
		struct ws_loop *w = lws_context_user(lws_get_context(wsi));

		w->ready = true;
	}
	return 0;
}

static const struct lws_protocols protocols[] = {
    {.name = "loop", .callback = on_lws},
    {.name = NULL},
};

/* libwebsockets' own words are for developers; what an operator should know is logged by us. */
static void
on_log(int level, const char *line)
{
	size_t len = strcspn(line, "\n");

	(void)level;
	log_debug("libwebsockets: %.*s", (int)len, line);
}

static struct lws_context *
context_new(struct ws_loop *w)
{
	struct lws_context_creation_info info = {
	    .port = CONTEXT_PORT_NO_LISTEN,
	    .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
	    .gid = (gid_t)-1,
	    .uid = (uid_t)-1,
	    .user = w,
	    .pt_serv_buf_size = 17000, /* a whole TLS record, so that a message is read in one piece */
	    .max_http_header_data = 16384,
	};

	/* It would dial through a proxy that these name. */
	unsetenv("http_proxy");
	unsetenv("socks_proxy");
	/* Both read files, which the sandbox forbids later. */
	tzset();
	(void)localtime(&(time_t){0});
	lws_set_log_level(LLL_ERR | LLL_WARN, on_log);
	return lws_create_context(&info);
}

/* Lets libwebsockets poll the epoll set; the descriptor belongs to it from now on, hence the copy. */
static int
adopt(struct ws_loop *w)
{
	struct lws_context_creation_info info = {
	    .port = CONTEXT_PORT_NO_LISTEN,
	    .protocols = protocols,
	    .vhost_name = "loop",
	    .options = LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
	};
	lws_sock_file_fd_type fd = {.filefd = dup(w->epoll_fd)};
	struct lws_vhost *vhost = lws_create_vhost(w->context, &info);

	if (vhost == NULL || fd.filefd == -1)
		return ERR_NOMEM;
	if (lws_adopt_descriptor_vhost(vhost, LWS_ADOPT_RAW_FILE_DESC, fd, "loop", NULL) == NULL)
		return ERR_NOMEM;
	return 0;
}

static int
open_fds(struct ws_loop *w)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (w->epoll_fd == -1 || w->timer_fd == -1)
		return ERR_IO;
	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->timer_fd, &ev) == -1 ? ERR_IO : 0;
}

struct loop *
ws_loop_new(void)
{
	struct ws_loop *w = mem_calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->loop.ops = &ops;
	w->epoll_fd = w->timer_fd = -1;
	w->loop.runs_deferred = true;
	w->timer_fd_at = w->running = MONO_NEVER;
	w->heap_cap = TIMERS_MIN;
	w->heap = mem_calloc(w->heap_cap, sizeof(struct loop_timer *));
	if (w->heap == NULL || open_fds(w) != 0 || (w->context = context_new(w)) == NULL || adopt(w) != 0) {
		log_error("event loop: can't be set up (%s)", strerror(errno));
		ws_free(&w->loop);
		return NULL;
	}
	return &w->loop;
}

struct lws_context *
ws_loop_context(struct loop *l)
{
	return self(l)->context;
}

void
ws_loop_serve(struct loop *l, bool more)
{
	struct ws_loop *w = self(l);

	MUST(more || w->served != 0);
	w->served += more ? 1u : -1u;
}
