/*
 * backpressure: a full link slows its sources down, a slow consensusd slows its neighbours down.
 *
 * Outwards: when a link's queue is over its high mark, consensusd is told to hold the destinations it
 * sends over it (HOLD), until the low mark.  What it had sent before it heard that is given time to
 * leave: consensusd is not read for up to LOCAL_PAUSE_MS.  After that its frames are dropped like
 * anybody's, because one dead link must not stop all others.
 *
 * Inwards: when the channel to consensusd is over its mark, neighbours that send to it are not read
 * for up to STALL_MS.  After that frames for it are dropped, because the same connections carry
 * routing and relayed traffic.
 */
#ifndef TRANSPORTD_BACKPRESSURE_H
#define TRANSPORTD_BACKPRESSURE_H

#include <stdbool.h>
#include <stdint.h>

struct link;
struct transport;

/* A frame of consensusd to dst was queued on l. */
void backpressure_queued(struct link *l, uint64_t dst);
/* Something of l's queue was written. */
void backpressure_drained(struct link *l);
/* l is going away. */
void backpressure_forget(struct link *l);
/* consensusd has restarted: it holds nothing. */
void backpressure_reset(struct transport *t);

/* A frame for consensusd came from l: false if it is to be dropped. */
bool backpressure_admit(struct link *l);
/* The channel to consensusd is below its low mark, or gone. */
void backpressure_relieved(struct transport *t);

#endif
