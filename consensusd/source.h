/*
 * source: a stream whose source is this node: the shell around core/stream.h.
 */
#ifndef CONSENSUSD_SOURCE_H
#define CONSENSUSD_SOURCE_H

#include <bsd/sys/queue.h>

#include "consensusd/core/ages.h"
#include "consensusd/core/rate.h"
#include "consensusd/acl.h"
#include "consensusd/core/stream.h"
#include "consensusd/dedupe.h"
#include "consensusd/engine.h"
#include "consensusd/hash.h"
#include "consensusd/limits.h"
#include "consensusd/relation.h"
#include "consensusd/meters.h"
#include "consensusd/spill.h"
#include "consensusd/store.h"
#include "proto/e2e.pb.h"

struct control;
struct frame;

struct source_flow {
	struct timed timed;
	struct source *source;
	struct flow *flow;
	struct node *node;
	TAILQ_ENTRY(source_flow) ready;
	bool queued;
	struct source_flow *next_on_node, *prev_on_node;
	uint64_t recorded_put; /* processed, as given to the store */
	unsigned doubts;       /* answers in a row that can't be true, one for each question */
	bool asked;            /* where it is, or to close; nothing doubtful was heard since */
	uint64_t asks;         /* opens that were sent */
	uint64_t question;     /* that no refusal has answered yet; 0: the next one is drawn */
	struct rate done;      /* processed by this target */
	int64_t left_bytes;    /* of its turns of sending; negative: it took more than one */
	char error[256];       /* why it was refused; "" */
	uint32_t code;         /* and the status that goes with it */
	bool denied;           /* by a policy: the target is not even asked (acl.h) */
};

struct source {
	struct engine *engine;
	uint64_t begun; /* its number, see engine.h */
	struct stream *stream;
	struct store_stream row; /* row.meta is owned */
	char id_text[ULID_TEXT_SIZE];
	uint64_t open_calls[SOURCE_CALLS_MAX], close_calls[SOURCE_CALLS_MAX];
	size_t open_call_count, close_call_count;
	/* Rows given to the store, and of them those that are durable: who fences waits for its row. */
	uint64_t rows_put, rows_durable;
	struct source_fence {
		uint64_t call, epoch, row;
	} fences[SOURCE_CALLS_MAX];
	size_t fence_count;
	/* Other targets: in the row, which is not durable yet, so nobody is told. */
	struct source_change {
		bool under_way;
		uint64_t row, first_seq; /* of what those that are new get */
		uint64_t calls[SOURCE_CALLS_MAX];
		size_t call_count;
	} change;
	uint64_t loaded_seq; /* the last one when it was loaded */
	/* After a restart: message ids are read from ids_next on, and ids_read is where the read that is
	 * under way began; memory may be short for them, and it is tried again some time. */
	uint64_t ids_next, ids_read;
	bool ids_known, ids_reading, ids_short;
	struct mono ids_again;
	struct dedupe_source dedupe;
	struct relation_source relation;
	struct spill_source spill;
	uint64_t cleared_seq; /* outbox, as given to the store */
	struct rate in, done; /* published; processed by all targets */
	struct ages ages;     /* of what is not */
	/* The rules of operators that decide, NULL: none; the regulator's. */
	struct control *pause, *limit;
	struct meter meter;
	struct meter_probe probe;
	struct timed clear, retain, parked;
	struct mono told_at; /* when it was last said that messages were given up */
	bool backlog_known;  /* after a restart: what the outbox has, and since when, was read */
	TAILQ_ENTRY(source) dirty_entry;
	bool dirty, ended;
	struct acl_seen acl;
	uint8_t class; /* of its traffic: qos.h */
	UT_hash_handle hh;
	struct source_flow *flows; /* as many as the stream has */
};

/* NULL if unknown. */
struct source *source_find(const struct engine *e, const struct ulid *id);

/* Makes a stream and gives its row to the store; row has all but source, key and meta.  Errors:
 * ERR_NOENT (no key for the tenant), ERR_NOMEM, ERR_FULL (store). */
int source_open(struct engine *e, struct store_stream *row, struct source **out) MUST_USE;
/* A row that was loaded; then its offsets. */
int source_load(struct engine *e, const struct store_stream *row) MUST_USE;
void source_load_offset(struct source *s, uint64_t node, uint64_t seq);
/* And which messages became dead letters at its targets, ascending. */
void source_load_failed(struct source *s, uint64_t node, uint64_t seq);
/* After loading, when the store is ready: reads the ids of messages that may be published again; and if that
 * could not be done. */
void source_read_ids(struct source *s);
/* False until that is done: a message id may have been seen. */
bool source_knows_ids(const struct source *s);
/* Calls to be answered when the row is durable (open), or when closing is; ERR_FULL. */
int source_wait_open(struct source *s, uint64_t call) MUST_USE;
int source_close(struct source *s, uint64_t call) MUST_USE;
/* Begins the next producer epoch: nobody publishes with an older one from now on; the call is answered when
 * that is durable.  ERR_AGAIN: it is not open yet; ERR_STATE: closing; ERR_FULL. */
int source_fence(struct source *s, uint64_t call) MUST_USE;
void source_free(struct source *s);

/*
 * The stream has these targets from the next message on, durably when the call is answered: new ones get
 * nothing older, and nothing is waited for that others have not processed.  SOURCE_SAME: it has them, the
 * call is the caller's to answer.  ERR_STALE: another change is under way; ERR_AGAIN: it is not open yet, or
 * the store is full; ERR_STATE: closing; ERR_RANGE: fewer than its policy's quorum; ERR_LIMIT:
 * STREAM_TARGETS_MAX, with those that do not know yet that they are removed; ERR_FULL: too many calls wait;
 * ERR_NOMEM.  Nothing was changed.
 */
enum { SOURCE_SAME = 1 };
int source_change_targets(struct source *s, const uint64_t *nodes, size_t count, uint64_t call) MUST_USE;
/* Its row is durable, perhaps with another set of targets. */
void source_targets_durable(struct source *s);
void source_free_all(struct engine *e);

/* stream_publish(), sealing when a batch is full; call (0: none) is answered when it is committed.
 * ERR_FULL: the store takes no more now. */
int source_publish(struct source *s, const struct publish *p, uint64_t call, uint64_t *seq) MUST_USE;
/* Tells the publisher of a message that is answered, now or when its quorum is decided. */
void source_result(struct source *s, const struct waiter *w);
/* Answers the publishers whose messages are as far as the stream's policy asks for. */
void source_answer(struct source *s);
/* The first target that refused; NULL. */
struct source_flow *source_refused_flow(struct source *s);

/* A node is locked out of the mesh: streams with a number above since go on without it.  Again: nothing. */
void source_evicted(struct engine *e, uint64_t node, uint64_t since);

/* Frames from targets. */
void source_on_ack(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);
void source_on_opened(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);
void source_on_refused(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);
void source_on_closed(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);
void source_on_unknown(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);
void source_on_challenge(struct engine *e, const mesh_e2e_Header *h, const struct frame *f);

/* The group has fixed the place of more. */
void source_described(struct source *s);
/* Its meta has changed (group, epoch): signs it anew, writes it, and tells the targets. */
void source_revise(struct source *s);

/* What order.h reports. */
void source_row_durable(struct stream *stream, uint64_t state);
void source_outbox_durable(struct stream *stream);
void source_skip_durable(struct stream *stream, uint64_t upto);
void source_flow_recorded(struct flow *flow);

/* The engine's turn: seals and stores what is pending, sends what flows want.  True if work is left. */
bool source_turn(struct engine *e);
/* The flow's target has processed more: what follows from it is written, at the latest soon. */
void source_progressed(struct source *s);
/* All targets are done: writes the end of the stream, if it is time. */
void source_finish(struct source *s);
/* The target makes no sense: it is refused until it does. */
void source_flow_broken(struct source_flow *f, const char *why);
/* A policy says that the target must not have the stream; or does not say so any more. */
void source_flow_deny(struct source_flow *f, const char *why);
void source_flow_allow(struct source_flow *f);
/* Fills in what all frames of the stream have. */
void source_header(const struct source *s, mesh_e2e_Header *h);
/* Has the flow looked at in the turn. */
void source_flow_ready(struct source_flow *f);
void source_ready_all(struct source *s);

#endif
