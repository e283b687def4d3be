/*
 * deadline: a heap of points in time, earliest first, each embedded in what it ends.
 */
#ifndef GATEWAYD_CORE_DEADLINE_H
#define GATEWAYD_CORE_DEADLINE_H

#include <stddef.h>

#include "common/base/mono.h"
#include "common/base/must.h"

struct deadline {
	struct mono at;
	size_t place; /* in the heap, from 1; 0: not in it */
};

struct deadline_heap {
	struct deadline **items; /* owned array of borrowed items */
	size_t count, cap;
};

void deadline_heap_init(struct deadline_heap *h);
void deadline_heap_fini(struct deadline_heap *h);
/* Adds d (all zero or removed before), which must stay where it is until it is out again.  ERR_NOMEM. */
int deadline_add(struct deadline_heap *h, struct deadline *d, struct mono at) MUST_USE;
/* Removes d; nothing happens if it is not in the heap. */
void deadline_del(struct deadline_heap *h, struct deadline *d);
/* When the earliest is due: MONO_NEVER if there is none. */
struct mono deadline_next(const struct deadline_heap *h);
/* Takes out one that is due at now, or NULL. */
struct deadline *deadline_pop(struct deadline_heap *h, struct mono now);

#endif
