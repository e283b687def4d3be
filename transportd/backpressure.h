/*
 * backpressure: a full link or path slows its sources down, a slow consensusd slows its neighbours down.
 *
 * Outwards: when a link's queue is over its high mark, or a path has as much on its way as its window
 * allows, consensusd is told to hold the destinations it sends over it (HOLD), until there is room.
 * What it had sent before it heard that is given time to leave: consensusd is not read for up to
 * LOCAL_PAUSE_MS.  After that its frames are dropped like anybody's, because one dead link must not
 * stop all others.
 *
 * Inwards: neighbours are granted no more on their bulk lanes than the channel to consensusd has room
 * for.  A channel that stays full for STALL_MS is given up on: frames for consensusd are dropped, and
 * grants go on, because the same lanes carry traffic for others.
 */
#ifndef TRANSPORTD_BACKPRESSURE_H
#define TRANSPORTD_BACKPRESSURE_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hold;
struct link;
struct transport;

enum { HOLD_BUCKETS = 256 };

LIST_HEAD(hold_bucket, hold);

/* Destinations that consensusd holds, each with the number of links and paths that want it. */
struct holds {
	struct hold_bucket buckets[HOLD_BUCKETS];
	size_t count;
};

void holds_init(struct holds *h);
void holds_fini(struct holds *h);

/* One more reason to hold dst; false: not held (the table is full, or there is no memory). */
bool backpressure_hold(struct transport *t, uint64_t dst);
/* One reason less. */
void backpressure_release(struct transport *t, uint64_t dst);

/* A frame of consensusd to dst was queued on l. */
void backpressure_queued(struct link *l, uint64_t dst);
/* Something of l's queue was written. */
void backpressure_drained(struct link *l);
/* l is going away. */
void backpressure_forget(struct link *l);
/* consensusd has restarted: it holds nothing. */
void backpressure_reset(struct transport *t);

/* Bytes that consensusd's channel has room for. */
uint64_t backpressure_room(const struct transport *t);
/* A frame for consensusd came: false if it is to be dropped. */
bool backpressure_admit(struct transport *t);
/* The channel to consensusd is below its low mark, or gone, or given up on. */
void backpressure_relieved(struct transport *t);

#endif
