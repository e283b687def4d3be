/*
 * rng: a small deterministic random generator (xoshiro256**, Blackman and Vigna 2018) for jitter
 * and simulation.  Seeded by the caller; never for keys, nonces or ids (see common/os/crypto.h).
 */
#ifndef COMMON_BASE_RNG_H
#define COMMON_BASE_RNG_H

#include <stdint.h>

struct rng {
	uint64_t s[4];
};

/* Any seed is fine, 0 too (expanded with splitmix64). */
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
/* Uniform in [0, n); n must not be 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* value +/- percent %, uniformly: jitter for timers. */
int64_t rng_jitter(struct rng *r, int64_t value, unsigned percent);

#endif
