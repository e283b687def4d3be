#include "routerd/core/cost.h"

#include "routerd/core/lsa.h"

_Static_assert((uint64_t)COST_MAX *PATH_HOPS_MAX <= UINT32_MAX, "the cost of a path fits 32 bits");

uint32_t
cost_link(const struct lsa_adj *a)
{
	uint64_t steps = ((uint64_t)a->latency_us + COST_STEP_US / 2) / COST_STEP_US;
	uint64_t cost = COST_HOP_US + steps * COST_STEP_US + (uint64_t)a->weight * COST_WEIGHT_US;

	return cost < COST_MAX ? (uint32_t)cost : COST_MAX;
}
