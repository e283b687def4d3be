/*
 * spill: durable batches of streams in Redis, for targets that need them later: what was dropped from memory
 * because that is short, and what was published while a target was away.
 *
 * Per stream a sorted set queue:stream:{stream id} holds batches (core/parcel.h, sealed as they are sent)
 * scored by their first seq.  All of them together have redis-queue-max bytes, one stream a quarter of it:
 * its oldest go for newer ones.  They are gone SPILL_TTL_S after the last one was added, or when all targets
 * have processed them.  Written behind, read before the outbox; what can't be read from here is read from
 * there.
 *
 * What comes back is believed if it has this process's own mark (a MAC with a key that is nowhere else); else
 * only up to the seq that was durable when the stream was loaded, and with the node's own signature.  After
 * the database went back in time nothing is read.
 *
 * Without redis-queue-max engine.spill keeps nothing; without Redis it is NULL.  Every call may be made all
 * the same.
 */
#ifndef CONSENSUSD_SPILL_H
#define CONSENSUSD_SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/core/ledger.h"

struct batch;
struct cache;
struct conf;
struct engine;
struct source;
struct source_flow;
struct stream_order;

enum spill_state {
	SPILL_NEW,   /* on this connection */
	SPILL_ASKED, /* how much is there */
	SPILL_COUNTED,
};

/* What a source remembers for this module; all zero at first. */
struct spill_source {
	enum spill_state state;
	uint64_t loaded_seq; /* durable when it was loaded: what another process left is no newer */
	uint64_t newest;     /* put there by this process, or loaded_seq: what is above is of another time */
	uint64_t low, high;  /* batches may be there that begin from low on and end up to high; 0: none */
	size_t batch_bytes;  /* of the last one that was read */
	struct ledger kept;
};

/* What memo.c calls, which has the connection.  ERR_NOMEM. */
int spill_open(struct engine *e, struct cache *cache) MUST_USE;
void spill_close(struct engine *e);
/* The connection is lost: reads that wait go to the store. */
void spill_down(struct engine *e);
/* It is there, or streams are loaded: with both, what another process left is asked for. */
void spill_up(struct engine *e);
void spill_configure(struct engine *e, const struct conf *conf);
/* The database went back in time. */
void spill_distrust(struct engine *e);

/* A source was loaded so far. */
void spill_set(struct source *s, uint64_t durable_seq);
void spill_forget(struct source *s, bool closed);
/* A durable batch that a target needs goes from memory. */
void spill_put(struct source *s, const struct batch *b);
/* A batch is durable: it is kept if a target is away. */
void spill_durable(struct source *s, const struct batch *b);
/* All targets have processed up to seq. */
void spill_cleared(struct source *s, uint64_t seq);

/* Reads for a flow; then source_read_done() or source_read_outbox() is called.
 * ERR_NOENT: it is not here, read the outbox;
 * ERR_FULL, ERR_UNAVAIL, ERR_NOMEM: the same. */
int spill_read(struct source_flow *f, const struct stream_order *o) MUST_USE;

#endif
