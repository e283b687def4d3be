/*
 * damp: links that go up and down again and again are shunned for a while (after RFC 2439).
 *
 * Each time a link goes down its penalty grows by DAMP_PENALTY, at most to DAMP_CEILING; it halves every
 * DAMP_HALF_LIFE_US.  From DAMP_SUPPRESS on the link is damped, until the penalty is below DAMP_REUSE.
 * A damped link costs more; where it is the only way it is used all the same.  That a link is down is
 * nothing that is ever damped.
 *
 * The links with the largest penalties are kept, DAMP_LINKS_MAX of them.
 */
#ifndef ROUTERD_CORE_DAMP_H
#define ROUTERD_CORE_DAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "routerd/core/limits.h"

struct damp_link {
	uint64_t a, b; /* a < b */
	uint32_t penalty;
	struct mono at; /* when it was that */
	bool damped;
};

struct damp {
	size_t count;
	size_t damped;
	struct damp_link links[DAMP_LINKS_MAX]; /* in no order */
};

void damp_init(struct damp *d);
/* The link went down. */
void damp_down(struct damp *d, uint64_t a, uint64_t b, struct mono now);
/* Calls fn for each link that is damped, a < b. */
void damp_each(const struct damp *d, void (*fn)(void *arg, uint64_t a, uint64_t b), void *arg);
/* Forgets what has passed.  True if a link is not damped any more. */
bool damp_step(struct damp *d, struct mono now);
/* When damp_step() will have something to do; MONO_NEVER if nothing is damped. */
struct mono damp_next(const struct damp *d);

#endif
