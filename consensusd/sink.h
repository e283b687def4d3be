/*
 * sink: a stream that this node is a target of: the shell around core/target.h.
 */
#ifndef CONSENSUSD_SINK_H
#define CONSENSUSD_SINK_H

#include <bsd/sys/queue.h>

#include "consensusd/core/target.h"
#include "consensusd/engine.h"
#include "consensusd/hash.h"
#include "consensusd/store.h"
#include "proto/e2e.pb.h"

struct frame;
struct subscriber;

struct sink {
	struct timed timed; /* acks, clearing */
	struct engine *engine;
	struct target *target;
	struct store_stream row; /* row.meta is owned */
	char id_text[ULID_TEXT_SIZE];
	struct subscriber *subscriber;
	TAILQ_ENTRY(sink) subscribed;
	uint64_t credited_seq; /* of the subscription: all below gave their credit back */
	uint32_t *sizes;       /* of what was delivered and has not, by seq */
	uint64_t cleared_seq;  /* inbox, as given to the store */
	uint64_t counted_seq;  /* processed, as counted by the metric */
	struct mono clear_at;
	TAILQ_ENTRY(sink) dirty_entry;
	bool dirty;
	UT_hash_handle hh;
};

struct sink *sink_find(const struct engine *e, const struct ulid *id);
/* A row that was loaded; then its offset. */
int sink_load(struct engine *e, const struct store_stream *row) MUST_USE;
void sink_load_offset(struct sink *s, uint64_t seq);
void sink_free(struct sink *s);
void sink_free_all(struct engine *e);

/* Frames from sources. */
void sink_on_batch(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);
void sink_on_open(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);
void sink_on_close(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);

/* What order.h reports. */
void sink_row_durable(struct target *t, uint64_t state);
void sink_inbox_durable(struct target *t);
void sink_processed_durable(struct target *t, uint64_t seq);

/* The application has processed all up to seq.  ERR_RANGE. */
int sink_ack(struct sink *s, uint64_t seq) MUST_USE;
/* Has the sink looked at in the turn. */
void sink_touch(struct sink *s);
/* Gives what is in order to the store, marks too, and sends acks that are due; delivers. */
void sink_turn(struct engine *e);
/* Tells the source of every stream where we are (after a restart or a lost link). */
void sink_announce_all(struct engine *e);
/* Reads the inbox for the sink's cursor. */
void sink_read(struct sink *s);

#endif
