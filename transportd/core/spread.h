/*
 * spread: over which of its paths a frame of client data leaves.
 *
 * The frames of a stream that take different paths overtake each other; the target restores the order, but
 * its source takes what is late for lost.  So a stream is moved only where that pays:
 *
 *  - While the best path has less than half of its window on its way, all take it.
 *  - Above that, a stream which pauses for SPREAD_FLOWLET_MS begins anew (a flowlet: Kandula et al., Dynamic
 *    load balancing without packet reordering, 2007), on the path whose turn it is: smooth weighted
 *    round robin by bytes, with the rates that the paths were measured to have, or else the weights that
 *    routerd gave them.
 *  - A stream stays on its path as long as that has room.  When its window is full the stream goes on on
 *    the path whose turn it is.  So one stream can use all paths: each path's window is kept full, and
 *    the rates at which they are answered decide how much each one carries, whatever the weights are.
 *  - After SPREAD_STAY_MS the choice is made again, or a stream that never pauses would stay away from the
 *    best path for ever.
 *
 * Only the least bad paths (pathhealth.h) whose first link is up are chosen from.  Streams are remembered
 * in a table of fixed size; two that share a slot change paths more often, and lose nothing.  Pure.
 */
#ifndef TRANSPORTD_CORE_SPREAD_H
#define TRANSPORTD_CORE_SPREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "transportd/core/limits.h"

enum {
	SPREAD_FLOWS = 4096,
	SPREAD_FLOWLET_MS = 100, /* longer than paths that are used together differ */
	SPREAD_STAY_MS = 1000,
	SPREAD_CREDIT_BYTES = 128 * 1024, /* what a path may be behind or ahead of its share */
};

struct spread_path {
	uint32_t path_id;
	uint32_t weight;            /* of the FIB */
	uint64_t rate;              /* measured, in bytes per second; 0: not known */
	uint64_t window, in_flight; /* in bytes */
	unsigned badness;
	bool alive;     /* its first link is up */
	bool full;      /* nothing more may be sent on it now */
	int64_t credit; /* in bytes: kept by the caller from call to call, at first 0 */
};

struct spread;

/* NULL: out of memory.  Nothing is allocated later. */
struct spread *spread_new(void) MUST_USE;
void spread_free(struct spread *s);
/* The index of the path that a frame takes, with the credits changed; -1: none is alive.  paths: in the
 * order of the FIB, FIB_PATHS_MAX at most. */
int spread_pick(struct spread *s, uint64_t dst, uint32_t flow, size_t bytes, struct spread_path *paths,
    size_t count, struct mono now);
/* Is there one to choose that is not full?  Also if there is none to choose from at all: nothing is to be
 * waited for then. */
bool spread_room(const struct spread_path *paths, size_t count);

#endif
