/*
 * budget: bytes of payload that are held in memory, counted over all nouns that hold some.
 *
 * A batch that two of them share is counted by both.  The budget refuses nothing itself: its users ask
 * budget_over() and then keep less (tails), drop what the source still has (reassembly), or hold
 * publishers (engine).
 */
#ifndef CONSENSUSD_CORE_BUDGET_H
#define CONSENSUSD_CORE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/must.h"

struct budget {
	size_t used_bytes, max_bytes;
};

static inline void
budget_add(struct budget *b, size_t bytes)
{
	b->used_bytes += bytes;
}

static inline void
budget_sub(struct budget *b, size_t bytes)
{
	MUST(b->used_bytes >= bytes);
	b->used_bytes -= bytes;
}

/* True above half of the maximum: the other half is for what is on its way already. */
static inline bool
budget_over(const struct budget *b)
{
	return b->used_bytes > b->max_bytes / 2;
}

/* True when nothing more fits at all. */
static inline bool
budget_spent(const struct budget *b)
{
	return b->used_bytes > b->max_bytes;
}

/* What one stream may keep at hand that the store has too; low_bytes when memory is short.  Above half of
 * it a stream whose ends are there is slowed down rather than read back later. */
static inline size_t
budget_keep(const struct budget *b, size_t window_bytes, size_t low_bytes)
{
	if (budget_over(b))
		return low_bytes;
	return b->max_bytes / 8 > window_bytes ? b->max_bytes / 8 : window_bytes;
}

#endif
