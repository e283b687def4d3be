#include "transportd/link.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/backpressure.h"
#include "transportd/core/goaway.h"
#include "transportd/core/handshake.h"
#include "transportd/core/limits.h"
#include "transportd/core/sched.h"
#include "transportd/lane.h"
#include "transportd/link_upkeep.h"
#include "transportd/mark.h"
#include "transportd/stats.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

enum {
	LANE_NOWHERE = SCHED_LANES,
	LANE_WAITING_BYTES = 65536, /* of large control frames that wait for the priority lane */
};

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

struct lane *
link_control(struct link *l)
{
	static const size_t none[LANES_MAX];
	int i = lanes_pick(&l->lanes, LANE_CLASS_CONTROL, none);

	return i >= 0 ? l->lane[i] : NULL;
}

const struct conn *
link_conn(const struct link *l)
{
	for (unsigned i = 0; i < LANES_MAX; i++)
		if (l->lane[i] != NULL)
			return l->lane[i]->conn;
	return NULL;
}

/* --- up --- */

static struct sched_limits
limits_of(const struct settings *set)
{
	return (struct sched_limits){.link_bytes = set->link_queue,
	    .reserve_bytes = LINK_RESERVE_BYTES,
	    .tenant_bytes = set->tenant_quota,
	    .stream_bytes = set->stream_quota};
}

static struct link *
link_new(struct transport *t, struct conn *c)
{
	struct link *l = mem_calloc(1, sizeof(*l));
	struct sched_limits limits = limits_of(&t->set);
	struct mono now = clock_mono();
	uint64_t seed;

	if (l == NULL)
		return NULL;
	l->t = t;
	l->timer = loop_timer_new(t->loop, link_tick, l);
	crypto_random(&seed, sizeof(seed));
	l->q = sched_new(&limits, seed);
	if (l->timer == NULL || l->q == NULL) {
		loop_timer_free(l->timer);
		sched_free(l->q);
		mem_free(l);
		return NULL;
	}
	l->node = c->hello.node_id;
	memcpy(l->name, c->hello.name, sizeof(l->name));
	lanes_init(&l->lanes, c->hello.lanes_max < t->set.lanes_max ? c->hello.lanes_max : t->set.lanes_max);
	resume_init(&l->resume);
	scale_init(&l->scale, now);
	l->bulk_want = t->set.bulk_lanes;
	l->linger_until = MONO_NEVER;
	l->up_at = l->reported = l->probed_at = now;
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
	stat_add(STAT_QUEUED, -(int64_t)sched_bytes(l->q));
	loop_timer_free(l->timer);
	resume_fini(&l->resume);
	sched_free(l->q);
	mem_free(l->held);
	mem_free(l);
}

static void
announce(struct link *l, const struct conn *c)
{
	char id[NODEID_TEXT_SIZE];
	struct log_ctx ctx = log_of(l, id);

	stat_inc(STAT_LINK_UPS);
	log_at(LOG_NOTICE, &ctx, "link to %s (%s) is up, %s %s", l->name, id,
	    c->dialled ? "dialled" : "accepted from", c->address);
	router_link(l->t, l);
	reroute_link_up(l->t, l->node);
	gateway_event(l->t, "link_up", l, NULL);
}

static void
lane_up(struct link *l, struct lane *n)
{
	char id[NODEID_TEXT_SIZE];
	struct log_ctx ctx = log_of(l, id);

	l->lane[n->id] = n;
	n->conn->lane = n;
	l->linger_until = MONO_NEVER;
	/* A link may begin with another lane, if that was being replaced when all of the old ones went. */
	if (n->id == LANE_CONTROL || lanes_up(&l->lanes) == 1)
		l->dialler = n->conn->dialled;
	stat_add(STAT_LANES, 1);
	stat_inc(STAT_LANE_UPS);
	log_at(LOG_INFO, &ctx, "link to %s: lane %u (%s) is up, %s %s", l->name, n->id,
	    lane_class_name(lane_class_of(n->id)), n->conn->dialled ? "dialled" : "accepted from",
	    n->conn->address);
	resume_lane_up(l);
	lane_want_write(n);
}

/* The new link, or NULL: there is no room, and c has ended. */
static struct link *
make_link(struct transport *t, struct conn *c)
{
	bool capacity = t->links.count < t->set.links_max;
	struct link *l = capacity ? link_new(t, c) : NULL;

	if (l == NULL) {
		conn_fail(c, capacity ? GOAWAY_INTERNAL : GOAWAY_LIMIT, capacity ? "out of memory" : "");
		peers_link_down(t, c->hello.node_id, 0); /* dialled again later */
	}
	return l;
}

/* Makes room for c on its lane; false: the connection that is there stays. */
static bool
settle(struct link *l, struct conn *c)
{
	struct lane *old = l->lane[c->lane_id];

	if (old == NULL)
		return true;
	if (handshake_settle(l->t->identity.node_id, l->node, old->conn->dialled, c->dialled) ==
	    SETTLE_KEEP_OLD)
		return false;
	l->attaching = true;
	conn_fail(old->conn, GOAWAY_DUPLICATE, "");
	l->attaching = false;
	return true;
}

void
link_attach(struct transport *t, struct conn *c)
{
	uint64_t node = c->hello.node_id;
	struct link *l = links_get(&t->links, node);
	struct peer *p = c->peer;
	struct lane *n;
	bool fresh = l == NULL;

	/* Before it may end as a duplicate: the dialler learns who lives at its address. */
	if (p != NULL)
		peer_conn_up(p, node, c->lane_id, c->way);
	c->peer = NULL;
	if (wish_dropped(t, node)) { /* while it proved itself */
		conn_fail(c, GOAWAY_REMOVED, "");
		return;
	}
	if (fresh && (l = make_link(t, c)) == NULL)
		return;
	/* The smaller of both sides' numbers counts for the whole link. */
	if (!fresh && c->lane_id >= l->lanes.count) {
		conn_fail(c, GOAWAY_LANE, "");
		return;
	}
	if (!settle(l, c)) {
		conn_fail(c, GOAWAY_DUPLICATE, "");
		return;
	}
	c->link = l;
	n = lane_new(l, c->lane_id, c);
	if (n == NULL) {
		conn_fail(c, GOAWAY_INTERNAL, "out of memory");
		link_down_if_empty(l, "out of memory");
		return;
	}
	lane_up(l, n);
	if (n->id >= LANE_BULK + t->set.bulk_lanes)
		resume_spread(l, n);
	if (fresh)
		announce(l, c);
	else if (n->id == LANE_CONTROL)
		router_link(t, l); /* the other side may be the dialler now */
	link_upkeep(l);
}

/* --- down --- */

static void
link_lost(struct link *l, const char *reason)
{
	struct transport *t = l->t;
	uint64_t node = l->node;
	int64_t lived_ms = mono_diff_us(clock_mono(), l->up_at) / 1000;
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
	reroute_link_down(t, node);
	peers_link_down(t, node, lived_ms);
}

void
link_down_if_empty(struct link *l, const char *reason)
{
	if (lanes_up(&l->lanes) == 0)
		link_lost(l, reason);
}

void
link_lane_lost(struct link *l, struct lane *n, bool replaced, const char *reason)
{
	char id[NODEID_TEXT_SIZE];
	struct log_ctx ctx = log_of(l, id);

	l->lane[n->id] = NULL;
	l->lanes.state[n->id] = lane_next(l->lanes.state[n->id], LANE_EV_LOST);
	/* A connection that is to take its place is on its way up. */
	l->retry[n->id] = replaced ? mono_add_ms(clock_mono(), LANE_DIAL_MS) : MONO_ZERO;
	l->tx_bytes += n->tx_bytes;
	l->rx_bytes += n->rx_bytes;
	l->tx_frames += n->tx_frames;
	l->rx_frames += n->rx_frames;
	stat_add(STAT_LANES, -1);
	stat_inc(STAT_LANE_DOWNS);
	log_at(LOG_INFO, &ctx, "link to %s: lane %u (%s) is gone: %s", l->name, n->id,
	    lane_class_name(lane_class_of(n->id)), reason);
	resume_lost(l, n);
	lane_free(n);
	if (l->attaching)
		return;
	if (lanes_up(&l->lanes) != 0) {
		link_upkeep(l);
		return;
	}
	if (replaced)
		l->linger_until = mono_add_ms(clock_mono(), LINK_DRAIN_MS);
	else
		link_lost(l, reason);
}

void
link_close(struct link *l, uint16_t code, const char *detail)
{
	struct transport *t = l->t;
	uint64_t node = l->node;
	struct conn *c;

	/* Those on their way up, too: they would make it anew. */
	LIST_FOREACH (c, &t->conns, entry)
		if (c->hello.node_id == node || (c->dialled && c->expected == node))
			conn_fail(c, code, detail);
	/* One that waited for a connection to come has none that could end it. */
	l = links_get(&t->links, node);
	if (l != NULL)
		link_down_if_empty(l, goaway_label(code));
}

void
link_close_all(struct transport *t, uint16_t code)
{
	struct link *l;

	while ((l = TAILQ_FIRST(&t->links.all)) != NULL)
		link_close(l, code, "");
}

void
link_close_denied(struct transport *t)
{
	struct link *l, *next;
	const char *why;
	struct conn *c;

	for (l = TAILQ_FIRST(&t->links.all); l != NULL; l = next) {
		next = TAILQ_NEXT(l, order);
		if ((why = transport_denied(t, l->node)) != NULL)
			link_close(l, GOAWAY_DENIED, why);
	}
	/* And those that have said who they are, and are not proven yet. */
	LIST_FOREACH (c, &t->conns, entry)
		if (c->hello.node_id != 0 && (why = transport_denied(t, c->hello.node_id)) != NULL)
			conn_fail(c, GOAWAY_DENIED, why);
}

void
link_retune_all(struct transport *t)
{
	struct sched_limits limits = limits_of(&t->set);
	struct link *l;

	TAILQ_FOREACH (l, &t->links.all, order) {
		sched_set_limits(l->q, &limits);
		for (unsigned i = 0; i < LANES_MAX; i++)
			if (l->lane[i] != NULL)
				lane_retune(l->lane[i]);
	}
}

/* --- sending --- */

static unsigned
pick(struct link *l, enum lane_class class)
{
	size_t queued[LANES_MAX] = {0};
	int lane;

	if (class == LANE_CLASS_BULK)
		for (unsigned i = 0; i < LANES_MAX; i++)
			if (l->lane[i] != NULL)
				queued[i] = sched_lane_bytes(l->q, i) + credit_tx_unacked(&l->lane[i]->tx);
	lane = lanes_pick(&l->lanes, class, queued);
	if (class == LANE_CLASS_BULK && lane >= 0 && lane < LANE_BULK)
		l->lane[lane]->stands_in = true;
	return lane >= 0 ? (unsigned)lane : SCHED_PARKED;
}

/* Large frames of class control never go on the control lane; some wait for another one. */
static unsigned
pick_large_control(struct link *l)
{
	unsigned lane = pick(l, LANE_CLASS_PRIORITY);

	if (lane != LANE_CONTROL || l->lanes.count == 1)
		return lane;
	return sched_lane_bytes(l->q, LANE_PRIORITY) < LANE_WAITING_BYTES ? LANE_PRIORITY : LANE_NOWHERE;
}

/* Where the frame is queued.  Priority traffic keeps its order through the death of its lane, so it
 * waits with what was on it; control does not wait. */
static unsigned
lane_for(struct link *l, const struct frame *f, const struct sched_key *k, size_t size)
{
	enum lane_class class = lanes_class_for(f->class, size);
	int lane;

	if (class == LANE_CLASS_PRIORITY && f->class == FRAME_CLASS_CONTROL)
		return pick_large_control(l);
	if (class == LANE_CLASS_PRIORITY)
		return resume_carrier(l);
	if (class == LANE_CLASS_BULK && !(f->flags & FRAME_FLAG_STRIPE) && (lane = sched_lane(l->q, k)) >= 0)
		return (unsigned)lane;
	return pick(l, class);
}

static int
reserve(struct link *l, const struct frame *f, const struct sched_key *k, unsigned lane, size_t size,
    uint8_t **mem)
{
	int err;

	if (lane == LANE_NOWHERE)
		err = ERR_FULL;
	else if ((f->flags & FRAME_FLAG_STRIPE) && f->class == FRAME_CLASS_CLIENT && lane != SCHED_PARKED)
		err = sched_reserve_striped(l->q, k, lane, size, mem);
	else
		err = sched_reserve(l->q, k, lane, size, mem);
	if (err != 0) {
		l->dropped_frames++;
		stat_inc(err == ERR_FULL    ? STAT_DROP_QUEUE
			 : err == ERR_LIMIT ? STAT_DROP_QUOTA
					    : STAT_DROP_MEMORY);
	}
	return err;
}

int
link_send(struct link *l, struct frame *f)
{
	size_t size = frame_size(f);
	struct sched_key k = {.src = f->src, .flow = f->flow, .class = f->class};
	unsigned lane;
	uint8_t *mem;
	struct buf out;
	int err;

	if (size > FRAME_MAX_BYTES)
		return ERR_RANGE;
	lane = lane_for(l, f, &k, size);
	f->lane_id = lane < LANES_MAX ? (uint16_t)lane : 0;
	if (mark_due(l, f, lane)) {
		f->flags |= FRAME_FLAG_MARKED;
		stat_inc(STAT_MARKED);
	}
	if ((err = reserve(l, f, &k, lane, size, &mem)) != 0)
		return err;
	buf_init_fixed(&out, mem, size);
	if ((err = frame_encode(f, &out)) != 0)
		return err;
	sched_commit(l->q, size);
	l->was_high |= sched_high(l->q);
	stat_inc(STAT_TX_FRAMES);
	stat_frame(f->type, size);
	stat_add(STAT_QUEUED, (int64_t)size);
	if (lane < LANES_MAX && l->lane[lane] != NULL)
		lane_want_write(l->lane[lane]);
	return 0;
}

/* --- notes of the peer --- */

void
link_note(struct link *l, struct conn *c, const struct lane_note *n)
{
	if (n->op == LANE_OP_WANT) {
		link_wanted(l, n->lane);
	} else if (n->conn == c->number) {
		conn_fail(c, GOAWAY_LANE, "says that this connection is closed");
	} else {
		resume_note(l, n);
	}
}
