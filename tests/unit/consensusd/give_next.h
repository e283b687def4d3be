/*
 * give_next: the next batch in order is taken, and the store has its row.
 */
#ifndef TESTS_UNIT_CONSENSUSD_GIVE_NEXT_H
#define TESTS_UNIT_CONSENSUSD_GIVE_NEXT_H

#include "common/base/must.h"
#include "consensusd/core/target.h"

static inline void
give_next(struct target *t, struct mono now)
{
	MUST(target_take(t, now) == 0);
	while (target_due(t, now) != NULL)
		target_kept(t);
}

#endif
