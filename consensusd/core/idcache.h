/*
 * idcache: message ids of many streams, and the seq that goes with each, as far as there is room: the oldest
 * id is forgotten first.  Nothing may depend on it: ids that a publisher depends on are in idwindow.h.
 */
#ifndef CONSENSUSD_CORE_IDCACHE_H
#define CONSENSUSD_CORE_IDCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

struct idcache_entry {
	struct ulid stream_id, message_id;
	uint64_t seq;  /* 0: free */
	uint32_t next; /* in its bucket: index + 1 */
};

struct idcache {
	struct idcache_entry *entries; /* a ring: the oldest is overwritten */
	uint32_t *buckets;             /* index + 1 of the first */
	uint32_t max, newest;
	uint64_t seed;
};

/* max: entries, a power of two.  seed: random, so that nobody can choose ids that collide.  Memory is
 * taken with the first id. */
void idcache_init(struct idcache *c, uint32_t max, uint64_t seed);
void idcache_fini(struct idcache *c);
/* ERR_NOMEM: not remembered.  An id that is there already gets the new seq. */
int idcache_add(
    struct idcache *c, const struct ulid *stream_id, const struct ulid *message_id, uint64_t seq) MUST_USE;
/* The same for an id that idcache_find() has just not found: its bucket is looked at once less. */
int idcache_add_new(
    struct idcache *c, const struct ulid *stream_id, const struct ulid *message_id, uint64_t seq) MUST_USE;
/* Does the next new id make it forget one? */
bool idcache_full(const struct idcache *c);
bool idcache_find(
    const struct idcache *c, const struct ulid *stream_id, const struct ulid *message_id, uint64_t *seq);
/* Forgets one id (its message could not be kept). */
void idcache_del(struct idcache *c, const struct ulid *stream_id, const struct ulid *message_id);

#endif
