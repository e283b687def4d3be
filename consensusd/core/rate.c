/* rate: see rate.h. */
#include "consensusd/core/rate.h"

static int64_t
second_of(struct mono t)
{
	/* Never zero: that stands for "none". */
	return t.us / 1000000 + 1;
}

/* Seconds that nothing came in have empty slots. */
static void
move_to(struct rate *r, int64_t second)
{
	int64_t from = r->newest_s;

	if (r->begin_s == 0)
		r->begin_s = from = second;
	if (second - from > RATE_SLOTS)
		from = second - RATE_SLOTS;
	for (int64_t s = from + 1; s <= second; s++)
		r->slots[s & (RATE_SLOTS - 1)] = (struct rate_sum){0};
	if (second > r->newest_s)
		r->newest_s = second;
}

void
rate_add(struct rate *r, struct mono now, uint64_t messages, uint64_t bytes)
{
	int64_t second = second_of(now);
	struct rate_sum *slot;

	move_to(r, second);
	slot = &r->slots[r->newest_s & (RATE_SLOTS - 1)];
	slot->messages += messages;
	slot->bytes += bytes;
	r->total.messages += messages;
	r->total.bytes += bytes;
}

struct rate_sum
rate_get(const struct rate *r, struct mono now)
{
	struct rate_sum sum = {0};
	int64_t end = second_of(now), first = end - RATE_SECONDS, count;

	if (r->begin_s == 0)
		return sum;
	if (first < r->begin_s)
		first = r->begin_s;
	/* In its first second there is nothing better than what came so far. */
	if (first == end)
		end++;
	count = end - first;
	for (int64_t s = first; s < end; s++) {
		if (s > r->newest_s || s <= r->newest_s - RATE_SLOTS)
			continue;
		sum.messages += r->slots[s & (RATE_SLOTS - 1)].messages;
		sum.bytes += r->slots[s & (RATE_SLOTS - 1)].bytes;
	}
	if (count > 0) {
		sum.messages = (sum.messages + (uint64_t)count / 2) / (uint64_t)count;
		sum.bytes = (sum.bytes + (uint64_t)count / 2) / (uint64_t)count;
	}
	return sum;
}
