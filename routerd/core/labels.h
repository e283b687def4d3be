/*
 * labels: the partial paths of a best-first search, taken in ascending order of a key (binary heap).
 *
 * A label stays after it was popped, because others point to it: the chain of parents is the path.
 * Equal keys come out in the order in which they went in, so that searches are deterministic.
 */
#ifndef ROUTERD_CORE_LABELS_H
#define ROUTERD_CORE_LABELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum { LABEL_NONE = UINT32_MAX };

struct label {
	uint64_t weight; /* of the path so far */
	uint32_t vertex, parent;
	uint32_t hops;
};

struct label_place {
	uint64_t key;
	uint32_t label;
};

struct labels {
	struct label *pool;
	struct label_place *heap;
	size_t count, heap_count, cap;
};

void labels_init(struct labels *l);
void labels_fini(struct labels *l);
/* Forgets all labels, keeps the memory. */
void labels_clear(struct labels *l);
/* ERR_NOMEM: nothing has changed. */
int labels_push(struct labels *l, uint64_t key, const struct label *label) MUST_USE;
/* The label of the least key, and the key if that is wanted; LABEL_NONE: there is none. */
uint32_t labels_pop(struct labels *l, uint64_t *key);

#endif
