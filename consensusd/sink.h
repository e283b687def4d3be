/*
 * sink: a stream that this node is a target of: the shell around core/target.h.
 */
#ifndef CONSENSUSD_SINK_H
#define CONSENSUSD_SINK_H

#include <bsd/sys/queue.h>

#include "consensusd/core/ages.h"
#include "consensusd/core/rate.h"
#include "consensusd/core/retry.h"
#include "consensusd/core/target.h"
#include "consensusd/engine.h"
#include "consensusd/hash.h"
#include "consensusd/relation.h"
#include "consensusd/meters.h"
#include "consensusd/store.h"
#include "proto/e2e.pb.h"

struct control;
struct dbsink;
struct frame;
struct replay;
struct subscriber;

struct sink {
	struct timed timed; /* acks, clearing */
	struct engine *engine;
	uint64_t begun; /* its number, see engine.h */
	struct target *target;
	struct store_stream row; /* row.meta is owned */
	char id_text[ULID_TEXT_SIZE];
	struct relation_sink relation;
	struct subscriber *subscriber;
	TAILQ_ENTRY(sink) subscribed;
	uint64_t subscription; /* the number of the last one that had it, 0: none since the start */
	uint64_t credited_seq; /* of the subscription: all below gave their credit back */
	uint32_t *sizes;       /* of what was delivered and has not, by seq */
	uint64_t rows_seq;     /* the last message that ever had a row in the inbox */
	uint64_t cleared_seq;  /* inbox, as given to the store */
	uint64_t counted_seq;  /* processed, as counted by the metric */
	struct mono clear_at;
	struct rate in, done;  /* received in order; processed */
	struct ages ages;      /* of what is not */
	struct control *pause; /* the operator's rule that decides, NULL: none; the regulator's */
	struct retry *retry;   /* messages that failed; NULL: none did */
	struct dbsink *db;     /* with the handler db, else NULL */
	struct replay *replay; /* dead letters that are delivered once more; NULL: none ever was */
	bool letters_full;     /* it waits for room for a dead letter */
	bool failing;          /* counted among those whose next message has failed */
	struct meter meter;
	TAILQ_ENTRY(sink) dirty_entry;
	uint8_t class; /* of its traffic: qos.h */
	bool dirty;
	bool orphan;         /* its source is none any more */
	bool denied;         /* by a policy: nothing is received (acl.h) */
	bool removed;        /* no target any more: it ends when what was given to the store is durable */
	bool again;          /* and is one again, from another message on */
	bool asking;         /* the database, whether what the inbox lacks was given up */
	bool failures_asked; /* likewise, what failed that is not in memory */
	UT_hash_handle hh;
};

struct sink *sink_find(const struct engine *e, const struct ulid *id);
/* A row that was loaded; then its offset. */
int sink_load(struct engine *e, const struct store_stream *row) MUST_USE;
void sink_load_offset(struct sink *s, uint64_t seq);
void sink_free(struct sink *s);
void sink_free_all(struct engine *e);

/* A node is locked out of the mesh: its streams with a number above since end here when what came of them is
 * processed. */
void sink_evicted(struct engine *e, uint64_t node, uint64_t since);

/* Frames from sources. */
void sink_on_batch(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);
void sink_on_open(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);
void sink_on_skip(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);
void sink_on_close(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);

/* What order.h reports. */
void sink_row_durable(struct target *t, uint64_t state);
void sink_inbox_durable(struct target *t);
void sink_processed_durable(struct target *t, uint64_t seq);

/* The application has processed all up to seq.  ERR_RANGE. */
int sink_ack(struct sink *s, uint64_t seq) MUST_USE;
/* What a handler says of a message that it could not process. */
struct sink_failure {
	const char *reason;
	uint32_t retry_ms; /* 0: as the stream has it */
	bool dead_letter;  /* at once */
};
/* The message was delivered and could not be processed: it comes again, or becomes a dead letter.  ERR_RANGE,
 * ERR_NOMEM. */
int sink_nack(struct sink *s, uint64_t seq, const struct sink_failure *why) MUST_USE;
/* The next message is not to be delivered yet. */
bool sink_waits(const struct sink *s);
/* The message is a dead letter: not to be delivered. */
bool sink_given_up(const struct sink *s, uint64_t seq);
/* What failed and waits is tried at once. */
void sink_retry_now(struct sink *s);
/* How often it has failed. */
uint32_t sink_attempts(const struct sink *s, uint64_t seq);
/* The first message that failed and is tried again, or NULL. */
const struct retry_item *sink_failing(const struct sink *s);
/* A stream that stands still, since its next message has failed several times: what to tell of it and of how
 * many more there are.  False: there is none. */
bool sink_stuck(const struct engine *e, char *out, size_t size);
void sink_load_attempt(struct sink *s, const struct store_letter *row);
/* The dead letter was processed after all. */
void sink_replayed(struct sink *s, uint64_t seq);
/* There is one dead letter less. */
void sink_letters_gone(struct engine *e);
/* A policy denies it (why), or does not (NULL), from now on. */
void sink_permit(struct sink *s, const char *why);
/* Has the sink looked at in the turn. */
void sink_touch(struct sink *s);
/* Gives what is in order to the store, marks too, and sends acks that are due; delivers. */
void sink_turn(struct engine *e);
/* Tells the source of every stream where we are (after a restart or a lost link). */
void sink_announce_all(struct engine *e);
/* Reads the inbox for the sink's cursor. */
void sink_read(struct sink *s);

#endif
