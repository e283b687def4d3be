/*
 * cache_ids: message ids of streams in Redis, so that they outlive consensusd.
 *
 * Per stream a sorted set inbox_dedupe:{stream id} holds the newest ids with their seqs as scores, at most
 * CACHE_STREAM_IDS of them, for CACHE_TTL_S after the last one was added.
 */
#ifndef CONSENSUSD_CACHE_IDS_H
#define CONSENSUSD_CACHE_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/cache_redis.h"
#include "consensusd/limits.h"

struct cache_id {
	struct ulid id;
	uint64_t seq;
};

struct cache_ids {
	struct cache *cache; /* borrowed */
	/* The answer to cache_ids_recall(): ids (borrowed), the oldest first.  ok false: Redis refused, or
	 * memory is out. */
	void (*fn)(void *ctx, const struct ulid *stream, const struct cache_id *ids, size_t count, bool ok);
	void *ctx;
	char ids[CACHE_ADD_IDS][ULID_TEXT_SIZE], scores[CACHE_ADD_IDS][CACHE_NUMBER_SIZE];
};

/*
 * Commands.  Errors: ERR_UNAVAIL (not connected), ERR_FULL (too much waits for an answer: nothing was
 * sent), ERR_NOMEM.
 */
/* Removes what is above last_seq, which is of another time, and asks for the rest. */
int cache_ids_recall(struct cache_ids *c, const struct ulid *stream, uint64_t last_seq) MUST_USE;
/* Adds ids, whose seqs grow from call to call.  A seq that a score can't hold exactly is left out. */
int cache_ids_add(
    struct cache_ids *c, const struct ulid *stream, const struct cache_id *ids, size_t count) MUST_USE;
/* The stream is closed: its ids can go. */
int cache_ids_remove(struct cache_ids *c, const struct ulid *stream) MUST_USE;

#endif
