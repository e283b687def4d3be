/*
 * frameq: a queue of frames in blocks of memory.
 *
 * Records lie in a block one after the other, each behind its length.  The first block of a queue is
 * small and the next ones grow with what waits in it, so that a thousand queues of one small frame cost
 * little, and one of a thousand frames few blocks.  All queues of a link share one pool of spare
 * blocks: steady traffic allocates nothing.
 */
#ifndef TRANSPORTD_CORE_FRAMEQ_H
#define TRANSPORTD_CORE_FRAMEQ_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum {
	FRAMEQ_BLOCK_MIN_BYTES = 2048, /* ten small frames */
	FRAMEQ_BLOCK_MAX_BYTES = 65536,
	FRAMEQ_SIZES = 6, /* 2, 4, 8, 16, 32, 64 KiB */
	FRAMEQ_SPARE_BYTES = 4 * FRAMEQ_BLOCK_MAX_BYTES,
	FRAMEQ_RECORD_MAX_BYTES = 32768, /* a frame and what its queue notes with it */
};

struct frameq_block;

struct frameq_pool {
	struct frameq_block *spare[FRAMEQ_SIZES];
	size_t spare_bytes;
	size_t memory; /* allocated: in queues and spare */
};

struct frameq {
	struct frameq_block *head, *tail;
	size_t bytes; /* of records */
};

/* Where a taker puts records, one after the other. */
struct frameq_out {
	uint8_t *data;
	size_t cap, used;
	unsigned count; /* of records */
};

/* All zero is an empty pool, and an empty queue. */
void frameq_pool_fini(struct frameq_pool *p);
/* Frees the spare blocks but one of the smallest size: for when nothing waits any more. */
void frameq_pool_trim(struct frameq_pool *p);

/* Frees what waits. */
void frameq_fini(struct frameq *q, struct frameq_pool *p);
/* Room for a record of at most size bytes at the end; frameq_commit() makes it count, and until then
 * nothing has happened.  NULL: no memory. */
uint8_t *frameq_reserve(struct frameq *q, struct frameq_pool *p, size_t size) MUST_USE;
void frameq_commit(struct frameq *q, size_t size);
/* Gives back the block of a queue in which nothing waits, left by a reservation without a commit. */
void frameq_abandon(struct frameq *q, struct frameq_pool *p);

/* The first record, which must be there, and its size. */
const uint8_t *frameq_head(const struct frameq *q, size_t *size);
void frameq_pop(struct frameq *q, struct frameq_pool *p);
/* Moves records to out while the next one fits both there and what is left of budget; the bytes. */
size_t frameq_take(struct frameq *q, struct frameq_pool *p, struct frameq_out *out, size_t budget);
/* All of from goes behind what waits in q. */
void frameq_append(struct frameq *q, struct frameq *from);

#endif
