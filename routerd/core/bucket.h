/*
 * bucket: a token bucket: a burst, then one per interval.
 */
#ifndef ROUTERD_CORE_BUCKET_H
#define ROUTERD_CORE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/mono.h"

struct bucket {
	struct mono refilled; /* when tokens was last right */
	uint32_t tokens, burst;
	int64_t interval_us;
};

/* A full bucket. */
void bucket_init(struct bucket *b, uint32_t burst, int64_t interval_us, struct mono now);
/* Is there a token? */
bool bucket_ready(struct bucket *b, struct mono now);
/* Takes one, if there is one. */
void bucket_take(struct bucket *b, struct mono now);
/* When there will be one: in the past if there is. */
struct mono bucket_next(const struct bucket *b);

#endif
