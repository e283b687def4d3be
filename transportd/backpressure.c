#include "transportd/backpressure.h"

#include "common/os/clock.h"
#include "common/os/loop.h"
#include "transportd/core/limits.h"
#include "transportd/stats.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

/* --- outwards --- */

static bool
is_held(const struct link *l, uint64_t dst)
{
	for (size_t i = 0; i < l->held_count; i++)
		if (l->held[i] == dst)
			return true;
	return false;
}

/* When the list is full the rest is not held, but dropped. */
static void
hold(struct link *l, uint64_t dst)
{
	if (l->held_count == LINK_HELD_MAX || is_held(l, dst))
		return;
	if (l->held_count == 0)
		stat_inc(STAT_HOLDS);
	l->held[l->held_count++] = dst;
	consensus_hold(l->t, dst, true);
}

static void
release_held(struct link *l)
{
	for (size_t i = 0; i < l->held_count; i++)
		consensus_hold(l->t, l->held[i], false);
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
	if (!txq_high(&l->q))
		return;
	hold(l, dst);
	if (l->source_paused || l->source_pause_spent)
		return;
	l->source_paused = l->source_pause_spent = true;
	consensus_pause(l->t);
}

void
backpressure_drained(struct link *l)
{
	/* A queue that shrinks has a right to another pause. */
	if (!txq_high(&l->q)) {
		resume_source(l);
		l->source_pause_spent = false;
	}
	if (txq_low(&l->q))
		release_held(l);
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

	TAILQ_FOREACH (l, &t->links.all, order) {
		l->held_count = 0;
		l->source_paused = false;
	}
}

/* --- inwards --- */

bool
backpressure_admit(struct link *l)
{
	struct edge_consensus *e = &l->t->consensus;

	if (!consensus_full(l->t))
		return true;
	if (e->dropping)
		return false;
	if (!l->stalled && l->conn != NULL) {
		if (!e->stalling) {
			e->stalling = true;
			stat_inc(STAT_STALLS);
			loop_timer_arm_ms(e->stall_timer, STALL_MS);
		}
		l->stalled = true;
		ws_pause(l->conn->ws, true);
	}
	return true; /* what was read already */
}

void
backpressure_relieved(struct transport *t)
{
	struct link *l;

	t->consensus.stalling = false;
	loop_timer_disarm(t->consensus.stall_timer);
	TAILQ_FOREACH (l, &t->links.all, order) {
		if (!l->stalled)
			continue;
		l->stalled = false;
		link_heard(l);
		ws_pause(l->conn->ws, false);
	}
}
