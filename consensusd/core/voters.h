/*
 * voters: who of a group's members should vote: one step at a time.
 *
 * Few vote, so that commits are quick; enough, and far enough apart in their troubles, that the loss of some
 * does not stop the group.  Each step lets at most one voter in and one out, and leaves a majority of the
 * voters alive if there is a way to.  The first that applies:
 *
 *   - A voter that belongs to the group no more goes: for a ready one if there is one, else without.  If
 * those that are left then had no majority alive, one of them that is gone goes first.
 *   - A voter that is stopped, or gone for gone_us, is replaced by a ready one.  Without one it stays: a
 * group that shrinks whenever it can, ends with those who can't be asked when the others come back.
 *   - Ready ones come in up to the wanted number, or the largest odd one that there are members for: a second
 *     or a fourth voter only adds one that has to be there.
 *   - Voters beyond the wanted number go, the worst first; and one of an even number above 3.  One of two
 * stays: there are then two copies of what was committed.
 *
 * Who votes stays as long as it is well: a better one is no reason for a change.  Ready: alive for stable_us,
 * with the log, not stopped.  Of ready ones the best is the one with the lowest round trip time, then with
 * the most links, then with the lowest node id.
 */
#ifndef CONSENSUSD_CORE_VOTERS_H
#define CONSENSUSD_CORE_VOTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/core/raft_config.h"

struct voters_candidate {
	uint64_t replica, node;
	bool voter;       /* now */
	bool alive;       /* the node can be reached */
	int64_t since_us; /* it has been alive, or gone, for so long */
	bool caught_up;   /* it has the log but for the last few entries */
	bool stopped;     /* it said that it is going down */
	bool removed;     /* it left, was evicted, or began anew as another replica */
	int64_t rtt_us;   /* typical, to the others; 0: not known, counts as worst */
	uint32_t links;   /* to neighbours */
};

struct voters_settings {
	uint32_t wanted; /* an even number counts as the odd one below it */
	int64_t stable_us, gone_us;
};

struct voters_step {
	uint64_t in, out; /* replicas; 0: none */
	size_t count;     /* the voters after it, ascending */
	uint64_t replicas[RAFT_VOTERS_MAX];
};

/* Candidates: all members, each replica once, in any order; up to RAFT_VOTERS_MAX of them vote.  False: all
 * is as it should be, or nothing can be done. */
bool voters_next(const struct voters_candidate *all, size_t count, const struct voters_settings *set,
    struct voters_step *out) MUST_USE;

#endif
