/*
 * cursor: walks the messages of a stream for its subscriber, from memory where it can.
 *
 * Batches that were read back from the inbox wait in a second tail (ahead), so that what arrives
 * meanwhile is not mixed with it.
 */
#ifndef CONSENSUSD_CORE_CURSOR_H
#define CONSENSUSD_CORE_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "consensusd/core/batch.h"
#include "consensusd/core/tail.h"

struct cursor {
	uint64_t next_seq; /* of the next message to be delivered */
	struct batch *batch;
	struct batch_iter it;
	struct tail ahead;
	bool reading; /* a read from the inbox is on its way */
};

enum cursor_want { CURSOR_IDLE, CURSOR_RECORD, CURSOR_READ };

void cursor_init(struct cursor *c, struct budget *budget, uint64_t next_seq);
void cursor_fini(struct cursor *c);
/* Continues at next_seq, which may be further back. */
void cursor_seek(struct cursor *c, uint64_t next_seq);

/*
 * The next message, none above last_seq, passed when this returns CURSOR_RECORD (its batch is c->batch,
 * and the record is good until the next call).  CURSOR_READ: read the inbox from next_seq on and give
 * each batch to cursor_read(); reading is set.  CURSOR_IDLE: nothing, or the read is still on its way, or
 * what is not in memory is not stored yet.
 */
enum cursor_want cursor_next(struct cursor *c, const struct tail *live, uint64_t last_seq,
    uint64_t stored_seq, struct batch_record *rec);
/* A batch that was read; b NULL ends the read.  Ignored if it is not what comes next. */
void cursor_read(struct cursor *c, struct batch *b);

#endif
