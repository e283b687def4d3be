/*
 * warmth: how well each node was reached by the flows that go there, so that a new flow, and all of them
 * after a restart, need not find that out from nothing.
 *
 * Every WARMTH_MS the mean window and round trip of the flows to a node are kept, here and, if there is one,
 * in Redis: the hashes credits:{node} and path:{node}, for WARMTH_TTL_S.  Redis is read once, when streams
 * are loaded and it is there; nothing waits for that.  Whatever it says, a window is bounded by stream-window
 * and by what the target grants, and a time-out by retransmit-max.
 */
#ifndef CONSENSUSD_WARMTH_H
#define CONSENSUSD_WARMTH_H

#include "common/base/must.h"

struct cache;
struct engine;
struct flow;
struct node;
struct warmth;

/* NULL: no memory. */
struct warmth *warmth_new(struct engine *e) MUST_USE;
void warmth_free(struct warmth *w);
/* Redis, borrowed; NULL: none. */
void warmth_attach(struct warmth *w, struct cache *c);
/* Redis is connected, or streams are loaded: with both, what it knows is asked for. */
void warmth_up(struct warmth *w);
/* A flow of which nothing is known begins with half of what others to its node had. */
void warmth_apply(struct flow *f, const struct node *n);

#endif
