/*
 * forwarder: TCP connections passed on to a port of this machine, each of which the test can spoil.
 *
 * Runs on the rig's loop.  A connection can be cut (nothing passes any more in a direction, and nobody is
 * told), held (the same for a while), or reset.  What it has taken from one side and not given to the
 * other is lost with it, as in a network.  Header-only, as transport.h.
 */
#ifndef TESTS_RIG_FORWARDER_H
#define TESTS_RIG_FORWARDER_H

#include "tests/rig/transport.h"

#include <errno.h>
#include <netinet/tcp.h>

enum { FWD_CONNS_MAX = 256, FWD_BUFFER_BYTES = 65536 };

/* Directions, as a mask: UP is from the side that dialled. */
enum { FWD_UP = 1, FWD_DOWN = 2, FWD_BOTH = 3 };

struct fwd_end {
	int fd;        /* -1: closed */
	uint16_t port; /* of the daemon's end of it, or of ours on the listener's side */
	struct loop_fd *watch;
	bool eof;
	uint8_t buf[FWD_BUFFER_BYTES]; /* read from fd, to be written to the other end */
	size_t start, len;
};

struct fwd_conn {
	struct forwarder *f;
	struct fwd_end end[2]; /* the dialler's, the listener's */
	unsigned held;         /* mask of directions in which nothing passes */
	bool spoiled;          /* cut or reset */
};

struct forwarder {
	struct loop *loop;
	int fd;
	uint16_t port, target;
	struct loop_fd *watch;
	struct fwd_conn *conns[FWD_CONNS_MAX]; /* in the order of their arrival */
	size_t count;
	bool refuse;                         /* new ones are reset at once */
	void (*on_conn)(struct fwd_conn *c); /* after each accept; may be NULL */
};

static inline void
fwd_end_close(struct fwd_end *e)
{
	loop_fd_del(e->watch);
	e->watch = NULL;
	if (e->fd != -1)
		close(e->fd);
	e->fd = -1;
}

static inline bool
fwd_alive(const struct fwd_conn *c)
{
	return c->end[0].fd != -1 && !c->spoiled;
}

/* Direction of what is read from end i. */
static inline unsigned
fwd_dir(int i)
{
	return i == 0 ? FWD_UP : FWD_DOWN;
}

static inline void
fwd_watch(struct fwd_conn *c)
{
	for (int i = 0; i < 2; i++) {
		struct fwd_end *e = &c->end[i], *o = &c->end[1 - i];
		unsigned events = 0;

		if (e->fd == -1)
			continue;
		if (e->len == 0 && !e->eof && (c->held & fwd_dir(i)) == 0)
			events |= LOOP_READ;
		if (o->len != 0 && (c->held & fwd_dir(1 - i)) == 0)
			events |= LOOP_WRITE;
		loop_fd_mod(e->watch, events);
	}
}

static inline void
fwd_reset(struct fwd_conn *c)
{
	struct linger now = {.l_onoff = 1};

	c->spoiled = true;
	for (int i = 0; i < 2; i++) {
		if (c->end[i].fd != -1)
			setsockopt(c->end[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		fwd_end_close(&c->end[i]);
	}
}

/* Moves what there is from end i to the other; false: the connection has ended. */
static inline bool
fwd_move(struct fwd_conn *c, int i)
{
	struct fwd_end *from = &c->end[i], *to = &c->end[1 - i];
	ssize_t n;

	if (from->len == 0 && !from->eof) {
		n = recv(from->fd, from->buf, sizeof(from->buf), MSG_DONTWAIT);
		if (n == -1 && errno != EAGAIN)
			return false;
		from->eof = n == 0;
		from->start = 0;
		from->len = n > 0 ? (size_t)n : 0;
	}
	if (from->len != 0) {
		n = send(to->fd, from->buf + from->start, from->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == -1 && errno != EAGAIN)
			return false;
		from->start += n > 0 ? (size_t)n : 0;
		from->len -= n > 0 ? (size_t)n : 0;
	}
	if (from->eof && from->len == 0)
		shutdown(to->fd, SHUT_WR);
	return !(c->end[0].eof && c->end[1].eof);
}

static inline void
fwd_on_event(void *arg, int fd, unsigned events)
{
	struct fwd_conn *c = arg;

	(void)fd;
	(void)events;
	for (int i = 0; i < 2; i++) {
		if ((c->held & fwd_dir(i)) == 0 && !fwd_move(c, i)) {
			fwd_reset(c);
			return;
		}
	}
	fwd_watch(c);
}

/* From now on nothing passes in these directions, for ever. */
static inline void
fwd_cut(struct fwd_conn *c, unsigned directions)
{
	c->held |= directions;
	c->spoiled = true;
	fwd_watch(c);
}

static inline void
fwd_hold(struct fwd_conn *c, unsigned directions)
{
	c->held |= directions;
	fwd_watch(c);
}

static inline void
fwd_release(struct fwd_conn *c)
{
	c->held = 0;
	fwd_watch(c);
}

static inline uint16_t
fwd_port(int fd, int (*name)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in sa;
	socklen_t len = sizeof(sa);

	return name(fd, (struct sockaddr *)&sa, &len) == 0 ? ntohs(sa.sin_port) : 0;
}

static inline void
fwd_accept(void *arg, int listener, unsigned events)
{
	struct forwarder *f = arg;
	struct sockaddr_in sa = {
	    .sin_family = AF_INET, .sin_port = htons(f->target), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct fwd_conn *c = calloc(1, sizeof(*c));

	(void)events;
	RIG_MUST(c != NULL && f->count < FWD_CONNS_MAX);
	f->conns[f->count++] = c;
	c->f = f;
	c->end[0].fd = accept(listener, NULL, NULL);
	c->end[1].fd = socket(AF_INET, SOCK_STREAM, 0);
	RIG_MUST(c->end[0].fd != -1 && c->end[1].fd != -1);
	if (f->refuse || connect(c->end[1].fd, (struct sockaddr *)&sa, sizeof(sa)) == -1) {
		fwd_reset(c);
		return;
	}
	c->end[0].port = fwd_port(c->end[0].fd, getpeername);
	c->end[1].port = fwd_port(c->end[1].fd, getsockname);
	for (int i = 0; i < 2; i++) {
		setsockopt(c->end[i].fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		c->end[i].watch = loop_fd_add(f->loop, c->end[i].fd, 0, fwd_on_event, c);
		RIG_MUST(c->end[i].watch != NULL);
	}
	if (f->on_conn != NULL)
		f->on_conn(c);
	if (c->end[0].fd != -1)
		fwd_watch(c);
}

static inline void
fwd_init(struct forwarder *f, struct loop *loop, uint16_t target)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	memset(f, 0, sizeof(*f));
	f->loop = loop;
	f->target = target;
	f->fd = socket(AF_INET, SOCK_STREAM, 0);
	RIG_MUST(
	    f->fd != -1 && bind(f->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(f->fd, 64) == 0);
	f->port = fwd_port(f->fd, getsockname);
	f->watch = loop_fd_add(loop, f->fd, LOOP_READ, fwd_accept, f);
	RIG_MUST(f->watch != NULL);
}

/* Before the loop goes. */
static inline void
fwd_fini(struct forwarder *f)
{
	for (size_t i = 0; i < f->count; i++) {
		fwd_reset(f->conns[i]);
		free(f->conns[i]);
	}
	loop_fd_del(f->watch);
	close(f->fd);
}

/* The connection with that port at the dialler's end (side 0), or that the listener sees (side 1). */
static inline struct fwd_conn *
fwd_find(const struct forwarder *f, int side, uint16_t port)
{
	for (size_t i = f->count; i-- > 0;)
		if (f->conns[i]->end[side].port == port && f->conns[i]->end[0].fd != -1)
			return f->conns[i];
	return NULL;
}

#endif
