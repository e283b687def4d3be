#include "common/base/rng.h"

#include "common/base/must.h"

static uint64_t
rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static uint64_t
splitmix64(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

void
rng_seed(struct rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		r->s[i] = splitmix64(&seed);
}

uint64_t
rng_u64(struct rng *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t
rng_below(struct rng *r, uint64_t n)
{
	uint64_t x, low;

	MUST(n != 0);
	/* 2^64 mod n: values below it would make the small remainders more likely. */
	low = (0 - n) % n;
	do {
		x = rng_u64(r);
	} while (x < low);
	return x % n;
}

int64_t
rng_jitter(struct rng *r, int64_t value, unsigned percent)
{
	uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	uint64_t span;
	int64_t offset, out;

	MUST(percent <= 100);
	if (size > INT64_MAX)
		size = INT64_MAX;
	span = size / 100 * percent + size % 100 * percent / 100;
	offset = (int64_t)(rng_below(r, 2 * span + 1) - span);
	if (__builtin_add_overflow(value, offset, &out))
		return value < 0 ? INT64_MIN : INT64_MAX;
	return out;
}
