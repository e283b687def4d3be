/*
 * dedupe: has Redis remember which message ids were published, so that consensusd knows more of them after a
 * restart than the database has for certain (idwindow.h): those that were given along with the seq, and those
 * that a window has given up.
 *
 * An id is given to Redis once its message is durable in the outbox.  After a start the ids are asked for,
 * and publishing by message id waits for the answer, at most CACHE_WARM_MS.  Redis is believed only where
 * the database does not know better, and about seqs that there were when this process started.
 *
 * Without redis-socket engine.dedupe is NULL; every call may be made all the same.
 */
#ifndef CONSENSUSD_DEDUPE_H
#define CONSENSUSD_DEDUPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "common/base/must.h"

struct batch;
struct cache;
struct engine;
struct source;

enum dedupe_state {
	DEDUPE_NEW,   /* Redis was not asked yet */
	DEDUPE_ASKED, /* on this connection; no answer yet */
	DEDUPE_KNOWN,
	DEDUPE_REFUSED, /* on this connection: nothing is written there */
};

/* What a source remembers for this module; all zero at first. */
struct dedupe_source {
	TAILQ_ENTRY(source) entry;
	bool listed; /* in the list of those to be asked for, or of those that were */
	enum dedupe_state state;
	uint64_t durable_seq; /* when it was loaded: what Redis has above it is of another time */
};

/* What memo.c calls, which has the connection.  ERR_NOMEM. */
int dedupe_open(struct engine *e, struct cache *cache) MUST_USE;
void dedupe_close(struct engine *e);
void dedupe_up(struct engine *e);
void dedupe_down(struct engine *e);
/* All streams are loaded: asks for their ids. */
void dedupe_loaded(struct engine *e);
/* False: Redis may still tell that a message id was used. */
bool dedupe_knows(const struct source *s);
/* A source was loaded so far. */
void dedupe_set(struct source *s, uint64_t durable_seq);
/* A source is freed; closed: for good. */
void dedupe_forget(struct source *s, bool closed);
/* A batch is durable: its ids are written. */
void dedupe_write(struct engine *e, struct source *s, const struct batch *b);
/* So many ids could not be. */
void dedupe_drop(struct engine *e, size_t count);
uint64_t dedupe_dropped(const struct engine *e);

#endif
