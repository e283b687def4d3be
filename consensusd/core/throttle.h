/*
 * throttle: a rate that is not exceeded, in messages and in bytes: two token buckets.
 *
 * Something may go while both buckets have something left, however large it is: then they are in debt, and
 * nothing goes until the debt is paid.  So a message larger than a bucket goes too, and the mean is the rate.
 * A bucket holds what the rate gives in THROTTLE_BURST_MS.
 */
#ifndef CONSENSUSD_CORE_THROTTLE_H
#define CONSENSUSD_CORE_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/mono.h"

#define THROTTLE_RATE_MAX INT64_C(1000000000000) /* per second; more makes no difference */

enum { THROTTLE_BURST_MS = 250 };

struct throttle_bucket {
	int64_t rate;    /* per second; 0: no limit */
	int64_t left_us; /* what is left, times a million; negative: debt */
};

struct throttle {
	struct throttle_bucket messages, bytes;
	struct mono at; /* up to when the buckets were filled */
};

/* Full buckets.  Rates in 0..THROTTLE_RATE_MAX, 0: no limit. */
void throttle_init(struct throttle *t, int64_t messages_per_s, int64_t bytes_per_s, struct mono now);
/* Another rate; debt stays, in time. */
void throttle_set(struct throttle *t, int64_t messages_per_s, int64_t bytes_per_s, struct mono now);
/* Whether something may go now. */
bool throttle_ready(struct throttle *t, struct mono now);
/* It went. */
void throttle_take(struct throttle *t, struct mono now, uint64_t messages, uint64_t bytes);
/* When something may go again: now or later. */
struct mono throttle_next(struct throttle *t, struct mono now);
/* How much may be read at once to be sent: what the buckets hold, at least one byte. */
uint64_t throttle_burst_bytes(const struct throttle *t);
/* Messages that a batch should not have more of, so that it does not stop the stream for long; at least one.
 */
uint32_t throttle_burst_messages(const struct throttle *t);

#endif
