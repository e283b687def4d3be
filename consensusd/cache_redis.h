/*
 * cache_redis: message ids of streams in Redis, so that they outlive consensusd (the only user of
 * hiredis).
 *
 * Nothing depends on it: what is not written is dropped, what can't be read is not known.  Per stream a
 * sorted set inbox_dedupe:{stream id} holds the newest ids with their seqs as scores, at most
 * CACHE_STREAM_IDS of them, for CACHE_TTL_S after the last one was added.  Commands of a turn of the loop
 * leave together at its end.  Nothing here blocks; a server that is away, silent or talks nonsense is
 * dropped and tried again with growing pauses.
 */
#ifndef CONSENSUSD_CACHE_REDIS_H
#define CONSENSUSD_CACHE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

struct cache;
struct loop;

struct cache_id {
	struct ulid id;
	uint64_t seq;
};

struct cache_callbacks {
	/* Connected, and the database is chosen. */
	void (*on_up)(void *ctx);
	/* The connection is lost, or an attempt failed; commands without an answer are forgotten. */
	void (*on_down)(void *ctx, const char *why);
	/* The answer to cache_recall(): ids (borrowed), the oldest first.  ok false: Redis refused, or memory
	 * is out. */
	void (*on_recalled)(
	    void *ctx, const struct ulid *stream, const struct cache_id *ids, size_t count, bool ok);
	void *ctx;
};

/* Connects to the Unix socket path, in the loop.  NULL: no memory. */
struct cache *cache_new(struct loop *l, const char *path, int db, const struct cache_callbacks *cb) MUST_USE;
/* NULL is fine.  No callback comes any more. */
void cache_free(struct cache *c);
bool cache_up(const struct cache *c);

/*
 * Commands.  Errors: ERR_UNAVAIL (not connected), ERR_FULL (too much waits for an answer: nothing was
 * sent), ERR_NOMEM.
 */
/* Removes what is above last_seq, which is of another time, and asks for the rest. */
int cache_recall(struct cache *c, const struct ulid *stream, uint64_t last_seq) MUST_USE;
/* Adds ids, whose seqs grow from call to call.  A seq that a score can't hold exactly is left out. */
int cache_add(struct cache *c, const struct ulid *stream, const struct cache_id *ids, size_t count) MUST_USE;
/* The stream is closed: its ids can go. */
int cache_remove(struct cache *c, const struct ulid *stream) MUST_USE;

#endif
