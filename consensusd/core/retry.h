/*
 * retry: messages of one stream that their handler could not process: how often, when they are tried again,
 * and which of them are dead letters that wait for the offset to pass them.
 *
 * Order is strict, so all behind such a message waits with it.  Bounded by RETRY_ITEMS_MAX.
 */
#ifndef CONSENSUSD_CORE_RETRY_H
#define CONSENSUSD_CORE_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "consensusd/core/limits.h"

struct rng;

struct retry_item {
	uint64_t seq;
	uint32_t attempts; /* that failed */
	bool dead;
	bool saved;     /* the store has it (the shell says so) */
	struct mono at; /* the next attempt */
	char error[RETRY_ERROR_SIZE];
};

struct retry {
	struct retry_item items[RETRY_ITEMS_MAX]; /* ascending */
	size_t count;
};

/* NULL: it has not failed. */
struct retry_item *retry_find(struct retry *r, uint64_t seq);
/* Counts a failed attempt (more than one after a restart).  NULL: there is no room, all that is there is
 * dead.
 */
struct retry_item *retry_fail(struct retry *r, uint64_t seq, uint32_t attempts, const char *error) MUST_USE;
/* What is at seq or below is done with. */
void retry_cut(struct retry *r, uint64_t seq);
/* Dead letters that follow acked without a gap: the last one of them, else acked. */
uint64_t retry_pass(const struct retry *r, uint64_t acked);
/* All that there is room for is dead, and below seq. */
bool retry_full(const struct retry *r, uint64_t seq);
/* When the next message that waits is to be tried; MONO_NEVER. */
struct mono retry_next(const struct retry *r, struct mono now);

/* How long after the attempt with this number: twice as long each time, with jitter.  base_ms 0: one second.
 */
uint32_t retry_delay_ms(uint32_t base_ms, uint32_t attempts, struct rng *rng);

#endif
