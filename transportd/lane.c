#include "transportd/lane.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/backpressure.h"
#include "transportd/core/goaway.h"
#include "transportd/core/limits.h"
#include "transportd/core/sched.h"
#include "transportd/stats.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

enum {
	LOCAL_MAX_BYTES = 128,      /* the largest link-local frame but for probes */
	LANE_BUSY_MS = 1000,        /* after traffic, round trips are measured at every interval */
	LANE_BUSY_BYTES = 1024,     /* of one message of control; gossip and single LSAs are less */
	KERNEL_FRESH_INTERVALS = 2, /* a kernel that acknowledged within these answers */
};

/* --- time --- */

static void
arm(struct lane *n)
{
	/* A window that is about to be written needs no clock. */
	struct mono window = n->window_due ? MONO_NEVER : credit_rx_next(&n->rx);

	struct mono next = mono_min(heartbeat_next(&n->hb), window);

	/* One that goes off early finds nothing to do; setting it for each message would cost more. */
	if (!mono_before(next, n->armed))
		return;
	n->armed = next;
	loop_timer_arm(n->timer, next);
}

static void
set_state(struct lane *n, enum lane_event ev)
{
	enum lane_state *s = &n->link->lanes.state[n->id], next = lane_next(*s, ev);

	if (next == *s)
		return;
	log_debug("link to %s, lane %u: %s -> %s (%s)", n->link->name, n->id, lane_state_name(*s),
	    lane_state_name(next), lane_event_name(ev));
	*s = next;
}

/*
 * The lane is silent.  A kernel that still acknowledges our bytes tells a peer that is stopped or starved
 * from a path that is cut; but only where the two ends see the same connection, since a proxy in
 * between acknowledges whatever becomes of the rest.
 */
static bool
kernel_answers(const struct lane *n)
{
	int64_t age_ms;

	if (n->link->t->set.stall_us == 0 || !n->conn->direct)
		return false;
	age_ms = ws_kernel_ack_ms(n->conn->ws);
	return age_ms >= 0 && age_ms * 1000 < n->hb.interval_us * KERNEL_FRESH_INTERVALS;
}

/* Bytes of all lanes of the link so far. */
static uint64_t
link_received(const struct link *l)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < LANES_MAX; i++)
		if (l->lane[i] != NULL)
			bytes += ws_received_bytes(l->lane[i]->conn->ws);
	return bytes;
}

/* Something comes on the lane, and its pings wait for long. */
static bool
crawls(const struct lane *n, struct mono now)
{
	return mono_diff_us(now, n->hb.heard) < LANE_CROWD_FRESH_MS * 1000 &&
	       (heartbeat_waiting_us(&n->hb, now) >= LANE_CROWD_SLOW_MS * 1000 ||
		   n->hb.sample_us >= LANE_CROWD_SLOW_MS * 1000);
}

/*
 * How long a slow line that serves the other lanes may need until it is this lane's turn, in us; 0: it is
 * not known to be slow.  A packet of 1500 bytes takes 240 ms of 50 kbit/s: when a line becomes full that
 * is silence at once, long before round trips have told.
 */
static int64_t
crowd_us(const struct lane *n, struct mono now)
{
	uint64_t bytes = link_received(n->link) - n->heard_received;
	bool slow = false;

	for (unsigned i = 0; i < LANES_MAX && !slow; i++)
		slow = n->link->lane[i] != NULL && n->link->lane[i] != n && crawls(n->link->lane[i], now);
	if (!slow || bytes < LANE_CROWD_MIN_BYTES)
		return 0;
	return (int64_t)(LANE_CROWD_BYTES * (uint64_t)mono_diff_us(now, n->hb.heard) / bytes);
}

/* False: the lane is gone. */
static bool
on_silence(struct lane *n, struct mono now)
{
	int64_t crowd = crowd_us(n, now);

	if (crowd > mono_diff_us(now, n->hb.heard)) {
		heartbeat_kernel_alive(&n->hb, now, crowd);
		return true;
	}
	if (!kernel_answers(n)) {
		stat_inc(STAT_LANE_DEAD);
		conn_kill(n->conn, GOAWAY_DEAD, "");
		return false;
	}
	if (!heartbeat_stalled(&n->hb)) {
		stat_inc(STAT_LANE_STALLS);
		log_notice("link to %s, lane %u: silent, but the peer's kernel answers: waiting",
		    n->link->name, n->id);
	}
	heartbeat_kernel_alive(&n->hb, now, n->link->t->set.stall_us);
	set_state(n, LANE_EV_SILENT);
	return true;
}

/*
 * A ping or a beat is to be sent.  Of an idle lane a beat says nothing but that this side lives, and a pong
 * of WebSocket's own is a tenth of its size; not where a proxy ends TLS, because that may know WebSocket
 * and keep pongs to itself.
 */
static void
sign_of_life(struct lane *n, const struct beat *beat, struct mono now)
{
	bool idle = !mono_before(now, n->busy_until);

	if (beat->kind == HEARTBEAT_BEAT && idle && !n->proxied) {
		n->sign_due = true;
	} else {
		/* A ping that has not left yet is not given up for a mere sign of life. */
		if (!n->ping_due || beat->kind == HEARTBEAT_PING)
			n->ping = *beat;
		n->ping_due = true;
	}
	lane_want_write(n);
}

static void
on_timer(void *arg)
{
	struct lane *n = arg;
	struct mono now = clock_mono();
	struct beat beat;

	n->armed = MONO_NEVER;
	switch (heartbeat_step(&n->hb, now, mono_before(now, n->busy_until), &beat)) {
	case HEARTBEAT_DEAD:
		stat_inc(STAT_LANE_DEAD);
		conn_kill(n->conn, GOAWAY_DEAD, "");
		return;
	case HEARTBEAT_SILENT:
		if (!on_silence(n, now))
			return;
		break;
	case HEARTBEAT_SEND:
		sign_of_life(n, &beat, now);
		break;
	case HEARTBEAT_NOTHING:
		break;
	}
	if (credit_rx_due(&n->rx, now)) {
		n->window_due = true;
		lane_want_write(n);
	}
	arm(n);
}

void
lane_heard(struct lane *n)
{
	n->link->t->turn = clock_mono();
	heartbeat_heard(&n->hb, n->link->t->turn);
	n->heard_received = link_received(n->link);
	if (n->link->lanes.state[n->id] == LANE_STALLED)
		set_state(n, LANE_EV_HEARD);
}

/* --- life --- */

/* Frames of a window of bytes: small ones cost the receiver more than their bytes. */
static uint64_t
window_frames(uint64_t bytes)
{
	return bytes / LANE_WINDOW_FRAME_BYTES;
}

/* A further bulk lane begins with what the first one knows. */
static void
join(struct lane *n)
{
	for (unsigned i = LANE_BULK; n->id >= LANE_BULK && i < LANES_MAX; i++) {
		const struct lane *other = n->link->lane[i];

		if (other == NULL || i == n->id)
			continue;
		pace_join(&n->pace, &other->pace);
		return;
	}
}

struct lane *
lane_new(struct link *l, unsigned id, struct conn *c)
{
	struct lane *n = mem_calloc(1, sizeof(*n));
	const struct settings *set = &l->t->set;
	struct mono now = clock_mono();
	uint8_t hash[HELLO_EXPORTER_BYTES];

	if (n == NULL)
		return NULL;
	n->timer = loop_timer_new(l->t->loop, on_timer, n);
	if (n->timer == NULL) {
		mem_free(n);
		return NULL;
	}
	n->link = l;
	n->id = id;
	n->conn = c;
	n->proxied = ws_token_hash(c->ws, hash);
	n->armed = MONO_NEVER;
	n->since_unix_ms = clock_unix_ms();
	heartbeat_init(&n->hb, now, set->heartbeat_us, set->heartbeat_misses);
	credit_tx_init(&n->tx, c->hello.window_bytes, c->hello.window_frames);
	credit_rx_init(&n->rx, c->own_window_bytes, c->own_window_frames);
	retain_init(&n->sent);
	pace_init(&n->pace, now);
	join(n);
	/* What the application sends first tells the path's round trip. */
	n->busy_until = mono_add_ms(now, LANE_BUSY_MS);
	set_state(n, LANE_EV_PROVEN);
	arm(n);
	return n;
}

void
lane_free(struct lane *n)
{
	loop_timer_free(n->timer);
	retain_fini(&n->sent);
	mem_free(n);
}

void
lane_retune(struct lane *n)
{
	const struct settings *set = &n->link->t->set;

	heartbeat_retune(&n->hb, clock_mono(), set->heartbeat_us, set->heartbeat_misses);
	credit_rx_retune(&n->rx, set->lane_window, window_frames(set->lane_window));
	n->window_due = true;
	lane_want_write(n);
	arm(n);
}

/* --- link-local frames --- */

static size_t
put_local(const struct lane *n, uint8_t type, const struct buf *body, uint8_t *out, size_t cap)
{
	struct frame f = {.type = type,
	    .ttl = 1,
	    .src = n->link->t->identity.node_id,
	    .lane_id = (uint16_t)n->id,
	    .payload = buf_head(body),
	    .payload_len = (uint32_t)buf_left(body)};
	struct buf frame;

	buf_init_fixed(&frame, out, cap);
	if (frame_encode(&f, &frame) != 0)
		return 0;
	stat_frame(type, buf_left(&frame));
	return buf_left(&frame);
}

static size_t
put_beat(const struct lane *n, const struct beat *b, uint8_t *out)
{
	uint8_t mem[LOCAL_MAX_BYTES];
	struct buf body;

	buf_init_fixed(&body, mem, sizeof(mem));
	return beat_encode(b, &body) == 0 ? put_local(n, FRAME_HEARTBEAT, &body, out, LOCAL_MAX_BYTES) : 0;
}

/* Bytes that may still come in without our having to drop them. */
static uint64_t
free_bytes(const struct lane *n)
{
	/* Control and priority traffic is little and never waits for the rest. */
	if (n->id < LANE_BULK && n->link->lanes.count > LANE_BULK)
		return n->rx.window_bytes;
	return backpressure_room(n->link->t);
}

static size_t
put_window(struct lane *n, uint8_t *out)
{
	uint8_t mem[LOCAL_MAX_BYTES];
	struct window w;
	struct buf body;

	credit_rx_grant(&n->rx, free_bytes(n), &w);
	buf_init_fixed(&body, mem, sizeof(mem));
	return window_encode(&w, &body) == 0 ? put_local(n, FRAME_WINDOW, &body, out, LOCAL_MAX_BYTES) : 0;
}

static size_t
put_note(struct lane *n, uint8_t *out)
{
	uint8_t mem[LOCAL_MAX_BYTES];
	struct buf body;

	buf_init_fixed(&body, mem, sizeof(mem));
	if (lane_note_encode(&n->notes[0], &body) != 0)
		return 0;
	n->note_count--;
	memmove(&n->notes[0], &n->notes[1], n->note_count * sizeof(n->notes[0]));
	return put_local(n, FRAME_LANE, &body, out, LOCAL_MAX_BYTES);
}

static size_t
put_probe(struct lane *n, const struct probe *p, uint8_t *out, size_t cap)
{
	uint8_t mem[PROBE_FRAME_BYTES + LOCAL_MAX_BYTES];
	struct buf body;

	buf_init_fixed(&body, mem, sizeof(mem));
	return probe_encode(p, &body) == 0 ? put_local(n, FRAME_PROBE, &body, out, cap) : 0;
}

/* What is due of the lane's own, as far as it fits the message. */
static size_t
compose_local(struct lane *n, uint8_t *out)
{
	size_t len = 0;

	while (n->note_count != 0 && len + LOCAL_MAX_BYTES <= LINK_MESSAGE_BYTES)
		len += put_note(n, out + len);
	if (n->pong_due)
		len += put_beat(n, &n->pong, out + len);
	if (n->ping_due)
		len += put_beat(n, &n->ping, out + len);
	if (n->window_due)
		len += put_window(n, out + len);
	if (n->report_due)
		len += put_probe(n, &n->report, out + len, LOCAL_MAX_BYTES);
	n->pong_due = n->ping_due = n->window_due = n->report_due = false;
	return len;
}

static size_t
compose_train(struct lane *n, uint8_t *out)
{
	struct probe p = {.kind = PROBE_TRAIN,
	    .train = n->train,
	    .index = (uint8_t)(PROBE_TRAIN_FRAMES - n->train_left),
	    .count = PROBE_TRAIN_FRAMES,
	    .bytes = PROBE_FRAME_BYTES};

	n->train_left--;
	return put_probe(n, &p, out, LINK_MESSAGE_BYTES);
}

/* Frames that were sent, or came: the round trips matter for a while.  Not for the few small ones that
 * control consists of while nothing happens: a ping each interval, and its answer, were most of an idle
 * link's traffic. */
static void
work(struct lane *n, size_t bytes, struct mono now)
{
	bool control = n->id == LANE_CONTROL && n->link->lanes.count > LANE_BULK;

	if (bytes > (control ? LANE_BUSY_BYTES : 0))
		n->busy_until = mono_add_ms(now, LANE_BUSY_MS);
}

/* --- writing --- */

void
lane_want_write(struct lane *n)
{
	ws_want_write(n->conn->ws);
}

/* Bytes of frames that may leave now: granted by the peer, and not too many for the path. */
static size_t
room(struct lane *n, struct mono now)
{
	size_t credit = credit_tx_room(&n->tx), limit = pace_limit(&n->pace, now);
	uint64_t unacked = credit_tx_unacked(&n->tx);

	if (unacked >= limit)
		return 0;
	return credit < limit - unacked ? credit : limit - (size_t)unacked;
}

static bool
sent(struct lane *n, size_t len, struct mono now)
{
	n->tx_bytes += len;
	stat_add(STAT_TX_BYTES, (int64_t)len);
	heartbeat_sent(&n->hb, now);
	n->sign_due = false;
	return true;
}

/* One message of frames, kept until it is acknowledged; what is due of the lane's own goes in front.
 * False: nothing was sent. */
static bool
write_frames(struct lane *n, size_t cap, struct mono now)
{
	struct sched *q = n->link->q;
	uint8_t *out = retain_reserve(&n->sent), mask[4];
	bool masked;
	unsigned frames;
	size_t local, len;

	if (out == NULL)
		return false;
	local = compose_local(n, out);
	if (cap > LINK_MESSAGE_BYTES - local)
		cap = LINK_MESSAGE_BYTES - local;
	len = sched_take(q, n->id, out + local, cap, &frames);
	if (local + len == 0)
		return false;
	stat_add(STAT_QUEUED, -(int64_t)len);
	credit_tx_sent(&n->tx, len, frames);
	n->tx_frames += frames;
	work(n, len, now);
	masked = ws_send_kept(n->conn->ws, out, local + len, mask);
	retain_commit(&n->sent, local + len, frames, masked ? mask : NULL);
	pace_sent(&n->pace, len, sched_lane_empty(q, n->id), now);
	return sent(n, local + len, now);
}

static bool
write_sign(struct lane *n, struct mono now)
{
	size_t len = ws_send_sign(n->conn->ws);

	stat_frame(FRAME_HEARTBEAT, len);
	return sent(n, len, now);
}

static bool
write_local(struct lane *n, struct mono now)
{
	uint8_t *out = ws_tx(n->link->t->ws);
	size_t len = compose_local(n, out);

	if (len == 0 && n->train_left != 0)
		len = compose_train(n, out);
	if (len == 0 && n->sign_due)
		return write_sign(n, now);
	if (len == 0 || ws_send(n->conn->ws, len) != 0)
		return false;
	return sent(n, len, now);
}

static bool
write_one(struct lane *n, struct mono now)
{
	size_t cap = sched_lane_empty(n->link->q, n->id) ? 0 : room(n, now);

	return cap != 0 && write_frames(n, cap, now) ? true : write_local(n, now);
}

static bool
local_due(const struct lane *n)
{
	return n->ping_due || n->pong_due || n->window_due || n->report_due || n->sign_due ||
	       n->note_count != 0 || n->train_left != 0;
}

void
lane_writable(struct lane *n)
{
	struct mono now = clock_mono();
	bool many = sched_lane_bytes(n->link->q, n->id) > LINK_MESSAGE_BYTES, more = true;

	if (many)
		ws_gather(n->conn->ws, true);
	for (int i = 0; i < LINK_WRITES_PER_TURN && more && ws_can_send(n->conn->ws); i++)
		more = write_one(n, now);
	if (many)
		ws_gather(n->conn->ws, false);
	/* What waits for the peer's credit is written when that comes. */
	if (more || local_due(n))
		lane_want_write(n);
	backpressure_drained(n->link);
}

/* --- reading --- */

bool
lane_counted(struct lane *n, size_t size)
{
	if (credit_rx_received(&n->rx, size, n->link->t->turn) != 0) {
		conn_fail(n->conn, GOAWAY_FLOW, "sent more than it was granted");
		return false;
	}
	n->rx_frames++;
	n->rx_bytes += size;
	work(n, size, n->link->t->turn);
	return true;
}

void
lane_handled(struct lane *n)
{
	struct mono now = n->link->t->turn;

	if (credit_rx_due(&n->rx, now)) {
		n->window_due = true;
		lane_want_write(n);
	} else {
		arm(n);
	}
}

void
lane_regrant(struct lane *n)
{
	if (!credit_rx_short(&n->rx))
		return;
	n->window_due = true;
	lane_want_write(n);
}

/* The lanes of a link share its bottleneck: one that looks for the least round trip sees it only if all
 * of them are drained. */
static void
drain_together(struct lane *n, struct mono now)
{
	for (unsigned i = 0; i < LANES_MAX; i++)
		if (n->link->lane[i] != NULL && n->link->lane[i] != n)
			pace_drain_with(&n->link->lane[i]->pace, &n->pace, now);
}

void
lane_beat(struct lane *n, const struct beat *b)
{
	struct mono now = clock_mono();

	if (b->kind != HEARTBEAT_PONG)
		pace_back(&n->pace, b->time_us, now);
	if (b->kind == HEARTBEAT_PING) {
		/* Only the last one is answered, so that pings can't fill our queue. */
		n->pong = *b;
		n->pong.kind = HEARTBEAT_PONG;
		n->pong_due = true;
		lane_want_write(n);
	} else if (b->kind == HEARTBEAT_PONG && heartbeat_pong(&n->hb, b, now)) {
		stat_rtt(lane_class_of(n->id), n->hb.sample_us);
		pace_rtt(&n->pace, n->hb.sample_us, now);
		drain_together(n, now);
		link_measured(n->link);
	}
}

bool
lane_window(struct lane *n, const struct window *w)
{
	size_t acked;

	if (credit_tx_window(&n->tx, w, &acked) != 0 ||
	    (w->acked_frames > n->sent.acked_frames && retain_ack(&n->sent, w->acked_frames) != 0)) {
		conn_fail(n->conn, GOAWAY_FLOW, "window out of bounds");
		return false;
	}
	if (acked != 0)
		pace_acked(&n->pace, acked, clock_mono());
	resume_acked(n->link);
	if (!sched_lane_empty(n->link->q, n->id))
		lane_want_write(n);
	return true;
}

/* --- probes --- */

void
lane_probe_start(struct lane *n)
{
	if (n->train_left != 0)
		return;
	n->train++;
	n->train_left = PROBE_TRAIN_FRAMES;
	stat_inc(STAT_PROBES);
	lane_want_write(n);
}

bool
lane_probe(struct lane *n, const struct probe *p)
{
	struct mono now = clock_mono();

	if (p->kind == PROBE_TRAIN) {
		if (probe_received(&n->probe_rx, p, now, &n->report)) {
			n->report_due = true;
			lane_want_write(n);
		}
		return true;
	}
	if (pace_probed(&n->pace, n->train, p, now) == 0)
		return true;
	conn_fail(n->conn, GOAWAY_PROTOCOL, "report of no probe");
	return false;
}

void
lane_note(struct lane *n, const struct lane_note *note)
{
	/* More than these wait only if the peer does not read; it will be dead soon. */
	if (n->note_count == LANE_NOTES_MAX)
		return;
	n->notes[n->note_count++] = *note;
	lane_want_write(n);
}
