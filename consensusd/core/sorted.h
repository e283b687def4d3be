/*
 * sorted: pointers to things in ascending order of what the caller compares them by.
 *
 * Order comes from content alone, so that a walk is the same on every node.  Whose the things are is the
 * caller's business.
 */
#ifndef CONSENSUSD_CORE_SORTED_H
#define CONSENSUSD_CORE_SORTED_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/must.h"

struct sorted {
	void **at;
	size_t count, cap;
};

/* Below 0, 0 or above: how a key compares with an item. */
typedef int sorted_compare(const void *key, const void *item);

/* Frees the list, and each thing with drop if it is not NULL. */
void sorted_fini(struct sorted *s, void (*drop)(void *item));
/* *pos: where the key is, or where it would belong. */
bool sorted_find(const struct sorted *s, const void *key, sorted_compare *compare, size_t *pos);
/* NULL: not there. */
void *sorted_get(const struct sorted *s, const void *key, sorted_compare *compare);
/* Room for one more, so that the next sorted_put() can't fail.  ERR_NOMEM. */
int sorted_reserve(struct sorted *s) MUST_USE;
int sorted_reserve_many(struct sorted *s, size_t more) MUST_USE;
void sorted_put(struct sorted *s, size_t pos, void *item);
/* Takes the one at pos out and returns it. */
void *sorted_take(struct sorted *s, size_t pos);

#endif
