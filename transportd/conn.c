#include "transportd/conn.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "transportd/core/goaway.h"
#include "transportd/core/limits.h"
#include "transportd/stats.h"
#include "transportd/tls.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

enum { OUT_MAX_BYTES = 4096 };

/* --- life --- */

static void
on_reap(void *arg)
{
	struct conn *c = arg;

	LIST_REMOVE(c, entry);
	loop_timer_free(c->drain);
	buf_fini(&c->out);
	mem_free(c);
}

/* Lets go of everything but the memory, which callers up the stack may still look at. */
static void
conn_release(struct conn *c)
{
	c->dead = true;
	c->ws = NULL;
	c->link = NULL;
	c->peer = NULL;
	loop_timer_disarm(c->drain);
	loop_defer_add(c->t->loop, &c->reap);
}

static void
on_drained(void *arg)
{
	struct conn *c = arg;
	struct link *l = c->link;

	/* The peer wanted another connection, which did not come. */
	if (!c->retired && l != NULL) {
		conn_fail(c, GOAWAY_DUPLICATE, "the other connection did not come up");
		return;
	}
	ws_close(c->ws, GOAWAY_CLOSE_BASE + GOAWAY_DUPLICATE, "duplicate", NULL, 0);
	conn_release(c);
}

static struct conn *
conn_new(struct transport *t, bool dialled)
{
	struct conn *c = mem_calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->drain = loop_timer_new(t->loop, on_drained, c);
	if (c->drain == NULL) {
		mem_free(c);
		return NULL;
	}
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
	log_at(code == GOAWAY_DUPLICATE || code == GOAWAY_SHUTDOWN ? LOG_DEBUG : LOG_WARNING, &ctx,
	    "%s %s: %s%s%s%s%s", c->dialled ? "connection to" : "connection from", c->address,
	    by_peer ? "the peer says of this node: " : "", goaway_text(code), detail[0] != '\0' ? " (" : "",
	    detail, detail[0] != '\0' ? ")" : "");
}

/* Tells those who depend on it, and forgets it; the socket is not touched. */
static void
conn_end(struct conn *c, uint16_t code, const char *detail)
{
	struct link *l = c->link;
	struct peer *p = c->peer;
	bool active = l != NULL && l->conn == c;

	c->state = HANDSHAKE_FAILED;
	conn_release(c);
	if (active)
		link_lost(l, detail[0] != '\0' ? detail : goaway_label(code));
	if (p != NULL)
		peer_conn_gone(p, code, detail);
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
	if (c->link == NULL)
		stat_inc(c->dialled ? STAT_DIAL_FAILED : STAT_REFUSED_HELLO);
	ws_close(c->ws, (uint16_t)(GOAWAY_CLOSE_BASE + code), goaway_label(code), last,
	    goaway_frame(c, code, detail, last, sizeof(last)));
	conn_end(c, code, detail);
}

void
conn_kill(struct conn *c, uint16_t code, const char *detail)
{
	if (c->dead)
		return;
	log_end(c, code, false, detail);
	ws_kill(c->ws);
	conn_end(c, code, detail);
}

void
conn_retire(struct conn *c)
{
	uint8_t last[WS_LAST_BYTES];
	size_t len;

	if (c->dead)
		return;
	c->retired = true;
	c->peer = NULL;
	len = goaway_frame(c, GOAWAY_DUPLICATE, "", last, sizeof(last));
	/* The peer has retired it too: all it sent here has been read. */
	if (c->told_away) {
		ws_close(c->ws, GOAWAY_CLOSE_BASE + GOAWAY_DUPLICATE, "duplicate", last, len);
		conn_release(c);
		return;
	}
	loop_timer_arm_ms(c->drain, LINK_DRAIN_MS);
	if (buf_put_bytes(&c->out, last, len) == 0)
		ws_want_write(c->ws);
}

/* --- handshake --- */

static int
put_frame(struct conn *c, uint8_t type, const void *payload, size_t len)
{
	struct frame f = {
	    .type = type,
	    .ttl = 1,
	    .src = c->t->identity.node_id,
	    .payload = payload,
	    .payload_len = (uint32_t)len,
	};
	int err = frame_encode(&f, &c->out);

	if (err == 0)
		ws_want_write(c->ws);
	return err;
}

static int
send_hello(struct conn *c)
{
	const struct identity *id = &c->t->identity;
	struct hello h = {
	    .mesh_id = c->t->set.mesh_id, .node_id = id->node_id, .incarnation = id->incarnation};
	uint8_t payload[HELLO_MAX_BYTES];
	struct buf b;
	int err;

	memcpy(h.public_key, id->public_key, sizeof(h.public_key));
	memcpy(h.name, id->name, sizeof(h.name));
	crypto_random(h.nonce, sizeof(h.nonce));
	buf_init_fixed(&b, payload, sizeof(payload));
	if ((err = hello_encode(&h, &b)) != 0)
		return err;
	crypto_hash(c->own_hash, payload, buf_left(&b));
	return put_frame(c, FRAME_HELLO, payload, buf_left(&b));
}

static void
conn_open(struct conn *c)
{
	c->state = HANDSHAKE_WAIT_HELLO;
	if (tls_exporter(ws_session(c->ws), c->exporter) != 0 || (c->dialled && send_hello(c) != 0))
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
	if ((effects & HANDSHAKE_SEND_AUTH) && put_frame(c, FRAME_AUTH, signature, HELLO_SIG_BYTES) != 0) {
		conn_fail(c, GOAWAY_INTERNAL, "out of memory");
		return;
	}
	if (effects & HANDSHAKE_LINK_UP) {
		ws_proven(c->ws);
		link_attach(c->t, c);
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

static bool
cert_names(const struct conn *c, const struct hello *h)
{
	char mesh[ULID_TEXT_SIZE], node[NODEID_TEXT_SIZE], want[TLS_URI_SIZE], uri[TLS_URI_SIZE];

	ulid_format(mesh, &h->mesh_id);
	nodeid_format(node, h->node_id);
	snprintf(want, sizeof(want), "spiffe://%s/node/%s", mesh, node);
	return tls_peer_uri(ws_session(c->ws), uri) == 0 && strcmp(uri, want) == 0;
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
	return cert_names(c, h) ? GOAWAY_NONE : GOAWAY_BAD_CERT;
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
		c->hello.node_id = code == GOAWAY_BAD_ID ? 0 : h.node_id;
		conn_fail(c, code, "");
		return;
	}
	c->hello = h;
	crypto_hash(c->peer_hash, f->payload, f->payload_len);
	step(c, HANDSHAKE_EV_HELLO_OK, NULL);
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
	if (code == GOAWAY_DUPLICATE && c->state == HANDSHAKE_UP) {
		c->told_away = true;
		if (c->retired)
			on_drained(c);
		else /* the connection that the peer prefers is still on its way up */
			loop_timer_arm_ms(c->drain, LINK_DRAIN_MS);
		return;
	}
	snprintf(detail, sizeof(detail), "the peer says: %s", reason);
	log_end(c, code, true, reason);
	ws_close(c->ws, (uint16_t)(GOAWAY_CLOSE_BASE + code), goaway_label(code), NULL, 0);
	conn_end(c, code, detail);
}

static void
on_heartbeat(struct conn *c, const struct frame *f)
{
	struct beat b;

	if (beat_decode(f->payload, f->payload_len, &b) != 0)
		conn_fail(c, GOAWAY_PROTOCOL, "malformed heartbeat");
	else if (c->link != NULL)
		link_heartbeat(c->link, &b);
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
	default:
		if (c->link != NULL)
			relay_received(c->link, f, raw, size);
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
	conn_open(user);
}

static void
ev_received(void *user, const uint8_t *msg, size_t len)
{
	struct conn *c = user;
	struct buf in;

	if (c->link != NULL)
		link_heard(c->link);
	buf_view(&in, msg, len);
	do {
		const uint8_t *raw = buf_head(&in);
		struct frame f;
		int err = frame_decode(&in, &f);

		if (err != 0) {
			conn_fail(c, err == ERR_VERSION ? GOAWAY_VERSION : GOAWAY_PROTOCOL, err_text(err));
			return;
		}
		on_frame(c, &f, raw, (size_t)(buf_head(&in) - raw));
	} while (!c->dead && buf_left(&in) != 0);
	stat_add(STAT_RX_BYTES, (int64_t)len);
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
	else if (c->link != NULL && c->link->conn == c)
		link_writable(c->link);
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
	}
	conn_end(c, GOAWAY_NONE, why);
}

const struct ws_events conn_events = {
    .admit = ev_admit,
    .accepted = ev_accepted,
    .opened = ev_opened,
    .received = ev_received,
    .violated = ev_violated,
    .writable = ev_writable,
    .expired = ev_expired,
    .closed = ev_closed,
};

/* --- for others --- */

int
conn_dial(struct transport *t, struct peer *p, uint64_t expected, const char *ip, uint16_t port)
{
	struct conn *c = conn_new(t, true);

	if (c == NULL)
		return ERR_NOMEM;
	c->expected = expected;
	c->ws = ws_dial(t->ws, ip, port, c);
	if (c->ws == NULL) {
		conn_release(c);
		return ERR_UNAVAIL;
	}
	c->peer = p;
	snprintf(c->address, sizeof(c->address), "%s", ws_address(c->ws));
	return 0;
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
