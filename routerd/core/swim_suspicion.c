#include "routerd/core/swim_suspicion.h"

#include "common/base/must.h"

/* 1e6 * ln(i + 1). */
static const int32_t ln_micro[SWIM_CONFIRMERS_MAX + 1] = {
    0, 693147, 1098612, 1386294, 1609438, 1791759, 1945910, 2079442, 2197225};

void
swim_suspicion_init(
    struct swim_suspicion *s, uint64_t from, unsigned wanted, int64_t min_us, int64_t max_us, struct mono now)
{
	*s = (struct swim_suspicion){.began = now,
	    .started = now,
	    .heard_at = now,
	    .unlinked_at = now,
	    .min_us = min_us,
	    .max_us = max_us};
	s->wanted = (uint8_t)(wanted < SWIM_CONFIRMERS_MAX ? wanted : SWIM_CONFIRMERS_MAX);
	s->from[0] = from;
}

bool
swim_suspicion_add(struct swim_suspicion *s, uint64_t from)
{
	if (s->count >= s->wanted)
		return false;
	for (size_t i = 0; i <= s->count; i++)
		if (s->from[i] == from)
			return false;
	s->from[++s->count] = from;
	return true;
}

struct mono
swim_suspicion_end(const struct swim_suspicion *s)
{
	int64_t span = s->max_us - s->min_us;

	/* With nobody else to ask, it is as if they had agreed. */
	if (s->wanted == 0 || s->count >= s->wanted)
		return mono_add_us(s->started, s->min_us);
	return mono_add_us(s->started, s->max_us - span * ln_micro[s->count] / ln_micro[s->wanted]);
}

uint32_t
swim_log10_permille(size_t n)
{
	/* log2 in 1/2^16: its integer part, then a bit for each squaring of the rest. */
	uint64_t x = n, log2 = 0;
	unsigned shift;

	MUST(n != 0);
	shift = 63 - (unsigned)__builtin_clzll(x);
	log2 = (uint64_t)shift << 16;
	x = shift >= 31 ? x >> (shift - 31) : x << (31 - shift); /* 1 <= x / 2^31 < 2 */
	for (uint64_t bit = 1 << 15; bit != 0; bit >>= 1) {
		x = x * x >> 31;
		if (x >> 32 != 0) {
			x >>= 1;
			log2 += bit;
		}
	}
	return (uint32_t)((log2 * 301030 / 1000 + (1 << 15)) >> 16);
}

uint32_t
swim_log10_ceil(size_t n)
{
	uint32_t digits = 0;

	for (; n != 0; n /= 10)
		digits++;
	return digits;
}
