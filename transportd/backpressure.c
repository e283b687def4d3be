#include "transportd/backpressure.h"

#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/loop.h"
#include "transportd/core/limits.h"
#include "transportd/core/sched.h"
#include "transportd/lane.h"
#include "transportd/stats.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

enum { BEYOND_MARK_BYTES = 1024 * 1024 };

/* --- who is held --- */

struct hold {
	LIST_ENTRY(hold) entry;
	uint64_t dst;
	unsigned reasons;
};

void
holds_init(struct holds *h)
{
	for (unsigned i = 0; i < HOLD_BUCKETS; i++)
		LIST_INIT(&h->buckets[i]);
	h->count = 0;
}

void
holds_fini(struct holds *h)
{
	for (unsigned i = 0; i < HOLD_BUCKETS; i++) {
		struct hold *k;

		while ((k = LIST_FIRST(&h->buckets[i])) != NULL) {
			LIST_REMOVE(k, entry);
			mem_free(k);
		}
	}
	h->count = 0;
}

static struct hold_bucket *
bucket(struct holds *h, uint64_t dst)
{
	return &h->buckets[(dst * 0x9e3779b97f4a7c15ULL) >> 56];
}

static struct hold *
hold_get(struct holds *h, uint64_t dst)
{
	struct hold *k;

	LIST_FOREACH (k, bucket(h, dst), entry)
		if (k->dst == dst)
			return k;
	return NULL;
}

bool
backpressure_hold(struct transport *t, uint64_t dst)
{
	struct hold *k = hold_get(&t->holds, dst);

	if (k == NULL) {
		if (t->holds.count >= HOLDS_MAX || (k = mem_calloc(1, sizeof(*k))) == NULL)
			return false;
		k->dst = dst;
		LIST_INSERT_HEAD(bucket(&t->holds, dst), k, entry);
		t->holds.count++;
	}
	if (k->reasons++ == 0)
		consensus_hold(t, dst, true);
	return true;
}

void
backpressure_release(struct transport *t, uint64_t dst)
{
	struct hold *k = hold_get(&t->holds, dst);

	if (k == NULL || --k->reasons != 0)
		return;
	LIST_REMOVE(k, entry);
	t->holds.count--;
	mem_free(k);
	consensus_hold(t, dst, false);
}

/* --- links --- */

static bool
is_held(const struct link *l, uint64_t dst)
{
	for (size_t i = 0; i < l->held_count; i++)
		if (l->held[i] == dst)
			return true;
	return false;
}

/* The list grows to what is needed; when it is full the rest is not held, but dropped. */
static bool
grow(struct link *l)
{
	size_t cap = l->held_cap != 0 ? l->held_cap * 2 : 16;
	uint64_t *held;

	if (l->held_count < l->held_cap)
		return true;
	if (cap > LINK_HELD_MAX || (held = mem_reallocarray(l->held, cap, sizeof(*held))) == NULL)
		return false;
	l->held = held;
	l->held_cap = cap;
	return true;
}

static void
hold(struct link *l, uint64_t dst)
{
	if (is_held(l, dst) || !grow(l) || !backpressure_hold(l->t, dst))
		return;
	if (l->held_count == 0)
		stat_inc(STAT_HOLDS);
	l->held[l->held_count++] = dst;
}

static void
release_held(struct link *l)
{
	for (size_t i = 0; i < l->held_count; i++)
		backpressure_release(l->t, l->held[i]);
	l->held_count = 0;
}

static void
resume_source(struct link *l)
{
	if (!l->source_paused)
		return;
	l->source_paused = false;
	consensus_unpause(l->t);
}

void
backpressure_queued(struct link *l, uint64_t dst)
{
	if (!sched_high(l->q))
		return;
	if (!reroute_choice(l->t, dst))
		hold(l, dst);
	else if (!reroute_link_full(l->t, dst))
		return; /* other paths have room */
	if (l->source_paused || l->source_pause_spent)
		return;
	l->source_paused = l->source_pause_spent = true;
	consensus_pause(l->t);
}

void
backpressure_drained(struct link *l)
{
	/* A queue that shrinks has a right to another pause. */
	if (!sched_high(l->q)) {
		resume_source(l);
		l->source_pause_spent = false;
	}
	if (!sched_low(l->q))
		return;
	if (l->held_count != 0)
		release_held(l);
	if (l->was_high)
		reroute_link_relieved(l->t);
	l->was_high = false;
}

void
backpressure_forget(struct link *l)
{
	resume_source(l);
	release_held(l);
}

void
backpressure_reset(struct transport *t)
{
	struct link *l;

	holds_fini(&t->holds);
	reroute_reset(t);
	TAILQ_FOREACH (l, &t->links.all, order) {
		l->held_count = 0;
		l->source_paused = false;
	}
}

/* --- inwards --- */

uint64_t
backpressure_room(const struct transport *t)
{
	const struct edge_consensus *e = &t->consensus;
	size_t queued;

	/* What comes meanwhile is dropped at once, or was given up on: it needs no room. */
	if (e->ch == NULL || e->dropping)
		return t->set.lane_window;
	/* A little beyond the mark: the channel tells when it drains only if the mark was passed. */
	queued = channel_queued_bytes(e->ch);
	return queued < CHANNEL_HIGH_BYTES ? CHANNEL_HIGH_BYTES + BEYOND_MARK_BYTES - queued : 0;
}

bool
backpressure_admit(struct transport *t)
{
	struct edge_consensus *e = &t->consensus;

	if (!consensus_full(t))
		return true;
	if (e->dropping)
		return false;
	if (!e->stalling) {
		e->stalling = true;
		stat_inc(STAT_STALLS);
		loop_timer_arm_ms(e->stall_timer, STALL_MS);
	}
	return true; /* it was granted */
}

void
backpressure_relieved(struct transport *t)
{
	struct link *l;

	t->consensus.stalling = false;
	loop_timer_disarm(t->consensus.stall_timer);
	TAILQ_FOREACH (l, &t->links.all, order)
		for (unsigned i = 0; i < LANES_MAX; i++)
			if (l->lane[i] != NULL)
				lane_regrant(l->lane[i]);
}
