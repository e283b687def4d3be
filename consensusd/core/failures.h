/*
 * failures: the newest messages of a stream that became dead letters at one target: at the target what it
 * tells its source, at the source what that knows.
 *
 * All that failed above from is here.  What lies below is in the database alone.  Bounded: the owner forgets
 * the lowest, or takes no more.
 */
#ifndef CONSENSUSD_CORE_FAILURES_H
#define CONSENSUSD_CORE_FAILURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct failures {
	uint64_t from;
	uint64_t *seqs; /* ascending; NULL: none ever */
	size_t count, cap;
};

void failures_init(struct failures *f, uint64_t from, size_t cap);
void failures_fini(struct failures *f);
/* One above all that are there.  ERR_FULL, ERR_NOMEM. */
int failures_add(struct failures *f, uint64_t seq) MUST_USE;
/* The same, where the lowest makes room.  ERR_NOMEM: all up to it is forgotten. */
int failures_load(struct failures *f, uint64_t seq) MUST_USE;
/* It is none after all. */
void failures_del(struct failures *f, uint64_t seq);
/* Forgets those up to seq. */
void failures_cut(struct failures *f, uint64_t seq);
bool failures_has(const struct failures *f, uint64_t seq);
/* The place of the first one above seq; count: there is none. */
size_t failures_after(const struct failures *f, uint64_t seq);

#endif
