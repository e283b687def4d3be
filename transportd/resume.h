/*
 * resume: what was on its way on connections that are gone, until both ends agree what has arrived.
 *
 * When a lane's connection ends, each side tells the other over another lane how many frames it got on
 * it (LANE frame, closed).  What the other did not get is sent again, before the streams that were on
 * that lane go on elsewhere; until then they are parked.  So nothing is lost, doubled or put out of order.
 * What a lane carries for another that is missing goes back when that is there: parked again until all
 * that is on its way has arrived.
 * A peer that does not answer in time (LANE_RESUME_MS) has lost it: then the ends of the streams repair.
 */
#ifndef TRANSPORTD_RESUME_H
#define TRANSPORTD_RESUME_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "transportd/core/retain.h"

struct lane;
struct lane_note;
struct link;

/* One connection that is gone. */
struct ghost {
	TAILQ_ENTRY(ghost) entry;
	uint64_t conn;
	unsigned lane;
	uint64_t received_frames; /* on it, by us */
	struct retain sent;
	bool settled;
	struct mono tell_until; /* settled: the peer may not know yet */
	struct mono until;      /* unsettled: the peer's time is over; settled: it is forgotten */
};

TAILQ_HEAD(ghosts, ghost);

struct resume {
	struct ghosts ghosts; /* in the order of their end */
	size_t count;
	bool parking; /* streams are parked */
	/* System and DB frames are all on one lane at a time, to keep their order. */
	struct lane *carrier; /* NULL: none yet, or it has gone */
	bool carrier_leaves;  /* they are parked, too, to go on elsewhere */
};

void resume_init(struct resume *r);
void resume_fini(struct resume *r);

/* A lane has ended: takes what it had sent, parks its streams, and tells the peer over the others. */
void resume_lost(struct link *l, struct lane *n);
/* A lane is up: tells the peer again what it may not have heard, and goes on with what was parked. */
void resume_lane_up(struct link *l);
/* A bulk lane was added to busy ones: every second of their streams goes to it, when what they have on
 * their way has arrived. */
void resume_spread(struct link *l, struct lane *fresh);
/* Where a system or DB frame is queued: a lane, or SCHED_PARKED. */
unsigned resume_carrier(struct link *l);
/* The peer has acknowledged frames on some lane. */
void resume_acked(struct link *l);
/* A note of the peer: CLOSED or UNKNOWN. */
void resume_note(struct link *l, const struct lane_note *n);
/* Time passes. */
void resume_tick(struct link *l, struct mono now);
size_t resume_bytes(const struct resume *r); /* kept */

#endif
