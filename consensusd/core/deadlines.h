/*
 * deadlines: the times at which nouns want to be called, in a binary heap: one timer of the loop
 * serves them all.
 */
#ifndef CONSENSUSD_CORE_DEADLINES_H
#define CONSENSUSD_CORE_DEADLINES_H

#include <stddef.h>

#include "common/base/mono.h"
#include "common/base/must.h"

struct deadline {
	struct mono when;
	size_t place; /* in the heap + 1; 0: not in it */
};

struct deadlines {
	struct deadline **heap;
	size_t count, cap;
};

void deadlines_init(struct deadlines *d);
void deadlines_fini(struct deadlines *d);
/* Sets or moves a deadline; MONO_NEVER takes it out.  Embedded by its user, zeroed.  ERR_NOMEM. */
int deadlines_set(struct deadlines *d, struct deadline *x, struct mono when) MUST_USE;
void deadlines_del(struct deadlines *d, struct deadline *x);
/* Takes out one that is due; NULL if none is. */
struct deadline *deadlines_pop(struct deadlines *d, struct mono now);
/* The earliest; MONO_NEVER if there is none. */
struct mono deadlines_next(const struct deadlines *d);

#endif
