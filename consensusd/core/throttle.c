/* throttle: see throttle.h. */
#include "consensusd/core/throttle.h"

/* Debt never needs to be exact beyond an hour, and must not overflow. */
#define UNIT INT64_C(1000000)
enum { DEBT_MAX_S = 3600 };

/* At least one: or a slow rate would let nothing go. */
static int64_t
burst(const struct throttle_bucket *b)
{
	int64_t n = b->rate * THROTTLE_BURST_MS / 1000;

	return (n > 0 ? n : 1) * UNIT;
}

static void
fill(struct throttle_bucket *b, int64_t us)
{
	int64_t more, max = burst(b);

	if (b->rate == 0)
		return;
	if (us > DEBT_MAX_S * UNIT || __builtin_mul_overflow(us, b->rate, &more) ||
	    __builtin_add_overflow(b->left_us, more, &b->left_us) || b->left_us > max)
		b->left_us = max;
}

static void
advance(struct throttle *t, struct mono now)
{
	int64_t us = mono_diff_us(now, t->at);

	if (us <= 0)
		return;
	fill(&t->messages, us);
	fill(&t->bytes, us);
	t->at = now;
}

static void
take(struct throttle_bucket *b, uint64_t n)
{
	int64_t cost, most = b->rate * DEBT_MAX_S;

	if (b->rate == 0)
		return;
	cost = n < (uint64_t)(INT64_MAX / UNIT) ? (int64_t)n * UNIT : INT64_MAX;
	if (most < INT64_MAX / UNIT && cost > most * UNIT)
		cost = most * UNIT;
	if (__builtin_sub_overflow(b->left_us, cost, &b->left_us))
		b->left_us = INT64_MIN / 2;
}

void
throttle_init(struct throttle *t, int64_t messages_per_s, int64_t bytes_per_s, struct mono now)
{
	*t = (struct throttle){.messages.rate = messages_per_s, .bytes.rate = bytes_per_s, .at = now};
	t->messages.left_us = burst(&t->messages);
	t->bytes.left_us = burst(&t->bytes);
}

static void
change(struct throttle_bucket *b, int64_t rate)
{
	int64_t debt_s = 0;

	if (b->rate > 0 && b->left_us < 0)
		debt_s = -(b->left_us / UNIT) / b->rate;
	b->rate = rate;
	if (rate == 0 || b->left_us > burst(b))
		b->left_us = burst(b);
	else if (debt_s > 0)
		b->left_us = -debt_s * rate > INT64_MIN / UNIT ? -debt_s * rate * UNIT : INT64_MIN / 2;
}

void
throttle_set(struct throttle *t, int64_t messages_per_s, int64_t bytes_per_s, struct mono now)
{
	advance(t, now);
	change(&t->messages, messages_per_s);
	change(&t->bytes, bytes_per_s);
}

static bool
ready(const struct throttle_bucket *b)
{
	return b->rate == 0 || b->left_us > 0;
}

bool
throttle_ready(struct throttle *t, struct mono now)
{
	advance(t, now);
	return ready(&t->messages) && ready(&t->bytes);
}

void
throttle_take(struct throttle *t, struct mono now, uint64_t messages, uint64_t bytes)
{
	advance(t, now);
	take(&t->messages, messages);
	take(&t->bytes, bytes);
}

/* Microseconds until there is a whole unit, so that what waits for it is not woken for a part of one. */
static int64_t
wait_us(const struct throttle_bucket *b)
{
	int64_t lack;

	if (ready(b))
		return 0;
	lack = UNIT - b->left_us;
	return lack / b->rate + 1;
}

struct mono
throttle_next(struct throttle *t, struct mono now)
{
	int64_t messages, bytes;

	advance(t, now);
	messages = wait_us(&t->messages);
	bytes = wait_us(&t->bytes);
	return mono_add_us(now, messages > bytes ? messages : bytes);
}

uint64_t
throttle_burst_bytes(const struct throttle *t)
{
	return t->bytes.rate == 0 ? UINT64_MAX : (uint64_t)(burst(&t->bytes) / UNIT);
}

uint32_t
throttle_burst_messages(const struct throttle *t)
{
	int64_t n = burst(&t->messages) / UNIT;

	return t->messages.rate == 0 || n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}
