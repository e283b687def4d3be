/*
 * samples: latencies and their percentiles.  Exact up to SAMPLES_MAX values, then a uniform sample of
 * all (algorithm R of Vitter, "Random Sampling with a Reservoir", 1985).
 */
#ifndef MESHCTL_SAMPLES_H
#define MESHCTL_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"

enum { SAMPLES_MAX = 1000000 };

struct samples {
	uint32_t *us;
	size_t count, cap;
	uint64_t seen;
	struct rng rng;
};

void samples_init(struct samples *s);
void samples_fini(struct samples *s);
/* Without memory the value is left out. */
void samples_add(struct samples *s, int64_t us);
/* The value that permille of all values do not exceed; 0 if there are none.  Sorts. */
uint32_t samples_get(struct samples *s, unsigned permille);

#endif
