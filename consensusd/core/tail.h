/*
 * tail: consecutive batches of one stream that are in memory, up to the newest.
 *
 * The source keeps what was not sent to all targets yet, a target what was not delivered yet.  Older
 * batches may be dropped at any time: the store has them.
 */
#ifndef CONSENSUSD_CORE_TAIL_H
#define CONSENSUSD_CORE_TAIL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct batch;
struct budget;

struct tail {
	struct batch **ring;
	size_t cap, head, count; /* batches */
	size_t bytes;            /* of their bodies */
	uint64_t next_seq;       /* the seq after the newest batch */
	struct budget *budget;
	/* Told of each batch that tail_trim() drops, before it does; NULL: nobody.  It may not touch the
	 * tail. */
	void (*on_trim)(void *arg, const struct batch *b);
	void *on_trim_arg;
};

/* An empty tail; the first batch pushed must begin at next_seq. */
void tail_init(struct tail *t, struct budget *budget, uint64_t next_seq);
void tail_fini(struct tail *t);
/* Drops everything and starts at next_seq. */
void tail_reset(struct tail *t, uint64_t next_seq);

/* Takes a reference on b, which must begin at next_seq (MUST).  ERR_NOMEM. */
int tail_push(struct tail *t, struct batch *b) MUST_USE;
/* The first seq in memory; next_seq: nothing is. */
uint64_t tail_first(const struct tail *t);
/* The batch that holds seq, borrowed; NULL if it is not in memory. */
struct batch *tail_get(const struct tail *t, uint64_t seq);
/* Drops batches that end at or below seq. */
void tail_pop(struct tail *t, uint64_t seq);
/* Drops the oldest batches while there are more than max_bytes, but none that ends above seq. */
void tail_trim(struct tail *t, size_t max_bytes, uint64_t seq);

#endif
