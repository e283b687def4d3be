/*
 * cost: what a link costs a path: microseconds, more or less.
 *
 * Latency in steps of COST_STEP_US, so that noise does not move paths, plus COST_HOP_US for the hop,
 * plus COST_WEIGHT_US for each unit of the operator's weight.  Never 0, at most COST_MAX, so that the
 * sum over PATH_HOPS_MAX hops fits 32 bits.
 */
#ifndef ROUTERD_CORE_COST_H
#define ROUTERD_CORE_COST_H

#include <stdint.h>

struct lsa_adj;

enum {
	COST_STEP_US = 250,
	COST_HOP_US = 1000,
	COST_WEIGHT_US = 1000,
	COST_MAX = 240 * 1000 * 1000,
};

uint32_t cost_link(const struct lsa_adj *a);

#endif
