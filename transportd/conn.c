#include "transportd/conn.h"

#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "transportd/conn_auth.h"
#include "transportd/core/goaway.h"
#include "transportd/core/limits.h"
#include "transportd/dial.h"
#include "transportd/lane.h"
#include "transportd/stats.h"
#include "transportd/tls.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

enum { OUT_MAX_BYTES = FRAME_MESSAGE_MAX_BYTES };

/* --- life --- */

static void
on_reap(void *arg)
{
	struct conn *c = arg;

	LIST_REMOVE(c, entry);
	loop_timer_free(c->auth_timer);
	buf_fini(&c->out);
	mem_free(c->way);
	mem_free(c);
}

/* Lets go of everything but the memory, which callers up the stack may still look at. */
static void
conn_release(struct conn *c)
{
	c->dead = true;
	c->ws = NULL;
	c->link = NULL;
	c->lane = NULL;
	c->peer = NULL;
	conn_auth_end(c);
	loop_defer_add(c->t->loop, &c->reap);
}

static struct conn *
conn_new(struct transport *t, bool dialled)
{
	struct conn *c = mem_calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->t = t;
	c->dialled = dialled;
	c->reap.fn = on_reap;
	c->reap.arg = c;
	buf_init(&c->out, OUT_MAX_BYTES);
	LIST_INSERT_HEAD(&t->conns, c, entry);
	return c;
}

/* --- the end --- */

/* by_peer: it is the peer's verdict about this node. */
static void
log_end(const struct conn *c, uint16_t code, bool by_peer, const char *detail)
{
	char id[NODEID_TEXT_SIZE] = "";
	struct log_ctx ctx = {.peer = id};

	if (c->hello.node_id != 0)
		nodeid_format(id, c->hello.node_id);
	log_at(code == GOAWAY_DUPLICATE || code == GOAWAY_SHUTDOWN || code == GOAWAY_IDLE ? LOG_DEBUG
											  : LOG_WARNING,
	    &ctx, "%s %s: %s%s%s%s%s", c->dialled ? "connection to" : "connection from", c->address,
	    by_peer ? "the peer says of this node: " : "", goaway_text(code), detail[0] != '\0' ? " (" : "",
	    detail, detail[0] != '\0' ? ")" : "");
}

/* Tells those who depend on it, and forgets it; the socket is not touched.  replaced: the peer has
 * chosen another connection. */
static void
conn_end(struct conn *c, uint16_t code, bool replaced, const char *detail)
{
	struct link *l = c->link;
	struct lane *n = c->lane;
	struct peer *p = c->peer;
	const struct dial_way *way = c->way;
	bool lane_dial = c->dialled && c->expected != 0 && l == NULL;

	c->state = HANDSHAKE_FAILED;
	conn_release(c);
	if (n != NULL)
		link_lane_lost(l, n, replaced, detail[0] != '\0' ? detail : goaway_label(code));
	/* The peer may have decided before it proved itself here; its certificate has named it. */
	if (p != NULL && code == GOAWAY_DUPLICATE && c->hello.node_id != 0)
		p->node = c->hello.node_id;
	if (p != NULL)
		peer_conn_gone(p, c->lane_id, way, code, detail);
	if (lane_dial)
		link_dial_failed(c->t, c->expected, c->lane_id);
}

static size_t
goaway_frame(const struct conn *c, uint16_t code, const char *detail, uint8_t *mem, size_t size)
{
	uint8_t payload[2 + 1 + 255];
	struct buf body, out;
	struct frame f = {
	    .type = FRAME_GOAWAY,
	    .ttl = 1,
	    .src = c->t->identity.node_id,
	    .payload = payload,
	};

	buf_init_fixed(&body, payload, sizeof(payload));
	buf_init_fixed(&out, mem, size);
	if (goaway_encode(code, detail[0] != '\0' ? detail : goaway_label(code), &body) != 0)
		return 0;
	f.payload_len = (uint32_t)buf_left(&body);
	return frame_encode(&f, &out) == 0 ? buf_left(&out) : 0;
}

void
conn_fail(struct conn *c, uint16_t code, const char *detail)
{
	uint8_t last[WS_LAST_BYTES];

	if (c->dead)
		return;
	log_end(c, code, false, detail);
	stat_ended(code);
	if (c->link == NULL)
		stat_inc(c->dialled ? STAT_DIAL_FAILED : STAT_REFUSED_HELLO);
	ws_close(c->ws, (uint16_t)(GOAWAY_CLOSE_BASE + code), goaway_label(code), last,
	    goaway_frame(c, code, detail, last, sizeof(last)));
	conn_end(c, code, false, detail);
}

void
conn_kill(struct conn *c, uint16_t code, const char *detail)
{
	if (c->dead)
		return;
	log_end(c, code, false, detail);
	stat_ended(code);
	ws_kill(c->ws);
	conn_end(c, code, false, detail);
}

/* --- handshake --- */

int
conn_put(struct conn *c, uint8_t type, const void *payload, size_t len)
{
	struct frame f = {
	    .type = type,
	    .ttl = 1,
	    .src = c->t->identity.node_id,
	    .payload = payload,
	    .payload_len = (uint32_t)len,
	};
	int err = frame_encode(&f, &c->out);

	if (err != 0)
		return err;
	stat_frame(type, frame_size(&f));
	ws_want_write(c->ws);
	return 0;
}

static int
send_hello(struct conn *c)
{
	const struct identity *id = &c->t->identity;
	struct hello h = {.mesh_id = c->t->set.mesh_id,
	    .node_id = id->node_id,
	    .incarnation = id->incarnation,
	    .lane = (uint16_t)c->lane_id,
	    .lanes_max = (uint8_t)c->t->set.lanes_max,
	    .window_bytes = (uint32_t)c->t->set.lane_window,
	    .window_frames = (uint32_t)(c->t->set.lane_window / LANE_WINDOW_FRAME_BYTES)};
	uint8_t payload[HELLO_MAX_BYTES];
	struct buf b;
	int err;

	memcpy(h.public_key, id->public_key, sizeof(h.public_key));
	memcpy(h.name, id->name, sizeof(h.name));
	crypto_random(h.nonce, sizeof(h.nonce));
	ws_endpoints(c->ws, c->local, c->remote);
	memcpy(h.local, c->local, sizeof(h.local));
	memcpy(h.remote, c->remote, sizeof(h.remote));
	c->own_window_bytes = h.window_bytes;
	c->own_window_frames = h.window_frames;
	buf_init_fixed(&b, payload, sizeof(payload));
	if ((err = hello_encode(&h, &b)) != 0)
		return err;
	crypto_hash(c->own_hash, payload, buf_left(&b));
	return conn_put(c, FRAME_HELLO, payload, buf_left(&b));
}

static void
conn_open(struct conn *c)
{
	c->state = HANDSHAKE_WAIT_HELLO;
	/* Where TLS ends at a proxy there is no session in common to take keying material from. */
	if ((!ws_token_hash(c->ws, c->exporter) && tls_exporter(ws_session(c->ws), c->exporter) != 0) ||
	    (c->dialled && send_hello(c) != 0))
		conn_fail(c, GOAWAY_INTERNAL, "hello can't be made");
}

/* What the signer of this role has to sign; own: that is us. */
static void
make_statement(const struct conn *c, bool own, uint8_t out[HELLO_STATEMENT_BYTES])
{
	struct hello_proof p = {.mesh_id = c->t->set.mesh_id};

	p.role = c->dialled == own ? HELLO_DIALLER : HELLO_LISTENER;
	memcpy(p.own_hash, own ? c->own_hash : c->peer_hash, sizeof(p.own_hash));
	memcpy(p.peer_hash, own ? c->peer_hash : c->own_hash, sizeof(p.peer_hash));
	memcpy(p.exporter, c->exporter, sizeof(p.exporter));
	hello_statement(&p, out);
}

static void
ask_signature(struct conn *c)
{
	uint8_t statement[HELLO_STATEMENT_BYTES];

	make_statement(c, true, statement);
	c->sign_id = consensus_sign(c->t, statement, sizeof(statement));
}

static void
step(struct conn *c, enum handshake_event ev, const uint8_t *signature)
{
	unsigned effects = handshake_step(&c->state, ev);

	log_debug(
	    "%s: handshake %s -> %s", c->address, handshake_event_name(ev), handshake_state_name(c->state));
	if (c->state == HANDSHAKE_FAILED) {
		conn_fail(c, GOAWAY_PROTOCOL, handshake_event_name(ev));
		return;
	}
	if ((effects & HANDSHAKE_SEND_HELLO) && !c->dialled && send_hello(c) != 0) {
		conn_fail(c, GOAWAY_INTERNAL, "out of memory");
		return;
	}
	if (effects & HANDSHAKE_ASK)
		ask_signature(c);
	if ((effects & HANDSHAKE_SEND_AUTH) && conn_put(c, FRAME_AUTH, signature, HELLO_SIG_BYTES) != 0) {
		conn_fail(c, GOAWAY_INTERNAL, "out of memory");
		return;
	}
	if (effects & HANDSHAKE_LINK_UP) {
		ws_proven(c->ws);
		link_attach(c->t, c);
		if (!c->dead)
			conn_auth_begin(c);
		mem_free(c->way);
		c->way = NULL;
	}
}

void
conn_signed(struct transport *t, uint32_t sign_id, const uint8_t *signature)
{
	struct conn *c;

	LIST_FOREACH (c, &t->conns, entry) {
		if (c->dead || c->sign_id != sign_id || sign_id == 0)
			continue;
		c->sign_id = 0;
		if (signature == NULL)
			conn_fail(c, GOAWAY_INTERNAL, "consensusd refused to sign");
		else
			step(c, HANDSHAKE_EV_SIGNED, signature);
		return;
	}
}

void
conn_ask_again(struct transport *t)
{
	struct conn *c;

	LIST_FOREACH (c, &t->conns, entry)
		if (!c->dead && (c->state == HANDSHAKE_SIGNING || c->state == HANDSHAKE_SIGNING_PROVEN))
			ask_signature(c);
}

/* GOAWAY_NONE, or why the peer is not let in. */
static uint16_t
check_hello(const struct conn *c, const struct hello *h, uint64_t src)
{
	if (ulid_compare(&h->mesh_id, &c->t->set.mesh_id) != 0)
		return GOAWAY_WRONG_MESH;
	if (src != h->node_id || crypto_node_id(h->public_key) != h->node_id)
		return GOAWAY_BAD_ID;
	if (h->node_id == c->t->identity.node_id)
		return GOAWAY_SELF;
	if (c->expected != 0 && c->expected != h->node_id)
		return GOAWAY_WRONG_NODE;
	if (wish_dropped(c->t, h->node_id))
		return GOAWAY_REMOVED;
	if (c->dialled ? h->lane != c->lane_id : h->lane >= c->t->set.lanes_max || h->lane >= h->lanes_max)
		return GOAWAY_LANE;
	if (transport_denied(c->t, h->node_id) != NULL || conn_auth_revoked(c))
		return GOAWAY_DENIED;
	return conn_auth_names(c, h) ? GOAWAY_NONE : GOAWAY_BAD_CERT;
}

/* Both hellos are known, and with them what only this connection has. */
static void
identify(struct conn *c)
{
	const uint8_t *dialler = c->dialled ? c->own_hash : c->peer_hash;
	const uint8_t *listener = c->dialled ? c->peer_hash : c->own_hash;

	/* Each hello has a nonce: the difference of their hashes is like one. */
	c->number = be_load64(dialler) ^ be_load64(listener + 8);
	c->direct = memcmp(c->local, c->hello.remote, sizeof(c->local)) == 0 &&
		    memcmp(c->remote, c->hello.local, sizeof(c->remote)) == 0;
}

static void
on_hello(struct conn *c, const struct frame *f)
{
	struct hello h;
	uint16_t code;
	int err = hello_decode(f->payload, f->payload_len, &h);

	if (err != 0) {
		conn_fail(c, err == ERR_VERSION ? GOAWAY_VERSION : GOAWAY_PROTOCOL, err_text(err));
		return;
	}
	code = check_hello(c, &h, f->src);
	if (code != GOAWAY_NONE) {
		const char *why = code == GOAWAY_DENIED ? transport_denied(c->t, h.node_id) : NULL;

		c->hello.node_id = code == GOAWAY_BAD_ID ? 0 : h.node_id;
		conn_fail(c, code, why != NULL ? why : "");
		return;
	}
	c->hello = h;
	c->lane_id = h.lane;
	crypto_hash(c->peer_hash, f->payload, f->payload_len);
	step(c, HANDSHAKE_EV_HELLO_OK, NULL);
	if (!c->dead)
		identify(c);
}

static void
on_auth(struct conn *c, const struct frame *f)
{
	uint8_t statement[HELLO_STATEMENT_BYTES];

	make_statement(c, false, statement);
	if (f->payload_len != HELLO_SIG_BYTES || crypto_verify(c->hello.public_key, CRYPTO_CONTEXT_HELLO,
						     statement, sizeof(statement), f->payload) != 0) {
		conn_fail(c, GOAWAY_BAD_PROOF, "");
		return;
	}
	step(c, HANDSHAKE_EV_PROVEN, NULL);
}

/* --- frames --- */

static void
on_goaway(struct conn *c, const struct frame *f)
{
	char reason[GOAWAY_REASON_SIZE], detail[GOAWAY_REASON_SIZE + 64];
	uint16_t code;

	if (goaway_decode(f->payload, f->payload_len, &code, reason) != 0) {
		conn_fail(c, GOAWAY_PROTOCOL, "malformed goaway");
		return;
	}
	snprintf(detail, sizeof(detail), "the peer says: %s", reason);
	log_end(c, code, true, reason);
	ws_close(c->ws, (uint16_t)(GOAWAY_CLOSE_BASE + code), goaway_label(code), NULL, 0);
	conn_end(c, code, code == GOAWAY_DUPLICATE, detail);
}

static void
on_heartbeat(struct conn *c, const struct frame *f)
{
	struct beat b;

	if (beat_decode(f->payload, f->payload_len, &b) != 0)
		conn_fail(c, GOAWAY_PROTOCOL, "malformed heartbeat");
	else
		lane_beat(c->lane, &b);
}

static void
on_window(struct conn *c, const struct frame *f)
{
	struct window w;

	if (window_decode(f->payload, f->payload_len, &w) != 0)
		conn_fail(c, GOAWAY_PROTOCOL, "malformed window");
	else
		(void)lane_window(c->lane, &w);
}

static void
on_probe(struct conn *c, const struct frame *f)
{
	struct probe p;

	if (probe_decode(f->payload, f->payload_len, &p) != 0)
		conn_fail(c, GOAWAY_PROTOCOL, "malformed probe");
	else
		(void)lane_probe(c->lane, &p);
}

static void
on_lane_note(struct conn *c, const struct frame *f)
{
	struct lane_note n;
	int err = lane_note_decode(f->payload, f->payload_len, &n);

	if (err != 0)
		conn_fail(c, err == ERR_RANGE ? GOAWAY_LANE : GOAWAY_PROTOCOL, "malformed lane note");
	else
		link_note(c->link, c, &n);
}

/* Frames that go further are counted, so that both ends know what came when the connection ends. */
static void
on_counted(struct conn *c, struct frame *f, const uint8_t *raw, size_t size)
{
	if (f->lane_id >= c->link->lanes.count) {
		conn_fail(c, GOAWAY_LANE, "frame for a lane that the link does not have");
		return;
	}
	if (c->lane_id == LANE_CONTROL && c->link->lanes.count > 1 && f->class == FRAME_CLASS_CONTROL &&
	    size > LANE_CONTROL_FRAME_BYTES) {
		conn_fail(c, GOAWAY_PROTOCOL, "oversized frame on the control lane");
		return;
	}
	if (lane_counted(c->lane, size))
		relay_received(c->link, f, raw, size);
}

static void
on_frame(struct conn *c, struct frame *f, const uint8_t *raw, size_t size)
{
	if (!handshake_accepts(c->state, f->type)) {
		conn_fail(c, GOAWAY_PROTOCOL, frame_type_name(f->type));
		return;
	}
	if (frame_is_link_local(f->type) && c->state != HANDSHAKE_WAIT_HELLO && f->src != c->hello.node_id) {
		conn_fail(c, GOAWAY_PROTOCOL, "frame in another node's name");
		return;
	}
	switch (f->type) {
	case FRAME_HELLO:
		on_hello(c, f);
		break;
	case FRAME_AUTH:
		on_auth(c, f);
		break;
	case FRAME_HEARTBEAT:
		on_heartbeat(c, f);
		break;
	case FRAME_GOAWAY:
		on_goaway(c, f);
		break;
	case FRAME_WINDOW:
		on_window(c, f);
		break;
	case FRAME_PROBE:
		on_probe(c, f);
		break;
	case FRAME_LANE:
		on_lane_note(c, f);
		break;
	case FRAME_TOKEN:
		conn_auth_token(c, f);
		break;
	default:
		on_counted(c, f, raw, size);
		break;
	}
}

/* --- what ws calls --- */

static const char *
ev_admit(void *ctx)
{
	struct transport *t = ctx;

	if (t->stopping)
		return "this node is going down";
	return t->identity.known ? NULL : "this node does not know its identity yet";
}

static void *
ev_accepted(void *ctx, struct ws_conn *ws)
{
	struct conn *c = conn_new(ctx, false);

	if (c == NULL)
		return NULL;
	c->ws = ws;
	snprintf(c->address, sizeof(c->address), "%s", ws_address(ws));
	conn_open(c);
	return c->dead ? NULL : c;
}

static void
ev_opened(void *user)
{
	struct conn *c = user;

	c->opened = true;
	if (c->peer != NULL)
		peer_conn_opened(c->peer, c->way);
	conn_open(c);
}

static void
ev_received(void *user, const uint8_t *msg, size_t len)
{
	struct conn *c = user;
	struct buf in;
	struct frame f; /* not in the loop: the compiler clears it where it begins */

	buf_view(&in, msg, len);
	do {
		const uint8_t *raw = buf_head(&in);
		int err = frame_decode(&in, &f);

		if (err != 0) {
			conn_fail(c, err == ERR_VERSION ? GOAWAY_VERSION : GOAWAY_PROTOCOL, err_text(err));
			return;
		}
		on_frame(c, &f, raw, (size_t)(buf_head(&in) - raw));
	} while (!c->dead && buf_left(&in) != 0);
	stat_add(STAT_RX_BYTES, (int64_t)len);
	if (c->lane != NULL) {
		pace_received(&c->lane->pace, len, c->t->turn);
		lane_handled(c->lane);
	}
}

static void
ev_heard(void *user)
{
	struct conn *c = user;

	if (c->lane != NULL)
		lane_heard(c->lane);
}

static void
ev_violated(void *user, const char *what)
{
	conn_fail(user, GOAWAY_PROTOCOL, what);
}

static void
ev_writable(void *user)
{
	struct conn *c = user;
	size_t len = buf_left(&c->out);

	if (len != 0 && ws_can_send(c->ws)) {
		memcpy(ws_tx(c->t->ws), buf_head(&c->out), len);
		buf_reset(&c->out);
		if (ws_send(c->ws, len) != 0)
			return; /* ev_closed() follows */
	}
	if (buf_left(&c->out) != 0)
		ws_want_write(c->ws);
	else if (c->lane != NULL)
		lane_writable(c->lane);
}

static void
ev_expired(void *user)
{
	struct conn *c = user;

	conn_fail(c, GOAWAY_TIMEOUT, handshake_state_name(c->state));
}

static void
ev_closed(void *user, const char *why)
{
	struct conn *c = user;

	if (c->dead)
		return;
	if (c->link == NULL) {
		stat_inc(c->dialled ? STAT_DIAL_FAILED : STAT_REFUSED_HELLO);
		if (!c->dialled)
			log_info("connection from %s ended during the handshake: %s", c->address, why);
		else
			log_debug("connection to %s ended: %s", c->address, why);
	}
	conn_end(c, GOAWAY_NONE, false, why);
}

const struct ws_events conn_events = {
    .admit = ev_admit,
    .accepted = ev_accepted,
    .opened = ev_opened,
    .heard = ev_heard,
    .received = ev_received,
    .violated = ev_violated,
    .writable = ev_writable,
    .expired = ev_expired,
    .closed = ev_closed,
};

/* --- for others --- */

int
conn_dial(struct transport *t, struct peer *p, uint64_t expected, unsigned lane, const struct dial_way *way)
{
	struct conn *c = conn_new(t, true);

	if (c == NULL)
		return ERR_NOMEM;
	c->expected = expected;
	c->lane_id = lane;
	c->way = mem_dup(way, sizeof(*way));
	if (c->way == NULL) {
		conn_release(c);
		return ERR_NOMEM;
	}
	c->ws = ws_dial(t->ws, way, c);
	if (c->ws == NULL) {
		conn_release(c);
		return ERR_UNAVAIL;
	}
	c->peer = p;
	snprintf(c->address, sizeof(c->address), "%s", ws_address(c->ws));
	return 0;
}

void
conn_drop_dials(struct transport *t, const struct peer *p)
{
	struct conn *c;

	LIST_FOREACH (c, &t->conns, entry) {
		if (c->dead || c->peer != p || c->opened || c->way->extra)
			continue;
		ws_kill(c->ws);
		conn_release(c);
	}
}

void
conn_forget_peer(struct transport *t, const struct peer *p)
{
	struct conn *c;

	LIST_FOREACH (c, &t->conns, entry)
		if (c->peer == p)
			c->peer = NULL;
}

void
conn_given_up(struct transport *t, uint64_t node, uint64_t number)
{
	struct conn *c;

	LIST_FOREACH (c, &t->conns, entry)
		if (!c->dead && c->link == NULL && c->hello.node_id == node && c->number == number)
			conn_kill(c, GOAWAY_DEAD, "the peer has given it up");
}

void
conn_fail_all(struct transport *t, uint16_t code)
{
	struct conn *c;

	LIST_FOREACH (c, &t->conns, entry)
		conn_fail(c, code, "");
}

void
conn_free_all(struct transport *t)
{
	while (!LIST_EMPTY(&t->conns)) {
		struct conn *c = LIST_FIRST(&t->conns);

		if (c->ws != NULL)
			ws_kill(c->ws);
		loop_defer_del(&c->reap);
		on_reap(c);
	}
}
