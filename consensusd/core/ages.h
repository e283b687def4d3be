/*
 * ages: when the messages of a stream came, in bounded memory.
 *
 * Marks are added in order of seq and time, and forgotten from the low end.  Neighbours that came within a
 * grain of time share a mark, with the time of the first of them; when there are AGES_MAX marks the grain
 * doubles, so an age is too high by a small part of the oldest one at most.
 */
#ifndef CONSENSUSD_CORE_AGES_H
#define CONSENSUSD_CORE_AGES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"

enum { AGES_MAX = 32, AGES_GRAIN_US = 10000 };

struct age {
	uint64_t last_seq;
	struct mono first; /* when the first of those came */
};

/* All zero before its first use. */
struct ages {
	struct age marks[AGES_MAX];
	size_t count;
	int64_t grain_us;
};

/* Messages up to seq came now. */
void ages_add(struct ages *a, uint64_t seq, struct mono now);
/* Forgets what ends at or below seq. */
void ages_cut(struct ages *a, uint64_t seq);
/* When the oldest message above seq came; MONO_NEVER if there is none. */
struct mono ages_after(const struct ages *a, uint64_t seq);

#endif
