/*
 * idwindow: the ids of a stream's newest messages, of those that publishers know by their ids alone, with the
 * seq each one got: so that a message that is published again is answered and not taken once more.
 *
 * A window belongs to one stream.  What other streams publish takes nothing of it, but for the limit that all
 * windows of a node share: when that is reached, one of the longest gives up its oldest id for each new one.
 * So n streams know at least the newest min(window_max, total_max / 2n) of theirs.  The shell keeps windows
 * in the database as well, and is told here what may be removed there.
 *
 * Ids that are given along with the seq need none of that: the seq is never forgotten.  They are in an
 * idcache.
 */
#ifndef CONSENSUSD_CORE_IDWINDOW_H
#define CONSENSUSD_CORE_IDWINDOW_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/core/idcache.h"

enum { IDWINDOW_CLASSES = 32 };

struct idwindow_entry {
	struct ulid id;
	uint64_t seq;
	uint32_t next; /* in its bucket: place in the ring + 1 */
};

struct idwindow {
	struct idwindows *all; /* NULL: no id was ever added */
	TAILQ_ENTRY(idwindow) entry, due_entry;
	struct idwindow_entry *ring; /* seqs grow */
	uint32_t *buckets;           /* as many: place of the newest + 1 */
	uint32_t cap, first, count;  /* cap: a power of two, or 0 */
	uint64_t forgotten_seq;      /* ids of messages up to this were given up */
	uint64_t pruned_seq;         /* of that, what the shell was told of */
	bool due;
	void *owner; /* the shell's */
};

TAILQ_HEAD(idwindow_list, idwindow);

/* Of a node. */
struct idwindows {
	uint32_t window_max, total_max; /* ids; may be changed at any time */
	uint32_t total;
	uint64_t given_up; /* since the start, because of total_max */
	uint64_t seed;
	struct idwindow_list classes[IDWINDOW_CLASSES]; /* by the logarithm of their length */
	struct idwindow_list dues;
	struct idcache numbered; /* ids given along with the seq: the oldest of all are forgotten first */
};

/* numbered_max: a power of two.  seed: random, so that nobody can choose ids that collide. */
void idwindows_init(
    struct idwindows *all, uint32_t window_max, uint32_t total_max, uint32_t numbered_max, uint64_t seed);
/* All windows are gone. */
void idwindows_fini(struct idwindows *all);
/* A window that has given up a good part since it was here, up to forgotten_seq; NULL: there is none. */
struct idwindow *idwindows_due(struct idwindows *all);

/* Room for one id more.  ERR_NOMEM. */
int idwindow_reserve(struct idwindow *w, struct idwindows *all) MUST_USE;
/* Adds one that is not there, above all others; there is room for it. */
void idwindow_add(struct idwindow *w, const struct ulid *id, uint64_t seq);
bool idwindow_find(const struct idwindow *w, const struct ulid *id, uint64_t *seq);
/* The id of the message at seq, if it is known. */
bool idwindow_at(const struct idwindow *w, uint64_t seq, struct ulid *id);
/* Messages from seq on never were. */
void idwindow_cut(struct idwindow *w, uint64_t seq);
/* Forgets all; it may be used again. */
void idwindow_fini(struct idwindow *w);

#endif
