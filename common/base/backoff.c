#include "common/base/backoff.h"

#include "common/base/rng.h"

enum { BACKOFF_JITTER_PERCENT = 25 };

void
backoff_init(struct backoff *b, uint32_t min_ms, uint32_t max_ms)
{
	/* Limits come from the configuration, each checked alone: together they may be crossed. */
	b->min_ms = min_ms != 0 ? min_ms : 1;
	b->max_ms = max_ms > b->min_ms ? max_ms : b->min_ms;
	b->next_ms = b->min_ms;
}

uint32_t
backoff_next_ms(struct backoff *b, struct rng *r)
{
	int64_t wait = rng_jitter(r, b->next_ms, BACKOFF_JITTER_PERCENT);

	b->next_ms = b->next_ms > b->max_ms / 2 ? b->max_ms : b->next_ms * 2;
	if (wait < 1)
		return 1;
	return wait > UINT32_MAX ? UINT32_MAX : (uint32_t)wait;
}

void
backoff_ease(struct backoff *b, uint64_t half_lives)
{
	b->next_ms = half_lives < 32 ? b->next_ms >> half_lives : 0;
	if (b->next_ms < b->min_ms)
		b->next_ms = b->min_ms;
}

void
backoff_reset(struct backoff *b)
{
	b->next_ms = b->min_ms;
}
