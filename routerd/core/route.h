/*
 * route: paths as searches find them, from the destination back to the root, and short lists of them.
 */
#ifndef ROUTERD_CORE_ROUTE_H
#define ROUTERD_CORE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "routerd/core/limits.h"

/* Weights: the cost of a path, then its hops; above them, in searches that spare other routes, what it
 * shares with those: relays, links, the very first link.  Sums of them compare in that order. */
#define ROUTE_COST_SHIFT 16
#define ROUTE_RELAY ((uint64_t)1 << 50)
#define ROUTE_LINK ((uint64_t)1 << 56)
#define ROUTE_FIRST ((uint64_t)1 << 62)
#define ROUTE_COST_MASK (ROUTE_RELAY - 1)
#define ROUTE_ANY UINT64_MAX

/* A path, from the destination (v[0]) back to the root (v[hops]). */
struct route {
	uint32_t hops;
	uint32_t v[PATH_HOPS_MAX + 1];
	uint64_t weight[PATH_HOPS_MAX + 1]; /* of the part from v[i] to the destination; no sharing */
};

enum { ROUTE_LIST_MAX = 8 }; /* KSP_PATHS_MAX */

struct route_list {
	size_t count;
	struct route routes[ROUTE_LIST_MAX];
	uint8_t deviation[ROUTE_LIST_MAX]; /* yen.c: where the route leaves the one that it was made from */
};

static inline uint64_t
route_weight(const struct route *r)
{
	return r->weight[r->hops];
}

/* Orders by cost, then hops, then vertices from the root on. */
int route_compare(const struct route *a, const struct route *b);
/* What b shares with a: relays, links, the first link. */
uint64_t route_shared(const struct route *a, const struct route *b);

bool route_list_has(const struct route_list *l, const struct route *r);
/* Keeps routes[from…] ascending; what is beyond max falls out. */
void route_list_insert(
    struct route_list *l, size_t from, const struct route *r, size_t deviation, size_t max);
/* Moves the first of from, which has one, to the end of to, which has room. */
void route_list_move(struct route_list *to, struct route_list *from);

#endif
