/*
 * replay: dead letters of a stream that are delivered once more because somebody asked for it, one after the
 * other, beside the order of the stream.
 *
 *	queued -> reading (from the database) -> ready -> delivered -> acked (the store is told) -> gone
 *
 * One that is refused again stays a dead letter.  The list is in memory alone: a restart forgets that it was
 * asked for, not the letters.  Bounded by REPLAYS_MAX: more are refused.
 */
#ifndef CONSENSUSD_REPLAY_H
#define CONSENSUSD_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/core/batch.h"
#include "consensusd/limits.h"

struct sink;

enum replay_state { REPLAY_QUEUED, REPLAY_READING, REPLAY_READY, REPLAY_DELIVERED, REPLAY_ACKED };

struct replay {
	uint64_t seqs[REPLAYS_MAX];
	size_t count;
	enum replay_state state; /* of the first; the others are queued */
	/* From ready on: a batch that has this one record, with first_seq and nonce of the one it came in. */
	struct batch *batch;
	struct batch_record record;
	uint8_t message_id[ULID_BYTES];
	uint32_t attempts;
};

/* Also if it is there already.  ERR_FULL, ERR_NOMEM. */
int replay_add(struct sink *s, uint64_t seq) MUST_USE;
/* Not any more.  ERR_EXISTS: it was delivered. */
int replay_del(struct sink *s, uint64_t seq) MUST_USE;
/* What is to be delivered now; NULL: nothing (yet).  Begins to read it. */
struct replay *replay_next(struct sink *s);
void replay_delivered(struct replay *r);
/* The subscriber is gone: what it had not acknowledged is for the next one. */
void replay_detach(struct sink *s);
/* True: it was about the letter that was delivered. */
bool replay_ack(struct sink *s, uint64_t seq);
bool replay_nack(struct sink *s, uint64_t seq, const char *reason);
/* Tells the store of what was acknowledged.  False: it takes nothing now. */
bool replay_turn(struct sink *s);
void replay_free(struct sink *s);

#endif
