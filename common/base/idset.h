/*
 * idset: a set of node ids that is replaced as a whole: who was evicted from the mesh.
 *
 * On channels between daemons it is a list of ids, 8 bytes each, ascending.  At most IDSET_MAX_COUNT.
 */
#ifndef COMMON_BASE_IDSET_H
#define COMMON_BASE_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum { IDSET_MAX_COUNT = 65536, IDSET_MAX_BYTES = 8 * IDSET_MAX_COUNT };

struct idset {
	uint64_t *ids; /* ascending */
	size_t count;
};

/* An empty set is all zero. */
void idset_fini(struct idset *s);
/* Replaces the set: ids in any order, also more than once.  ERR_LIMIT, ERR_RANGE (the id 0), ERR_NOMEM:
 * it stays as it was. */
int idset_assign(struct idset *s, const uint64_t *ids, size_t count) MUST_USE;
/* Replaces it by what another daemon sent.  ERR_FORMAT, ERR_LIMIT, ERR_NOMEM: it stays as it was. */
int idset_decode(struct idset *s, const uint8_t *body, size_t len) MUST_USE;
int idset_encode(const struct idset *s, struct buf *out) MUST_USE;
bool idset_has(const struct idset *s, uint64_t id);
/* The first id at or after this one; 0: there is none. */
uint64_t idset_from(const struct idset *s, uint64_t id);

#endif
