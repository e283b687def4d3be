/*
 * txq: frames waiting to be written to one link, most important class first.
 *
 * Bounded in bytes: client data is refused above the limit, the other classes above limit and
 * reserve, so that bulk never keeps control traffic out.  Between high and low mark the owner sets
 * FRAME_FLAG_MARKED and holds the sources.  Frames are copied into blocks: no allocation per frame.
 */
#ifndef TRANSPORTD_CORE_TXQ_H
#define TRANSPORTD_CORE_TXQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/frame.h"
#include "common/base/must.h"

struct txq_block;

struct txq_lane {
	struct txq_block *head, *tail;
	size_t bytes;
};

struct txq {
	struct txq_lane lanes[FRAME_CLASS_COUNT];
	struct txq_block *spare;
	size_t spare_count;
	size_t bytes; /* of all lanes */
	size_t frames;
	size_t limit, reserve;
};

void txq_init(struct txq *q, size_t limit_bytes, size_t reserve_bytes);
void txq_fini(struct txq *q);
/* A new limit holds for what comes; nothing is thrown away. */
void txq_set_limit(struct txq *q, size_t limit_bytes);

/* Room for one frame of size bytes; write it to *out and txq_commit() it before anything else.
 * ERR_FULL, ERR_NOMEM. */
int txq_reserve(struct txq *q, uint8_t class, size_t size, uint8_t **out) MUST_USE;
void txq_commit(struct txq *q, uint8_t class, size_t size);

/* Moves whole frames into out (cap bytes, at least FRAME_MAX_BYTES); the bytes moved, 0 if empty. */
size_t txq_take(struct txq *q, uint8_t *out, size_t cap);

bool txq_empty(const struct txq *q);
/* Above half of the limit: time to mark and to hold.  Below a quarter: time to release. */
bool txq_high(const struct txq *q);
bool txq_low(const struct txq *q);

#endif
