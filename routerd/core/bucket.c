#include "routerd/core/bucket.h"

void
bucket_init(struct bucket *b, uint32_t burst, int64_t interval_us, struct mono now)
{
	*b = (struct bucket){now, burst, burst, interval_us};
}

bool
bucket_ready(struct bucket *b, struct mono now)
{
	int64_t earned = mono_diff_us(now, b->refilled) / b->interval_us;

	if (earned >= (int64_t)(b->burst - b->tokens)) {
		b->tokens = b->burst;
		b->refilled = now;
	} else if (earned > 0) {
		b->tokens += (uint32_t)earned;
		b->refilled = mono_add_us(b->refilled, earned * b->interval_us);
	}
	return b->tokens != 0;
}

void
bucket_take(struct bucket *b, struct mono now)
{
	if (bucket_ready(b, now))
		b->tokens--;
}

struct mono
bucket_next(const struct bucket *b)
{
	return b->tokens != 0 ? b->refilled : mono_add_us(b->refilled, b->interval_us);
}
