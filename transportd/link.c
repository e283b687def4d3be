#include "transportd/link.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/backpressure.h"
#include "transportd/core/goaway.h"
#include "transportd/core/limits.h"
#include "transportd/stats.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

enum { BEAT_FRAME_BYTES = FRAME_HDR_BYTES + HEARTBEAT_PAYLOAD_BYTES };

/* --- the table --- */

void
links_init(struct links *l)
{
	for (unsigned i = 0; i < LINK_BUCKETS; i++)
		LIST_INIT(&l->buckets[i]);
	TAILQ_INIT(&l->all);
	l->count = 0;
}

static unsigned
bucket(uint64_t node)
{
	return (unsigned)((node * 0x9e3779b97f4a7c15ULL) >> 56) % LINK_BUCKETS;
}

struct link *
links_get(const struct links *l, uint64_t node)
{
	struct link *k;

	LIST_FOREACH (k, &l->buckets[bucket(node)], entry)
		if (k->node == node)
			return k;
	return NULL;
}

static struct log_ctx
log_of(const struct link *l, char id[NODEID_TEXT_SIZE])
{
	nodeid_format(id, l->node);
	return (struct log_ctx){.peer = id};
}

/* --- heartbeats --- */

static void
arm(struct link *l)
{
	loop_timer_arm(l->timer, heartbeat_next(&l->hb));
}

static void
on_timer(void *arg)
{
	struct link *l = arg;
	struct mono now = clock_mono();

	/* What we do not read says nothing about the neighbour. */
	if (l->stalled)
		heartbeat_heard(&l->hb, now);
	switch (heartbeat_step(&l->hb, now, &l->ping)) {
	case HEARTBEAT_DEAD:
		stat_inc(STAT_LINK_DEAD);
		conn_kill(l->conn, GOAWAY_DEAD, "");
		return;
	case HEARTBEAT_SEND_PING:
		l->ping_due = true;
		ws_want_write(l->conn->ws);
		break;
	case HEARTBEAT_NOTHING:
		break;
	}
	arm(l);
}

void
link_heard(struct link *l)
{
	heartbeat_heard(&l->hb, clock_mono());
}

/* routerd hears of the first measurement at once, then of changes that matter, not more often than
 * LINK_REPORT_MS. */
static void
report(struct link *l, struct mono now)
{
	uint32_t rtt = l->hb.rtt_us, loss = heartbeat_loss_ppm(&l->hb), old = l->reported_rtt_us;
	uint32_t change = rtt > old ? rtt - old : old - rtt;

	if (old != 0 && (mono_before(now, mono_add_ms(l->reported, LINK_REPORT_MS)) ||
			    (change <= old / 20 && loss == l->reported_loss_ppm)))
		return;
	l->reported = now;
	l->reported_rtt_us = rtt;
	l->reported_loss_ppm = loss;
	router_link(l->t, l);
}

void
link_heartbeat(struct link *l, const struct beat *b)
{
	struct mono now = clock_mono();

	if (b->kind == HEARTBEAT_PING) {
		/* Only the last one is answered, so that pings can't fill our queue. */
		l->pong = *b;
		l->pong.kind = HEARTBEAT_PONG;
		l->pong_due = true;
		ws_want_write(l->conn->ws);
		return;
	}
	if (heartbeat_pong(&l->hb, b, now)) {
		stat_rtt(l->hb.rtt_us);
		report(l, now);
	}
}

/* --- up and down --- */

static struct link *
link_new(struct transport *t, struct conn *c)
{
	struct link *l = mem_calloc(1, sizeof(*l));
	struct mono now = clock_mono();

	if (l == NULL)
		return NULL;
	l->timer = loop_timer_new(t->loop, on_timer, l);
	l->held = mem_calloc(LINK_HELD_MAX, sizeof(*l->held));
	if (l->timer == NULL || l->held == NULL) {
		loop_timer_free(l->timer);
		mem_free(l->held);
		mem_free(l);
		return NULL;
	}
	l->t = t;
	l->node = c->hello.node_id;
	memcpy(l->name, c->hello.name, sizeof(l->name));
	l->conn = c;
	txq_init(&l->q, t->set.link_queue, LINK_RESERVE_BYTES);
	heartbeat_init(&l->hb, now, t->set.heartbeat_us, t->set.heartbeat_misses);
	l->up_at = l->reported = now;
	l->since_unix_ms = clock_unix_ms();
	LIST_INSERT_HEAD(&t->links.buckets[bucket(l->node)], l, entry);
	TAILQ_INSERT_TAIL(&t->links.all, l, order);
	stat_set(STAT_LINKS, (int64_t)++t->links.count);
	return l;
}

static void
link_free(struct link *l)
{
	struct transport *t = l->t;

	LIST_REMOVE(l, entry);
	TAILQ_REMOVE(&t->links.all, l, order);
	stat_set(STAT_LINKS, (int64_t)--t->links.count);
	stat_add(STAT_QUEUED, -(int64_t)l->q.bytes);
	loop_timer_free(l->timer);
	txq_fini(&l->q);
	mem_free(l->held);
	mem_free(l);
}

static void
announce(struct link *l)
{
	struct transport *t = l->t;
	char id[NODEID_TEXT_SIZE];
	struct log_ctx ctx = log_of(l, id);

	stat_inc(STAT_LINK_UPS);
	log_at(LOG_NOTICE, &ctx, "link to %s (%s) is up, %s %s", l->name, id,
	    l->conn->dialled ? "dialled" : "accepted from", l->conn->address);
	router_link(t, l);
	gateway_event(t, "link_up", l, NULL);
}

static void
make_link(struct transport *t, struct conn *c)
{
	bool room = t->links.count < t->set.links_max;
	struct link *l = room ? link_new(t, c) : NULL;

	if (l == NULL) {
		conn_fail(c, room ? GOAWAY_INTERNAL : GOAWAY_LIMIT, room ? "out of memory" : "");
		peers_link_down(t, c->hello.node_id, false); /* dialled again later */
		return;
	}
	c->link = l;
	arm(l);
	announce(l);
}

static void
replace(struct link *l, struct conn *c)
{
	struct conn *old = l->conn;

	c->link = l;
	l->conn = c;
	memcpy(l->name, c->hello.name, sizeof(l->name));
	link_heard(l);
	if (l->stalled)
		ws_pause(c->ws, true);
	conn_retire(old);
	/* A retired connection may end at once and with it this link's last reader: no harm, c reads. */
	ws_want_write(c->ws);
	router_link(l->t, l);
}

void
link_attach(struct transport *t, struct conn *c)
{
	uint64_t node = c->hello.node_id;
	struct link *l = links_get(&t->links, node);
	struct peer *p = c->peer;

	/* Before it may end as a duplicate: the dialler learns who lives at its address. */
	if (p != NULL)
		peer_conn_up(p, node);
	c->peer = NULL;
	if (l == NULL)
		make_link(t, c);
	else if (handshake_settle(t->identity.node_id, node, l->conn->dialled, c->dialled) == SETTLE_TAKE_NEW)
		replace(l, c);
	else
		conn_fail(c, GOAWAY_DUPLICATE, "");
}

void
link_lost(struct link *l, const char *reason)
{
	struct transport *t = l->t;
	uint64_t node = l->node;
	bool settled = mono_diff_us(clock_mono(), l->up_at) >= LINK_SETTLED_MS * INT64_C(1000);
	char id[NODEID_TEXT_SIZE];
	struct log_ctx ctx = log_of(l, id);
	struct conn *c;

	stat_inc(STAT_LINK_DOWNS);
	log_at(LOG_NOTICE, &ctx, "link to %s (%s) is down: %s", l->name, id, reason);
	LIST_FOREACH (c, &t->conns, entry)
		if (c->link == l)
			c->link = NULL;
	backpressure_forget(l);
	router_link_down(t, node, reason);
	gateway_event(t, "link_down", l, reason);
	link_free(l);
	peers_link_down(t, node, settled);
}

void
link_close(struct link *l, uint16_t code, const char *detail)
{
	conn_fail(l->conn, code, detail);
}

void
link_close_all(struct transport *t, uint16_t code)
{
	struct link *l;

	while ((l = TAILQ_FIRST(&t->links.all)) != NULL)
		link_close(l, code, "");
}

void
link_retune_all(struct transport *t)
{
	struct link *l;

	TAILQ_FOREACH (l, &t->links.all, order) {
		heartbeat_retune(&l->hb, clock_mono(), t->set.heartbeat_us, t->set.heartbeat_misses);
		txq_set_limit(&l->q, t->set.link_queue);
		arm(l);
	}
}

/* --- sending --- */

int
link_send(struct link *l, struct frame *f)
{
	size_t size = frame_size(f);
	uint8_t *mem;
	struct buf out;
	int err;

	if (size > FRAME_MAX_BYTES)
		return ERR_RANGE;
	if (f->class == FRAME_CLASS_CLIENT && txq_high(&l->q)) {
		f->flags |= FRAME_FLAG_MARKED;
		stat_inc(STAT_MARKED);
	}
	if ((err = txq_reserve(&l->q, f->class, size, &mem)) != 0) {
		l->dropped_frames++;
		stat_inc(err == ERR_FULL ? STAT_DROP_QUEUE : STAT_DROP_MEMORY);
		return err;
	}
	buf_init_fixed(&out, mem, size);
	if ((err = frame_encode(f, &out)) != 0)
		return err;
	txq_commit(&l->q, f->class, size);
	l->tx_frames++;
	stat_inc(STAT_TX_FRAMES);
	stat_add(STAT_QUEUED, (int64_t)size);
	ws_want_write(l->conn->ws);
	return 0;
}

static size_t
put_beat(const struct link *l, const struct beat *b, uint8_t *out)
{
	uint8_t payload[HEARTBEAT_PAYLOAD_BYTES];
	struct frame f = {
	    .type = FRAME_HEARTBEAT, .ttl = 1, .src = l->t->identity.node_id, .payload = payload};
	struct buf body, frame;

	buf_init_fixed(&body, payload, sizeof(payload));
	buf_init_fixed(&frame, out, BEAT_FRAME_BYTES);
	if (beat_encode(b, &body) != 0)
		return 0;
	f.payload_len = sizeof(payload);
	return frame_encode(&f, &frame) == 0 ? BEAT_FRAME_BYTES : 0;
}

/* Puts the next message together; its length, 0 if there is nothing to say. */
static size_t
compose(struct link *l, uint8_t *out)
{
	size_t len = 0, taken;

	if (l->pong_due)
		len += put_beat(l, &l->pong, out + len);
	if (l->ping_due)
		len += put_beat(l, &l->ping, out + len);
	l->pong_due = l->ping_due = false;
	taken = txq_take(&l->q, out + len, LINK_MESSAGE_BYTES - len);
	stat_add(STAT_QUEUED, -(int64_t)taken);
	return len + taken;
}

void
link_writable(struct link *l)
{
	struct conn *c = l->conn;

	for (int i = 0; i < LINK_WRITES_PER_TURN && ws_can_send(c->ws); i++) {
		size_t len = compose(l, ws_tx(l->t->ws));

		if (len == 0)
			break;
		l->tx_bytes += len;
		stat_add(STAT_TX_BYTES, (int64_t)len);
		if (ws_send(c->ws, len) != 0)
			return; /* the end of the connection follows */
	}
	if (!txq_empty(&l->q) || l->ping_due || l->pong_due)
		ws_want_write(c->ws);
	backpressure_drained(l);
}
