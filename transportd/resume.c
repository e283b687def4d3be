#include "transportd/resume.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "transportd/core/goaway.h"
#include "transportd/core/limits.h"
#include "transportd/core/sched.h"
#include "transportd/lane.h"
#include "transportd/stats.h"
#include "transportd/transport.h"

enum { GHOSTS_MAX = 4 * LANES_MAX };

void
resume_init(struct resume *r)
{
	TAILQ_INIT(&r->ghosts);
	r->count = 0;
	r->parking = false;
	r->carrier = NULL;
	r->carrier_leaves = false;
}

static void
ghost_free(struct resume *r, struct ghost *g)
{
	TAILQ_REMOVE(&r->ghosts, g, entry);
	r->count--;
	retain_fini(&g->sent);
	mem_free(g);
}

void
resume_fini(struct resume *r)
{
	while (!TAILQ_EMPTY(&r->ghosts))
		ghost_free(r, TAILQ_FIRST(&r->ghosts));
}

static struct ghost *
ghost_get(struct resume *r, uint64_t conn)
{
	struct ghost *g;

	TAILQ_FOREACH (g, &r->ghosts, entry)
		if (g->conn == conn)
			return g;
	return NULL;
}

/* Remembering is cheap but not free: the oldest settled ones give way. */
static struct ghost *
ghost_new(struct resume *r)
{
	struct ghost *g;

	if (r->count >= GHOSTS_MAX && !r->parking && (g = TAILQ_FIRST(&r->ghosts))->settled)
		ghost_free(r, g);
	return r->count < GHOSTS_MAX ? mem_calloc(1, sizeof(*g)) : NULL;
}

static struct mono
answer_until(const struct link *l)
{
	const struct settings *set = &l->t->set;

	return mono_add_us(mono_add_ms(clock_mono(), LANE_RESUME_MS),
	    2 * set->heartbeat_us * (int64_t)set->heartbeat_misses);
}

/* --- telling the peer --- */

static void
tell(struct link *l, const struct ghost *g)
{
	struct lane *n = link_control(l);
	struct lane_note note = {.op = LANE_OP_CLOSED,
	    .lane = (uint16_t)g->lane,
	    .conn = g->conn,
	    .received_frames = g->received_frames};

	if (n != NULL)
		lane_note(n, &note);
}

/* --- system and DB frames --- */

static void
move_important(struct link *l, unsigned from, unsigned to)
{
	for (unsigned c = FRAME_CLASS_SYSTEM; c < FRAME_CLASS_CLIENT; c++)
		if (sched_move_class(l->q, from, to, c) != 0)
			log_debug(
			    "out of memory: frames of class %s go with the streams", frame_class_name(c));
}

/* The lane that is to carry them; one that is as good as the present one is none. */
static struct lane *
best_carrier(struct link *l)
{
	static const size_t none[LANES_MAX];
	struct lane *now = l->resume.carrier;
	int best = lanes_pick(&l->lanes, LANE_CLASS_PRIORITY, none);

	if (best < 0 || (now != NULL && lane_class_of(now->id) == lane_class_of((unsigned)best)))
		return now;
	return l->lane[best];
}

unsigned
resume_carrier(struct link *l)
{
	struct resume *r = &l->resume;

	if (r->carrier == NULL && !r->parking)
		r->carrier = best_carrier(l);
	/* Not parked while it lives: what it still has would come behind them if it died. */
	return r->carrier_leaves || r->carrier == NULL ? SCHED_PARKED : r->carrier->id;
}

/* --- back to the lanes where it belongs, once what is on its way has arrived --- */

static void
leave(struct link *l, struct lane *n)
{
	n->barrier_frames = n->sent.sent_frames;
	l->resume.parking = true;
}

static void
leave_carrier(struct link *l)
{
	struct resume *r = &l->resume;

	if (r->carrier == NULL || best_carrier(l) == r->carrier)
		return;
	r->carrier_leaves = true;
	move_important(l, r->carrier->id, SCHED_PARKED);
	leave(l, r->carrier);
}

static void
leave_stand_ins(struct link *l)
{
	for (unsigned i = 0; i < LANE_BULK && lanes_bulk_up(&l->lanes) != 0; i++) {
		struct lane *n = l->lane[i];

		if (n == NULL || !n->stands_in || sched_move_streams(l->q, i, SCHED_PARKED) != 0)
			continue;
		n->stands_in = false;
		leave(l, n);
	}
}

static bool
all_arrived(const struct link *l)
{
	for (unsigned i = 0; i < LANES_MAX; i++)
		if (l->lane[i] != NULL && l->lane[i]->sent.acked_frames < l->lane[i]->barrier_frames)
			return false;
	return true;
}

/* --- going on --- */

static const enum lane_class classes[FRAME_CLASS_COUNT] = {
    [FRAME_CLASS_CONTROL] = LANE_CLASS_PRIORITY,
    [FRAME_CLASS_SYSTEM] = LANE_CLASS_PRIORITY,
    [FRAME_CLASS_DB] = LANE_CLASS_PRIORITY,
    [FRAME_CLASS_CLIENT] = LANE_CLASS_BULK,
};

/* The lanes that take over, one for each class. */
struct heirs {
	struct link *link;
	int lane[FRAME_CLASS_COUNT];
};

static void
heirs_find(struct link *l, struct heirs *h)
{
	size_t queued[LANES_MAX];

	h->link = l;
	for (unsigned i = 0; i < LANES_MAX; i++)
		queued[i] = sched_lane_bytes(l->q, i);
	for (unsigned c = 0; c < FRAME_CLASS_COUNT; c++)
		h->lane[c] = lanes_pick(&l->lanes, classes[c], queued);
	if (l->resume.carrier != NULL)
		h->lane[FRAME_CLASS_SYSTEM] = (int)l->resume.carrier->id;
	h->lane[FRAME_CLASS_DB] = h->lane[FRAME_CLASS_SYSTEM];
	/* There may be large ones among them, which the control lane never carries. */
	if (h->lane[FRAME_CLASS_CONTROL] == LANE_CONTROL && l->lanes.count > 1)
		h->lane[FRAME_CLASS_CONTROL] = LANE_PRIORITY;
}

static int
send_again(void *arg, uint8_t class, const uint8_t *raw, size_t size)
{
	struct heirs *h = arg;

	stat_inc(STAT_RESENT);
	stat_add(STAT_QUEUED, (int64_t)size);
	return sched_resend(h->link->q, (unsigned)h->lane[class], class, raw, size);
}

static bool
all_settled(const struct resume *r)
{
	const struct ghost *g;

	TAILQ_FOREACH (g, &r->ghosts, entry)
		if (!g->settled)
			return false;
	return true;
}

/* The streams last: sched_move() takes along what is left. */
static void
go_on_parked(struct link *l, const struct heirs *h)
{
	if (sched_move_class(
		l->q, SCHED_PARKED, (unsigned)h->lane[FRAME_CLASS_CONTROL], FRAME_CLASS_CONTROL) != 0)
		log_debug("out of memory: control frames go with the streams");
	l->resume.carrier = l->lane[h->lane[FRAME_CLASS_SYSTEM]];
	if (h->lane[FRAME_CLASS_CLIENT] < LANE_BULK)
		l->lane[h->lane[FRAME_CLASS_CLIENT]]->stands_in = true;
	move_important(l, SCHED_PARKED, (unsigned)h->lane[FRAME_CLASS_SYSTEM]);
	sched_move(l->q, SCHED_PARKED, (unsigned)h->lane[FRAME_CLASS_CLIENT]);
}

/* Streams may have been on several of the dead lanes, one after the other: all go on together. */
static void
go_on(struct link *l)
{
	struct resume *r = &l->resume;
	struct heirs h;
	struct ghost *g;

	if (!r->parking || !all_settled(r) || !all_arrived(l) || lanes_up(&l->lanes) == 0)
		return;
	if (r->carrier_leaves)
		r->carrier = NULL;
	r->carrier_leaves = r->parking = false;
	heirs_find(l, &h);
	TAILQ_FOREACH (g, &r->ghosts, entry) {
		if (retain_each(&g->sent, g->sent.acked_frames, send_again, &h) != 0) {
			stat_inc(STAT_DROP_MEMORY);
			log_warn("out of memory: frames of a dead lane are lost, and repaired by their ends");
		}
		retain_fini(&g->sent);
		retain_init(&g->sent);
	}
	go_on_parked(l, &h);
	for (unsigned i = 0; i < LANES_MAX; i++)
		if (l->lane[i] != NULL)
			lane_want_write(l->lane[i]);
}

/* There may be better lanes than those that stand in for them. */
static void
go_back(struct link *l)
{
	if (l->resume.parking)
		return;
	leave_carrier(l);
	leave_stand_ins(l);
	go_on(l);
}

void
resume_spread(struct link *l, struct lane *fresh)
{
	/* Whoever waits for something else now is spread when it goes to a lane again. */
	if (l->resume.parking)
		return;
	for (unsigned i = LANE_BULK; i < LANES_MAX; i++) {
		struct lane *n = l->lane[i];

		if (n == NULL || n == fresh || sched_lane_empty(l->q, i) ||
		    sched_spread(l->q, i, SCHED_PARKED) != 0)
			continue;
		leave(l, n);
	}
	go_on(l);
}

/* received: what the peer got on it. */
static void
settle(struct link *l, struct ghost *g, uint64_t received)
{
	if (g->settled)
		return;
	if (retain_ack(&g->sent, received) != 0) {
		link_close(l, GOAWAY_FLOW, "acknowledges on a closed lane what was not sent");
		return;
	}
	g->settled = true;
	g->tell_until = answer_until(l);
	g->until = mono_add_ms(clock_mono(), LANE_REMEMBER_MS);
	go_on(l);
}

/* --- events --- */

void
resume_acked(struct link *l)
{
	if (l->resume.parking)
		go_on(l);
}

void
resume_lost(struct link *l, struct lane *n)
{
	struct resume *r = &l->resume;
	struct ghost *g = ghost_new(r);

	sched_move(l->q, n->id, SCHED_PARKED);
	r->parking = true;
	if (r->carrier == n) {
		r->carrier = NULL;
		r->carrier_leaves = false;
	}
	if (g == NULL) {
		stat_inc(STAT_DROP_MEMORY);
		go_on(l);
		return;
	}
	g->conn = n->conn->number;
	g->lane = n->id;
	g->received_frames = n->rx.received_frames;
	g->sent = n->sent;
	retain_init(&n->sent);
	g->until = answer_until(l);
	TAILQ_INSERT_TAIL(&r->ghosts, g, entry);
	r->count++;
	/* What was to be told on this lane is told again; an answer, too, that the peer may have missed. */
	TAILQ_FOREACH (g, &r->ghosts, entry)
		if (!g->settled || mono_before(clock_mono(), g->tell_until))
			tell(l, g);
}

void
resume_lane_up(struct link *l)
{
	struct ghost *g;

	TAILQ_FOREACH (g, &l->resume.ghosts, entry)
		if (!g->settled)
			tell(l, g);
	go_on(l);
	go_back(l);
}

static struct lane *
lane_of(struct link *l, uint64_t conn)
{
	for (unsigned i = 0; i < LANES_MAX; i++)
		if (l->lane[i] != NULL && l->lane[i]->conn->number == conn)
			return l->lane[i];
	return NULL;
}

void
resume_note(struct link *l, const struct lane_note *n)
{
	struct ghost *g = ghost_get(&l->resume, n->conn);
	struct lane *living = lane_of(l, n->conn);

	if (living != NULL) {
		/* The peer has noticed first. */
		conn_kill(living->conn, GOAWAY_DEAD, "the peer has noticed");
		g = ghost_get(&l->resume, n->conn);
	}
	if (g != NULL) {
		settle(l, g, n->op == LANE_OP_CLOSED ? n->received_frames : 0);
		return;
	}
	if (n->op == LANE_OP_CLOSED && link_control(l) != NULL) {
		struct lane_note answer = {.op = LANE_OP_UNKNOWN, .lane = n->lane, .conn = n->conn};

		/* The answer must stay true. */
		conn_given_up(l->t, l->node, n->conn);
		lane_note(link_control(l), &answer);
	}
}

void
resume_tick(struct link *l, struct mono now)
{
	struct ghost *g, *next;

	for (g = TAILQ_FIRST(&l->resume.ghosts); g != NULL; g = next) {
		next = TAILQ_NEXT(g, entry);
		if (mono_before(now, g->until))
			continue;
		if (g->settled && !l->resume.parking) {
			ghost_free(&l->resume, g);
		} else if (!g->settled) {
			stat_add(STAT_LANE_UNRESUMED, (int64_t)(g->sent.sent_frames - g->sent.acked_frames));
			log_warn("%s does not tell what it got of lane %u: its frames are given up", l->name,
			    g->lane);
			retain_fini(&g->sent);
			retain_init(&g->sent);
			g->settled = true;
			g->until = mono_add_ms(now, LANE_REMEMBER_MS);
		}
	}
	go_on(l);
	go_back(l);
}

size_t
resume_bytes(const struct resume *r)
{
	const struct ghost *g;
	size_t bytes = 0;

	TAILQ_FOREACH (g, &r->ghosts, entry)
		bytes += g->sent.memory;
	return bytes;
}
