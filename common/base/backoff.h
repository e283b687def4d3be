/*
 * backoff: exponential delays with jitter, for reconnects and retransmission.
 */
#ifndef COMMON_BASE_BACKOFF_H
#define COMMON_BASE_BACKOFF_H

#include <stdint.h>

struct rng;

struct backoff {
	uint32_t min_ms, max_ms;
	uint32_t next_ms; /* what the next failure waits, before jitter */
};

void backoff_init(struct backoff *b, uint32_t min_ms, uint32_t max_ms);
/* The delay to wait now (with +/- 25 % jitter, at least 1 ms); doubles the next one up to max_ms. */
uint32_t backoff_next_ms(struct backoff *b, struct rng *r);
/* After a success: start again at min_ms. */
void backoff_reset(struct backoff *b);
/* After a success that lasted: each half life halves what the next failure waits, down to min_ms. */
void backoff_ease(struct backoff *b, uint64_t half_lives);

#endif
