/*
 * swim_suspicion: how long a member stays suspect.
 *
 * Lifeguard, section IV.B: the suspicion starts with its longest time, and each of k independent
 * suspicions of the same member shortens it, on a logarithmic scale, to the least:
 * max - ln(c + 1) / ln(k + 1) * (max - min).
 */
#ifndef ROUTERD_CORE_SWIM_SUSPICION_H
#define ROUTERD_CORE_SWIM_SUSPICION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "routerd/core/limits.h"

struct swim_suspicion {
	struct mono began; /* whatever is added to started */
	struct mono started;
	struct mono heard_at;    /* the last sign of life of the member since then */
	struct mono unlinked_at; /* since when it has had no links, if it has none */
	int64_t min_us, max_us;
	uint8_t wanted; /* k: independent suspicions that make it shortest */
	uint8_t count;  /* c: beyond the first */
	uint64_t from[SWIM_CONFIRMERS_MAX + 1];
};

/* from says so; wanted is cut to SWIM_CONFIRMERS_MAX. */
void swim_suspicion_init(struct swim_suspicion *s, uint64_t from, unsigned wanted, int64_t min_us,
    int64_t max_us, struct mono now);
/* Another one says so.  True: it shortens the suspicion, and others should hear of it. */
bool swim_suspicion_add(struct swim_suspicion *s, uint64_t from);
struct mono swim_suspicion_end(const struct swim_suspicion *s);

/* 1000 * log10(n), n at least 1, within 1. */
uint32_t swim_log10_permille(size_t n);
/* ceil(log10(n + 1)): digits of n. */
uint32_t swim_log10_ceil(size_t n);

#endif
