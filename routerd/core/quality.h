/*
 * quality: which of a node's links have become bad, or well again, from one LSA to the next.
 *
 * A link is degraded in a direction when it loses so much, or is so full, that applications notice; paths
 * avoid it by their costs, this is for people and what watches events.  Pure.
 */
#ifndef ROUTERD_CORE_QUALITY_H
#define ROUTERD_CORE_QUALITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lsa_adj;

enum {
	QUALITY_LOSS_PPM = 20 * 1000,
	QUALITY_FULL_PERMILLE = 950,
	/* Well again below these: what is in between is as it was. */
	QUALITY_LOSS_WELL_PPM = 10 * 1000,
	QUALITY_WELL_PERMILLE = 800,
};

bool quality_degraded(const struct lsa_adj *a);
bool quality_well(const struct lsa_adj *a);

/* Calls fn for each neighbour, in ascending order, to whom the link was not degraded before and is now, or
 * was and is well now.  One that is new is told if it is degraded, one that is gone is not. */
void quality_diff(const struct lsa_adj *before, size_t before_count, const struct lsa_adj *now,
    size_t now_count, void (*fn)(void *arg, uint64_t neighbour, bool degraded), void *arg);

#endif
