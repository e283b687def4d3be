#include "routerd/core/cost.h"

#include "routerd/core/lsa.h"

_Static_assert((uint64_t)COST_MAX *PATH_HOPS_MAX <= UINT32_MAX, "the cost of a path fits 32 bits");
_Static_assert((uint64_t)LSA_WEIGHT_NEVER *COST_WEIGHT_US + COST_DAMPED_US < COST_MAX,
    "the largest weight tells links from each other");

/* Control, system and database traffic is small and waited for; client data also needs room. */
const struct cost_coefficients cost_defaults[FRAME_CLASS_COUNT] = {
    [FRAME_CLASS_CONTROL] = {.latency = 100, .loss = 100, .hops = 100},
    [FRAME_CLASS_SYSTEM] = {.latency = 100, .loss = 100, .hops = 100},
    [FRAME_CLASS_DB] = {.latency = 100, .loss = 100, .hops = 100},
    [FRAME_CLASS_CLIENT] = {.latency = 100, .bandwidth = 100, .utilisation = 100, .loss = 100, .hops = 100},
};

enum { FRACTION_BITS = 24, PPM = 1000 * 1000, LN2_MILLIONTHS = 693147 };

uint32_t
cost_loss(uint32_t ppm)
{
	uint64_t x, bits = 0;

	if (ppm > COST_LOSS_MAX_PPM)
		ppm = COST_LOSS_MAX_PPM;
	/* 1 / (1 - p), as a fixed point number; its binary logarithm bit by bit: squaring doubles it. */
	x = ((uint64_t)PPM << FRACTION_BITS) / (PPM - ppm);
	for (; x >= 2ULL << FRACTION_BITS; x >>= 1)
		bits += 1ULL << FRACTION_BITS;
	for (uint64_t bit = 1ULL << (FRACTION_BITS - 1); bit != 0; bit >>= 1) {
		x = x * x >> FRACTION_BITS;
		if (x >= 2ULL << FRACTION_BITS) {
			x >>= 1;
			bits += bit;
		}
	}
	return (uint32_t)(bits * LN2_MILLIONTHS >> FRACTION_BITS);
}

static uint64_t
in_steps(uint32_t value, uint32_t step)
{
	return ((uint64_t)value + step / 2) / step * step;
}

/* In steps of an eighth of its power of two. */
uint64_t
cost_bandwidth_us(uint32_t kbps)
{
	unsigned shift = 0;

	if (kbps == 0)
		kbps = COST_UNKNOWN_KBPS;
	while (kbps >> shift >= 16)
		shift++;
	return (uint64_t)COST_CHUNK_BITS * 1000 / ((uint64_t)(kbps >> shift) << shift);
}

static uint64_t
loss_us(uint32_t ppm)
{
	uint64_t steps = in_steps(ppm < PPM ? ppm : PPM, COST_LOSS_STEP_PPM);

	return steps != 0 ? (uint64_t)cost_loss((uint32_t)steps) * COST_LOSS_US / PPM : 0;
}

/* 0 to COST_BUSY_STEPS. */
static uint64_t
busy_steps(uint16_t permille)
{
	enum { STEP = (1000 - COST_BUSY_PERMILLE) / COST_BUSY_STEPS };
	uint32_t used = permille < 1000 ? permille : 1000;

	return used > COST_BUSY_PERMILLE ? (used - COST_BUSY_PERMILLE + STEP / 2) / STEP : 0;
}

uint32_t
cost_link(const struct cost_coefficients *c, const struct lsa_adj *a)
{
	uint64_t cost = in_steps(a->latency_us, COST_STEP_US) * c->latency;

	cost += (uint64_t)COST_HOP_US * c->hops;
	if (c->bandwidth != 0)
		cost += cost_bandwidth_us(a->bandwidth_kbps) * c->bandwidth;
	if (a->loss_ppm != 0)
		cost += loss_us(a->loss_ppm) * c->loss;
	cost /= 100;
	cost += cost * COST_BUSY_PERCENT * c->utilisation * busy_steps(a->utilisation_permille) /
		((uint64_t)COST_BUSY_STEPS * 100 * 100);
	cost += (uint64_t)a->weight * COST_WEIGHT_US;
	if (cost == 0)
		return 1;
	return cost < COST_MAX ? (uint32_t)cost : COST_MAX;
}

uint32_t
cost_damped(uint32_t cost)
{
	return cost < COST_MAX - COST_DAMPED_US ? cost + COST_DAMPED_US : COST_MAX;
}

/* --- profiles --- */

static bool
coefficients_equal(const struct cost_coefficients *a, const struct cost_coefficients *b)
{
	return a->latency == b->latency && a->bandwidth == b->bandwidth && a->utilisation == b->utilisation &&
	       a->loss == b->loss && a->hops == b->hops;
}

void
cost_profiles_make(struct cost_profiles *p, const struct cost_coefficients by_class[FRAME_CLASS_COUNT])
{
	*p = (struct cost_profiles){0};
	for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++) {
		size_t k = 0;

		while (k < p->count && !coefficients_equal(&p->coefficients[k], &by_class[i]))
			k++;
		if (k == p->count)
			p->coefficients[p->count++] = by_class[i];
		p->class_mask[k] |= (uint8_t)(1u << i);
	}
}

bool
cost_profiles_equal(const struct cost_profiles *a, const struct cost_profiles *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->class_mask[i] != b->class_mask[i] ||
		    !coefficients_equal(&a->coefficients[i], &b->coefficients[i]))
			return false;
	return true;
}
