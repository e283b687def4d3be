/*
 * yen: the cheapest paths one after the other (Yen 1971), none made twice (Lawler 1972).
 *
 * Deviations start at the destination's end, so that the searches are those of search.h.
 */
#ifndef ROUTERD_CORE_YEN_H
#define ROUTERD_CORE_YEN_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/route.h"

struct search;

struct yen {
	struct route_list found, candidates;
};

/* first is the cheapest path. */
void yen_begin(struct yen *y, const struct route *first);
/* The next cheapest, which is valid until yen_begin; NULL: there is none of at most weight_max, or max
 * (the same in all calls, up to ROUTE_LIST_MAX) have been found.  ERR_NOMEM. */
int yen_next(
    struct yen *y, struct search *s, size_t max, uint64_t weight_max, const struct route **next) MUST_USE;

#endif
