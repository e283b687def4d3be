/*
 * backway: over which neighbour the client data of a source has come lately.
 *
 * Acknowledgements go back over it: the link that has just carried data works, while what this node knows
 * about other ways may be as old as a failed heartbeat and a flooded LSA.  A table of fixed size: of two
 * sources that share a slot the later one counts.  Whoever invents a source can at most move the
 * acknowledgements for it to another of the installed paths.  Pure.
 */
#ifndef TRANSPORTD_CORE_BACKWAY_H
#define TRANSPORTD_CORE_BACKWAY_H

#include <stdint.h>

#include "common/base/mono.h"

enum { BACKWAY_SLOTS = 1024, BACKWAY_FRESH_MS = 1000 };

struct backway {
	struct {
		uint64_t src, via;
		struct mono at;
	} slots[BACKWAY_SLOTS];
};

void backway_note(struct backway *b, uint64_t src, uint64_t via, struct mono now);
/* The neighbour, or 0: nothing has come lately. */
uint64_t backway_get(const struct backway *b, uint64_t src, struct mono now);

#endif
