/*
 * conns: see conns.h.
 *
 * A connection reads into and writes out of scratch memory that all share; only what the socket does not
 * take at once is kept with the connection, so that an idle one costs no buffers.
 */
#include "gatewayd/conns.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "gatewayd/gateway.h"
#include "gatewayd/gateway_metrics.h"
#include "gatewayd/h2.h"
#include "gatewayd/limits.h"
#include "gatewayd/tls.h"

enum { SCRATCH_BYTES = 128 * 1024, PEER_SIZE = 320 };

enum conn_state {
	CONN_HANDSHAKE, /* TLS */
	CONN_OPEN,
	CONN_CLOSING, /* the last bytes are on their way out */
	CONN_LINGER,  /* all is sent; waits for the client to close */
};

struct conn {
	struct conns *all;
	int fd;
	enum conn_state state;
	struct loop_fd *watch;
	unsigned events;
	struct loop_timer *timer;
	struct loop_defer defer;
	struct tls *tls; /* NULL: Unix socket */
	struct h2 *h2;
	struct buf unsent;   /* what the socket did not take */
	bool more_input;     /* TLS holds bytes that were not read for want of time */
	struct mono last_in; /* bytes came; zero: none yet */
	struct mono pinged;  /* a keepalive ping was sent; zero: none is on its way */
	struct principal who;
	char peer[PEER_SIZE];
	LIST_ENTRY(conn) entry;
};

struct conns {
	struct gateway *gw;
	size_t count;
	bool draining;
	LIST_HEAD(, conn) list;
	uint8_t in[SCRATCH_BYTES], out[SCRATCH_BYTES];
};

static void conn_input(struct conn *c);

struct conns *
conns_new(struct gateway *gw)
{
	struct conns *cs = mem_calloc(1, sizeof(*cs));

	if (cs == NULL)
		return NULL;
	cs->gw = gw;
	LIST_INIT(&cs->list);
	return cs;
}

static void
conn_free(struct conn *c)
{
	loop_defer_del(&c->defer);
	LIST_REMOVE(c, entry);
	c->all->count--;
	h2_free(c->h2);
	tls_free(c->tls);
	loop_fd_del(c->watch);
	loop_timer_free(c->timer);
	close(c->fd);
	buf_fini(&c->unsent);
	gateway_drain_check(c->all->gw);
	mem_free(c);
}

void
conns_free(struct conns *cs)
{
	struct conn *c;

	if (cs == NULL)
		return;
	while ((c = LIST_FIRST(&cs->list)) != NULL)
		conn_free(c);
	mem_free(cs);
}

size_t
conns_count(const struct conns *cs)
{
	return cs->count;
}

static void
conn_watch(struct conn *c, unsigned events)
{
	if (c->events == events)
		return;
	c->events = events;
	loop_fd_mod(c->watch, events);
}

/* --- bytes, with and without TLS --- */

static int64_t
conn_read(struct conn *c, uint8_t *out, size_t size)
{
	ssize_t n;

	if (c->tls != NULL)
		return tls_read(c->tls, out, size);
	n = read(c->fd, out, size);
	if (n > 0)
		return n;
	if (n == 0)
		return ERR_CLOSED;
	return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : errno == ECONNRESET ? ERR_CLOSED : ERR_IO;
}

static int64_t
conn_write(struct conn *c, const uint8_t *data, size_t len)
{
	ssize_t n;

	if (c->tls != NULL)
		return tls_write(c->tls, data, len);
	n = write(c->fd, data, len);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : errno == EPIPE ? ERR_CLOSED : ERR_IO;
}

/* --- the end of a connection --- */

static void
conn_refuse(struct conn *c, enum gateway_refusal why, const char *text)
{
	log_at(LOG_INFO, &(struct log_ctx){.peer = c->peer}, "API connection refused: %s", text);
	gateway_metrics_refused(why);
	conn_free(c);
}

/* Everything is sent: closes this direction and waits for the client to do the same, since closing with
 * unread bytes would reset the connection and take our last words with it. */
static void
conn_linger(struct conn *c)
{
	if (c->tls == NULL)
		shutdown(c->fd, SHUT_WR);
	else {
		tls_free(c->tls);
		c->tls = NULL;
		shutdown(c->fd, SHUT_WR);
	}
	c->state = CONN_LINGER;
	conn_watch(c, LOOP_READ);
	loop_timer_arm_ms(c->timer, LINGER_MS);
}

/* --- writing --- */

/* Writes [data, data + len); how much was taken, or ERR_CLOSED, ERR_IO. */
static int64_t
write_all(struct conn *c, const uint8_t *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		int64_t n = conn_write(c, data + done, len - done);

		if (n == ERR_AGAIN)
			break;
		if (n < 0)
			return n;
		done += (size_t)n;
	}
	return (int64_t)done;
}

/* Sends what was left over.  0: all; ERR_AGAIN: the socket is full; or the end. */
static int
unsent_write(struct conn *c)
{
	int64_t n;

	if (buf_left(&c->unsent) == 0)
		return 0;
	n = write_all(c, buf_head(&c->unsent), buf_left(&c->unsent));
	if (n < 0)
		return (int)n;
	MUST(buf_skip(&c->unsent, (size_t)n) == 0);
	if (buf_left(&c->unsent) > 0)
		return ERR_AGAIN;
	buf_fini(&c->unsent);
	buf_init(&c->unsent, SCRATCH_BYTES);
	return 0;
}

/* Pulls and writes until nothing is left (0) or the socket is full (ERR_AGAIN). */
static int
h2_write(struct conn *c)
{
	struct buf out;
	int64_t n;
	int rc;

	for (;;) {
		buf_init_fixed(&out, c->all->out, sizeof(c->all->out));
		if ((rc = h2_pull(c->h2, &out)) != 0)
			return rc;
		if (buf_left(&out) == 0)
			return 0;
		if ((n = write_all(c, buf_head(&out), buf_left(&out))) < 0)
			return (int)n;
		if ((size_t)n == buf_left(&out))
			continue;
		rc = buf_put_bytes(&c->unsent, buf_head(&out) + n, buf_left(&out) - (size_t)n);
		return rc != 0 ? rc : ERR_AGAIN;
	}
}

/* Sends all that can be sent now.  The connection may be gone afterwards. */
static void
conn_flush(struct conn *c)
{
	int rc = unsent_write(c);

	if (rc == 0)
		rc = h2_write(c);
	if (rc != 0 && rc != ERR_AGAIN) {
		conn_free(c);
		return;
	}
	if (rc == 0 && (c->state == CONN_CLOSING || h2_done(c->h2))) {
		conn_linger(c);
		return;
	}
	/* TLS 1.2 and 1.3 without renegotiation never read in order to write. */
	conn_watch(c, (c->state == CONN_OPEN ? LOOP_READ : 0) | (rc == ERR_AGAIN ? LOOP_WRITE : 0));
}

static void
on_defer(void *arg)
{
	struct conn *c = arg;

	if (c->state == CONN_OPEN && c->more_input)
		conn_input(c);
	else if (c->state == CONN_OPEN || c->state == CONN_CLOSING)
		conn_flush(c);
}

static void
on_wake(void *arg)
{
	struct conn *c = arg;

	loop_defer_add(c->all->gw->loop, &c->defer);
}

/* --- reading --- */

static void
protocol_error(struct conn *c, int rc)
{
	log_at(LOG_INFO, &(struct log_ctx){.peer = c->peer}, "API connection ends: %s",
	    rc == ERR_FORMAT ? h2_error(c->h2) : err_text(rc));
	gateway_metrics_refused(REFUSED_PROTOCOL);
	c->state = CONN_CLOSING;
	loop_timer_arm_ms(c->timer, LINGER_MS);
	conn_flush(c);
}

/* Bytes came.  The timer is moved for the first ones and for those after a ping; otherwise it finds out
 * when it fires, which costs less than moving it each time. */
static void
conn_alive(struct conn *c)
{
	bool first = c->last_in.us == 0 || c->pinged.us != 0;

	c->last_in = clock_mono();
	c->pinged = MONO_ZERO;
	if (first)
		loop_timer_arm(c->timer, mono_add_us(c->last_in, c->all->gw->limits.keepalive_us));
}

/* Reads up to its share.  Bytes that TLS holds already make no event: so it looks again next turn. */
static void
conn_input(struct conn *c)
{
	struct conns *cs = c->all;
	size_t total = 0;

	c->more_input = false;
	while (total < CONN_TURN_BYTES) {
		int64_t n = conn_read(c, cs->in, sizeof(cs->in));
		int rc;

		if (n == ERR_AGAIN) {
			conn_flush(c);
			return;
		}
		if (n < 0) {
			conn_free(c);
			return;
		}
		total += (size_t)n;
		conn_alive(c);
		if ((rc = h2_feed(c->h2, cs->in, (size_t)n)) != 0) {
			protocol_error(c, rc);
			return;
		}
		if (c->tls == NULL && (size_t)n < sizeof(cs->in))
			break;
	}
	if (c->tls != NULL) {
		c->more_input = true;
		loop_defer_add(cs->gw->loop, &c->defer);
	}
	conn_flush(c);
}

/* --- the beginning of a connection --- */

/* The socket speaks HTTP/2 from here on. */
static void
conn_open(struct conn *c)
{
	struct h2_owner owner = {
	    .gw = c->all->gw, .who = &c->who, .peer = c->peer, .wake = on_wake, .arg = c};

	c->state = CONN_OPEN;
	log_at(LOG_DEBUG, &(struct log_ctx){.peer = c->peer}, "API connection of %s",
	    c->who.kind == PRINCIPAL_NONE ? "somebody without a certificate" : c->who.name);
	if ((c->h2 = h2_new(&owner)) == NULL) {
		conn_refuse(c, REFUSED_FULL, "out of memory");
		return;
	}
	if (c->all->draining)
		h2_drain(c->h2);
	loop_timer_arm_ms(c->timer, HANDSHAKE_TIMEOUT_MS);
	conn_watch(c, LOOP_READ);
	conn_input(c);
}

static void
conn_handshake(struct conn *c)
{
	char error[TLS_ERROR_SIZE];

	switch (tls_handshake(c->tls, error)) {
	case 0:
		if (tls_peer_name(c->tls, c->who.name) == 0)
			c->who.kind = PRINCIPAL_CERT;
		conn_open(c);
		break;
	case ERR_AGAIN:
		conn_watch(c, tls_wants_write(c->tls) ? LOOP_WRITE : LOOP_READ);
		break;
	case ERR_UNKNOWN:
		conn_refuse(c, REFUSED_TLS, "the client does not offer HTTP/2 (ALPN h2)");
		break;
	case ERR_CLOSED:
		conn_refuse(c, REFUSED_TLS, "the client closed during the TLS handshake");
		break;
	default:
		conn_refuse(c, REFUSED_TLS, error);
	}
}

/* What comes while lingering is thrown away; its end is what is waited for. */
static void
linger_input(struct conn *c)
{
	ssize_t n = read(c->fd, c->all->in, sizeof(c->all->in));

	if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR))
		conn_free(c);
}

static void
on_event(void *arg, int fd, unsigned events)
{
	struct conn *c = arg;

	(void)fd;
	switch (c->state) {
	case CONN_HANDSHAKE:
		conn_handshake(c);
		break;
	case CONN_OPEN:
		if (events & LOOP_READ)
			conn_input(c);
		else
			conn_flush(c);
		break;
	case CONN_CLOSING:
		conn_flush(c);
		break;
	case CONN_LINGER:
		linger_input(c);
		break;
	}
}

/* --- time --- */

/* A client that sends nothing for the keepalive time is pinged; without an answer it is gone. */
static void
keepalive(struct conn *c)
{
	struct mono now = clock_mono();
	struct mono due = mono_add_us(c->last_in, c->all->gw->limits.keepalive_us);

	if (c->pinged.us != 0) {
		conn_refuse(c, REFUSED_SILENT, "no answer to a keepalive ping");
		return;
	}
	if (!mono_before(now, due)) {
		c->pinged = now;
		due = mono_add_ms(now, PING_TIMEOUT_MS);
		h2_ping(c->h2);
	}
	loop_timer_arm(c->timer, due);
	conn_flush(c);
}

static void
on_timer(void *arg)
{
	struct conn *c = arg;

	if (c->state == CONN_OPEN && c->last_in.us != 0)
		keepalive(c);
	else if (c->state == CONN_HANDSHAKE || c->state == CONN_OPEN)
		conn_refuse(c, REFUSED_TIMEOUT, "the handshake took too long");
	else
		conn_free(c);
}

static struct conn *
conn_new(struct conns *cs, int fd, struct tls_server *tls)
{
	struct conn *c = mem_calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->all = cs;
	c->fd = fd;
	c->events = LOOP_READ;
	c->defer.fn = on_defer;
	c->defer.arg = c;
	buf_init(&c->unsent, SCRATCH_BYTES);
	c->watch = loop_fd_add(cs->gw->loop, fd, LOOP_READ, on_event, c);
	c->timer = loop_timer_new(cs->gw->loop, on_timer, c);
	if (tls != NULL)
		c->tls = tls_new(tls, fd);
	if (c->watch != NULL && c->timer != NULL && (tls == NULL || c->tls != NULL))
		return c;
	loop_fd_del(c->watch);
	loop_timer_free(c->timer);
	tls_free(c->tls);
	mem_free(c);
	return NULL;
}

void
conns_add(struct conns *cs, int fd, struct tls_server *tls, const struct principal *who, const char *peer)
{
	bool full = cs->count >= cs->gw->limits.connections_max;
	struct conn *c = full ? NULL : conn_new(cs, fd, tls);

	if (c == NULL) {
		log_at(LOG_WARNING, &(struct log_ctx){.peer = peer}, "API connection refused: %s",
		    full ? "connections-max are open" : "out of memory");
		gateway_metrics_refused(REFUSED_FULL);
		close(fd);
		return;
	}
	c->who = *who;
	snprintf(c->peer, sizeof(c->peer), "%s", peer);
	LIST_INSERT_HEAD(&cs->list, c, entry);
	cs->count++;
	gateway_metrics_accepted();
	if (tls == NULL) {
		conn_open(c);
		return;
	}
	c->state = CONN_HANDSHAKE;
	loop_timer_arm_ms(c->timer, HANDSHAKE_TIMEOUT_MS);
}

void
conns_drain(struct conns *cs)
{
	struct conn *c, *next;

	cs->draining = true;
	for (c = LIST_FIRST(&cs->list); c != NULL; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->state == CONN_HANDSHAKE)
			conn_free(c);
		else if (c->state == CONN_OPEN) {
			h2_drain(c->h2);
			conn_flush(c);
		}
	}
}
