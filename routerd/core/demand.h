/*
 * demand: the destinations that data is sent to, as transportd tells them.
 *
 * For these all alternatives are computed, and before those of others; the rest make do with the best
 * path and a backup.  At most DEMAND_MAX: transportd keeps paths to no more.
 */
#ifndef ROUTERD_CORE_DEMAND_H
#define ROUTERD_CORE_DEMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct demand {
	uint64_t *nodes; /* ascending */
	size_t count, cap;
};

void demand_init(struct demand *d);
void demand_fini(struct demand *d);
bool demand_has(const struct demand *d, uint64_t node);
/* Also if it is there already.  ERR_FULL, ERR_NOMEM. */
int demand_add(struct demand *d, uint64_t node) MUST_USE;
void demand_del(struct demand *d, uint64_t node);

#endif
