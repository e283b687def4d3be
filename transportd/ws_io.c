/*
 * ws_io: frames of an upgraded connection, read and written here.
 *
 * libwebsockets masks and parses byte by byte: 4.5 s of CPU per GB on a client that reads, ten times
 * what TLS costs.  So it makes the connection (TLS, HTTP, upgrade), and afterwards only holds the
 * socket: its reading is off, and this file works on the TLS session.  No byte of ours can be in its
 * buffers, because after the upgrade the dialler speaks first (mesh-wire(7)).
 */
#include "transportd/ws_impl.h" /* libwebsockets brings OpenSSL, which comes before err.h */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "transportd/stats.h"
#include "transportd/tls.h"

enum {
	CLOSE_GRACE_MS = 1000, /* for the farewell to leave and the peer to close */
	CLOSE_PROTOCOL = 1002, /* RFC 6455 section 7.4.1 */
	CLOSE_BAD_DATA = 1003,
	CLOSE_TOO_BIG = 1009,
};

static void flush(struct ws_conn *c);

/* --- bytes: of the TLS session, or of the socket where a proxy has ended TLS --- */

/* What read() and write() returned, as tls_read() and tls_write() would. */
static int
plain_result(ssize_t n)
{
	if (n > 0)
		return (int)n;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : ERR_CLOSED;
}

static int
read_bytes(struct ws_conn *c, void *out, size_t size)
{
	int n;

	if (!c->plain)
		return tls_read(ws_session(c), out, size);
	n = plain_result(read(lws_get_socket_fd(c->wsi), out, size));
	if (n > 0)
		c->plain_received += (uint64_t)n;
	return n;
}

/* A socket, unlike a session, may take some of them only. */
static int
write_bytes(struct ws_conn *c, const void *data, size_t len)
{
	if (!c->plain)
		return tls_write(ws_session(c), data, len);
	return plain_result(write(lws_get_socket_fd(c->wsi), data, len));
}

uint64_t
ws_received_bytes(const struct ws_conn *c)
{
	if (c->plain || c->wsi == NULL)
		return c->plain_received;
	return tls_received(lws_get_ssl(c->wsi));
}

/* --- waiting --- */

static void
watch(struct ws_conn *c)
{
	unsigned events = LOOP_READ | (c->blocked ? LOOP_WRITE : 0u);

	if (c->watch != NULL && loop_fd_mod(c->watch, events) != 0)
		ws_doom(c);
}

/* --- writing --- */

static const uint8_t *
next_mask(struct ws_conn *c, uint8_t mask[4])
{
	struct ws *w = c->ws;

	/* RFC 6455 section 5.3: a client masks, with keys that can't be foretold. */
	if (!c->dialled)
		return NULL;
	if (w->masks_used == sizeof(w->masks)) {
		crypto_random(w->masks, sizeof(w->masks));
		w->masks_used = 0;
	}
	memcpy(mask, w->masks + w->masks_used, 4);
	w->masks_used += 4;
	return mask;
}

/* Takes the bytes that wait into our own memory. */
static int
own(struct ws_conn *c)
{
	if (c->tx_len == 0 || c->tx_own)
		return 0;
	if (c->tx == NULL && (c->tx = mem_calloc(1, WS_FRAME_MAX_BYTES)) == NULL)
		return ERR_NOMEM;
	memcpy(c->tx, c->tx_from, c->tx_len);
	c->tx_from = c->tx;
	c->tx_own = true;
	return 0;
}

/* Gives bytes to the session, or holds them until the socket takes them: where they are if they are kept
 * there, else as a copy.  ERR_CLOSED, ERR_NOMEM. */
static int
put(struct ws_conn *c, const uint8_t *data, size_t len, bool kept)
{
	int n = write_bytes(c, data, len);

	if (n < 0)
		return n;
	if ((size_t)n == len)
		return 0;
	MUST(len <= WS_FRAME_MAX_BYTES);
	c->tx_own = false;
	c->tx_from = data + n;
	c->tx_len = len - (size_t)n;
	c->blocked = true;
	watch(c);
	return kept ? 0 : own(c);
}

int
ws_send(struct ws_conn *c, size_t len)
{
	uint8_t *payload = ws_tx(c->ws), mask[4];
	size_t header;
	int err;

	MUST(len <= WS_MESSAGE_MAX_BYTES && !c->blocked);
	if (c->wsi == NULL || c->closing)
		return ERR_CLOSED;
	header = wsframe_put_header(payload, len, WSFRAME_BINARY, next_mask(c, mask));
	if ((err = put(c, payload - header, header + len, false)) != 0) {
		ws_doom(c);
		return err;
	}
	stat_inc(STAT_TX_MESSAGES);
	return 0;
}

bool
ws_send_kept(struct ws_conn *c, uint8_t *payload, size_t len, uint8_t mask[4])
{
	const uint8_t *with;
	size_t header;

	MUST(len <= WS_MESSAGE_MAX_BYTES && !c->blocked);
	if (c->wsi == NULL || c->closing)
		return false;
	with = next_mask(c, mask);
	header = wsframe_put_header(payload, len, WSFRAME_BINARY, with);
	if (put(c, payload - header, header + len, true) != 0)
		ws_doom(c);
	stat_inc(STAT_TX_MESSAGES);
	return with != NULL;
}

uint8_t *
ws_tx(struct ws *w)
{
	return w->tx + WSFRAME_HEADROOM;
}

bool
ws_can_send(struct ws_conn *c)
{
	return c->wsi != NULL && c->open && !c->closing && !c->blocked;
}

void
ws_want_write(struct ws_conn *c)
{
	if (c->wsi != NULL && c->open && !c->blocked)
		loop_defer_add(c->ws->loop, &c->write);
}

static void
on_write_due(void *arg)
{
	struct ws_conn *c = arg;

	if (c->closing)
		flush(c);
	else if (!c->blocked && c->user != NULL)
		c->ws->events->writable(c->user);
}

/* A control frame of the protocol's own; lost if the socket is full, which RFC 6455 allows for pongs.  Its
 * bytes. */
static size_t
send_control(struct ws_conn *c, enum wsframe_opcode opcode, const uint8_t *payload, size_t len)
{
	uint8_t frame[WSFRAME_HEADROOM + WSFRAME_CONTROL_MAX], mask[4];
	size_t header;

	if (c->wsi == NULL || c->blocked || c->closing || len > WSFRAME_CONTROL_MAX)
		return 0;
	if (len != 0)
		memcpy(frame + WSFRAME_HEADROOM, payload, len);
	header = wsframe_put_header(frame + WSFRAME_HEADROOM, len, opcode, next_mask(c, mask));
	if (put(c, frame + WSFRAME_HEADROOM - header, header + len, false) != 0)
		ws_doom(c);
	return header + len;
}

size_t
ws_send_sign(struct ws_conn *c)
{
	return send_control(c, WSFRAME_PONG, NULL, 0);
}

/* --- farewell --- */

static void
add_farewell(struct ws_conn *c, enum wsframe_opcode opcode, const uint8_t *payload, size_t len)
{
	uint8_t *at = c->farewell + c->farewell_len, mask[4];
	size_t header;

	memmove(at + WSFRAME_HEADROOM, payload, len);
	header = wsframe_put_header(at + WSFRAME_HEADROOM, len, opcode, next_mask(c, mask));
	memmove(at, at + WSFRAME_HEADROOM - header, header + len);
	c->farewell_len += header + len;
}

/* Writes what waits: a frame that was begun, then the farewell. */
static void
flush(struct ws_conn *c)
{
	if (c->tx_len != 0) {
		int n = write_bytes(c, c->tx_from, c->tx_len);

		if (n < 0)
			ws_doom(c);
		if (n <= 0)
			return;
		c->tx_from += n;
		c->tx_len -= (size_t)n;
		if (c->tx_len != 0)
			return;
		c->blocked = false;
		watch(c);
	}
	if (c->farewell_len == 0)
		return;
	if (put(c, c->farewell, c->farewell_len, false) != 0)
		ws_doom(c);
	c->farewell_len = 0;
	c->close_sent = true;
}

void
ws_close(struct ws_conn *c, uint16_t code, const char *reason, const uint8_t *last, size_t last_len)
{
	uint8_t body[WSFRAME_CONTROL_MAX];
	size_t len = strlen(reason);

	c->user = NULL;
	/* Who keeps the frame that waits lets go, too. */
	if (!c->open || c->wsi == NULL || own(c) != 0) {
		ws_kill(c);
		return;
	}
	MUST(last_len <= WS_LAST_BYTES);
	if (len > sizeof(body) - 2)
		len = sizeof(body) - 2;
	be_store16(body, code);
	memcpy(body + 2, reason, len);
	if (last_len != 0)
		add_farewell(c, WSFRAME_BINARY, last, last_len);
	add_farewell(c, WSFRAME_CLOSE, body, len + 2);
	c->closing = true;
	watch(c);
	loop_timer_arm_ms(c->deadline, CLOSE_GRACE_MS);
	/* Not now: this may be a handler of the very session. */
	loop_defer_add(c->ws->loop, &c->write);
}

/* --- reading --- */

static void
violation(struct ws_conn *c, uint16_t code, const char *what)
{
	if (c->closing)
		return;
	if (c->user != NULL)
		c->ws->events->violated(c->user, what);
	/* The user lets go with a close of its own; if it did not, this is the end all the same. */
	if (!c->closing)
		ws_close(c, code, what, NULL, 0);
}

static void
deliver(struct ws_conn *c, const uint8_t *msg, size_t len)
{
	if (c->user == NULL || c->closing)
		return;
	stat_inc(STAT_RX_MESSAGES);
	c->ws->events->received(c->user, msg, len);
}

/* A piece of a message; mesh.v1 does not need them, RFC 6455 has them. */
static void
on_piece(struct ws_conn *c, const struct wsframe *f, const uint8_t *payload)
{
	size_t len;

	if ((f->opcode == WSFRAME_CONTINUATION) != (c->rx != NULL)) {
		violation(c, CLOSE_PROTOCOL, "fragments out of order");
		return;
	}
	if (c->rx == NULL && (c->rx = mem_calloc(1, WS_MESSAGE_MAX_BYTES)) == NULL) {
		violation(c, CLOSE_TOO_BIG, "out of memory");
		return;
	}
	if (f->payload_len > WS_MESSAGE_MAX_BYTES - c->rx_len) {
		violation(c, CLOSE_TOO_BIG, "message too large");
		return;
	}
	memcpy(c->rx + c->rx_len, payload, f->payload_len);
	c->rx_len += f->payload_len;
	if (!f->fin)
		return;
	len = c->rx_len;
	c->rx_len = 0;
	deliver(c, c->rx, len);
	mem_free(c->rx);
	c->rx = NULL;
}

static void
on_close_frame(struct ws_conn *c, const uint8_t *payload, size_t len)
{
	if (c->why[0] == '\0' && len >= 2)
		snprintf(c->why, sizeof(c->why), "the peer closed with code %u", be_load16(payload));
	(void)send_control(c, WSFRAME_CLOSE, payload, len < 2 ? 0 : 2);
	ws_doom(c);
}

static void
on_ws_frame(struct ws_conn *c, const struct wsframe *f, uint8_t *payload)
{
	if (f->masked)
		wsframe_mask(payload, f->payload_len, f->mask);
	switch (f->opcode) {
	case WSFRAME_BINARY:
		if (f->fin && c->rx == NULL)
			deliver(c, payload, f->payload_len);
		else
			on_piece(c, f, payload);
		break;
	case WSFRAME_CONTINUATION:
		on_piece(c, f, payload);
		break;
	case WSFRAME_PING:
		(void)send_control(c, WSFRAME_PONG, payload, f->payload_len);
		break;
	case WSFRAME_CLOSE:
		on_close_frame(c, payload, f->payload_len);
		break;
	case WSFRAME_PONG:
		break;
	default:
		violation(c, CLOSE_BAD_DATA, "text message");
		break;
	}
}

/* Handles the whole frames at p; the bytes used. */
static size_t
parse(struct ws_conn *c, uint8_t *p, size_t n)
{
	size_t used = 0;

	while (used < n) {
		struct wsframe f;
		int err = wsframe_decode(p + used, n - used, !c->dialled, WS_MESSAGE_MAX_BYTES, &f);

		if (err == ERR_SHORT || (err == 0 && f.payload_len > n - used - f.header_len))
			break;
		if (err != 0) {
			violation(c, err == ERR_LIMIT ? CLOSE_TOO_BIG : CLOSE_PROTOCOL,
			    err == ERR_LIMIT ? "message too large" : "malformed WebSocket frame");
			return n;
		}
		on_ws_frame(c, &f, p + used + f.header_len);
		used += f.header_len + f.payload_len;
	}
	return used;
}

/* Puts the rest away until more comes.  ERR_NOMEM. */
static int
put_away(struct ws_conn *c, const uint8_t *p, size_t n)
{
	c->in_len = n;
	if (n == 0)
		return 0;
	MUST(n <= WS_FRAME_MAX_BYTES); /* less than a frame */
	if (c->in == NULL && (c->in = mem_calloc(1, WS_FRAME_MAX_BYTES)) == NULL)
		return ERR_NOMEM;
	memcpy(c->in, p, n);
	return 0;
}

/* One turn of reading: true if there is more that the socket will not announce. */
static bool
read_some(struct ws_conn *c)
{
	uint8_t *buf = c->ws->rx;
	size_t len = c->in_len, used;
	int n;

	if (len != 0)
		memcpy(buf, c->in, len);
	n = read_bytes(c, buf + len, WS_READ_BYTES);
	if (n < 0) {
		ws_doom(c);
		return false;
	}
	len += (size_t)n;
	used = parse(c, buf, len);
	if (put_away(c, buf + used, len - used) != 0) {
		ws_doom(c);
		return false;
	}
	/* Nothing came: the rest of a record that is there in part the socket will announce. */
	return n > 0 && !c->plain && tls_pending(ws_session(c));
}

static void
on_read_due(void *arg)
{
	struct ws_conn *c = arg;
	bool more = true;

	for (int i = 0; i < WS_READS_PER_TURN && more; i++)
		more = c->wsi != NULL && read_some(c);
	/* What the session holds already, the socket does not announce again. */
	if (more && c->wsi != NULL)
		loop_defer_add(c->ws->loop, &c->read);
}

static void
on_watch(void *arg, int fd, unsigned events)
{
	struct ws_conn *c = arg;

	(void)fd;
	if ((events & LOOP_WRITE) && c->blocked) {
		flush(c);
		if (!c->blocked && !c->closing)
			loop_defer_add(c->ws->loop, &c->write);
	}
	if ((events & LOOP_READ) == 0)
		return;
	/* A record of 16 KiB takes seconds on a slow line: what has come of it counts, whole or not. */
	if (c->user != NULL && !c->closing)
		c->ws->events->heard(c->user);
	on_read_due(c);
}

/* --- begin and end --- */

int
ws_io_begin(struct ws_conn *c)
{
	c->write.fn = on_write_due;
	c->read.fn = on_read_due;
	c->write.arg = c->read.arg = c;
	c->watch = loop_fd_add(c->ws->loop, lws_get_socket_fd(c->wsi), LOOP_READ, on_watch, c);
	if (c->watch == NULL)
		return ERR_NOMEM;
	/* From here on libwebsockets looks at this socket for hang-ups only. */
	(void)lws_rx_flow_control(c->wsi, 0);
	if (!c->plain)
		tls_take_over(ws_session(c));
	c->open = true;
	ws_serve(c, false);
	return 0;
}

void
ws_io_end(struct ws_conn *c)
{
	loop_defer_del(&c->write);
	loop_defer_del(&c->read);
	loop_fd_del(c->watch);
	c->watch = NULL;
	mem_free(c->in);
	mem_free(c->rx);
	mem_free(c->tx);
}
