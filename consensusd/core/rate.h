/*
 * rate: how much goes through per second: totals, and the mean of the last seconds.
 *
 * What comes is counted by the second that it comes in; the mean is over the seconds that are over, so that a
 * burst does not show as more than it was.
 */
#ifndef CONSENSUSD_CORE_RATE_H
#define CONSENSUSD_CORE_RATE_H

#include <stdint.h>

#include "common/base/mono.h"

enum { RATE_SECONDS = 5, RATE_SLOTS = 8 }; /* slots: a power of two above the seconds */

struct rate_sum {
	uint64_t messages, bytes;
};

/* All zero before its first use. */
struct rate {
	struct rate_sum total, slots[RATE_SLOTS];
	int64_t begin_s, newest_s; /* of the first and the newest second that something came in; 0: none */
};

void rate_add(struct rate *r, struct mono now, uint64_t messages, uint64_t bytes);
/* Per second, rounded; zero if nothing came for RATE_SECONDS. */
struct rate_sum rate_get(const struct rate *r, struct mono now);

#endif
