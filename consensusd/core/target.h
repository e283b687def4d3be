/*
 * target: the target's side of one stream, from fragments to "processed".
 *
 *	fragment -> batch -> (shell verifies the signature and the group's descriptor) -> taken in order
 *	-> store -> stored -> delivered -> acked by the application -> processed (durable)
 *	-> acknowledged to the source
 *
 *	processed <= put <= acked <= delivered < expected
 *	processed <= stored < expected; kept < expected; delivered <= stored, unless early
 *
 * stored_seq and processed_seq are raised by order.h alone.  Each message is taken once and in order:
 * expected_seq only grows, and what is below it is a duplicate.
 *
 * What waits for something that does not come (fragments of a batch, whole batches behind a gap) is dropped
 * after reassembly_us and no longer acknowledged: the source has it, and sends it again.
 *
 * Early: a subscriber gets what is taken before it is stored.  Its place and its text are fixed by the
 * group, and the source keeps it until it hears "processed": a crash brings the same message again, like
 * one before the acknowledgement was durable.  Most are processed while the row would be on its way, so
 * the row waits (TARGET_HOLD_US, _BYTES), and a batch whose messages are all given to the store as
 * processed needs none; a part of one is not given to the store before its row.  What a subscriber has
 * processed may so be beyond what is here after a crash: it says so (target_resume), and those messages
 * are passed over when they come.
 *
 * What became a dead letter is processed, for order's sake, and an ack names it: all that failed from
 * failures.from, below which the source has heard it or there are too many to remember, to processed_seq.
 * So an ack that is lost loses nothing, and one that comes late tells nothing new.  A source that knows less
 * than failures.from sees that it does and asks, saying how far it is: then the database has the rest.
 */
#ifndef CONSENSUSD_CORE_TARGET_H
#define CONSENSUSD_CORE_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "consensusd/core/cursor.h"
#include "consensusd/core/failures.h"
#include "consensusd/core/ledger.h"
#include "consensusd/core/limits.h"
#include "consensusd/core/reassembly.h"
#include "consensusd/core/tail.h"

struct batch;
struct budget;

enum target_state {
	TARGET_OPENING, /* its row is not durable yet */
	TARGET_OPEN,
	TARGET_CLOSING, /* the source has closed it; the row is not durable yet */
	TARGET_CLOSED,
};

struct target_conf {
	size_t window_bytes;        /* taken beyond what is stored */
	size_t backlog_bytes;       /* stored and not processed; above, nothing is taken */
	uint32_t pressure_permille; /* this node is behind, see credit.h; the shell measures it */
	int64_t reassembly_us;      /* how long what is not complete waits for a sign of the rest */
};

struct target {
	struct ulid id;
	char tenant[TENANT_TEXT_SIZE];
	uint64_t source;
	uint8_t source_key[32];
	enum target_state state;
	const struct target_conf *conf;
	struct budget *budget;
	uint64_t epoch;      /* of the last batch that was taken: none of an older one follows */
	uint64_t kept_epoch; /* of the last of kept_seq: what is to be remembered, with no more than those */
	uint64_t expected_seq;  /* all below were taken */
	uint64_t kept_seq;      /* were given to the store, or need not be */
	uint64_t stored_seq;    /* durable here */
	uint64_t delivered_seq; /* the highest that a subscriber ever got */
	uint64_t back_seq;  /* of what was delivered up to here, that from the cursor on is to come again */
	uint64_t acked_seq; /* the application has processed up to this */
	uint64_t put_seq;   /* of acked, what was given to the store */
	uint64_t processed_seq; /* durable */
	uint64_t close_seq;
	uint64_t resumed_seq;          /* a subscriber has them, wherever they are */
	uint64_t hold_seq;             /* rows up to here are due at hold_at */
	struct mono hold_at;           /* MONO_NEVER: no row is held back */
	size_t held_bytes;             /* of batches above kept_seq */
	bool early;                    /* the shell says so, before the first batch */
	uint64_t gap_first, gap_last;  /* the newest messages that the source gave up, or 0 */
	uint64_t passed_count;         /* messages passed over since the last one that was delivered */
	struct reassembly *reassembly; /* NULL: no fragments wait */
	struct batch **reorder;        /* whole batches beyond expected, ascending */
	size_t reorder_count, reorder_cap, reorder_bytes;
	uint64_t reorder_seq;   /* the first of them, when it was looked at last */
	struct mono reorder_at; /* since then nothing has come that it waits for */
	struct tail tail;       /* taken, not kept or not delivered */
	struct cursor cursor;
	struct ledger ledger; /* bytes given to the store and not processed */
	bool attended;        /* a subscriber is there (the shell says so) */
	bool paused;          /* an operator wants nothing delivered; the source is told to send nothing */
	bool ack_now;
	struct mono ack_at; /* MONO_NEVER: no ack is due */
	uint64_t duplicates, dropped;
	struct failures failures; /* given to the store as dead letters */
	uint64_t spared;          /* batches that needed no row */
	void *owner;              /* the shell's */
};

struct target *target_new(const struct ulid *id, const char *tenant, uint64_t source,
    const uint8_t source_key[32], const struct target_conf *conf, struct budget *budget) MUST_USE;
void target_free(struct target *t);
/* After a restart: what is durable; then what of it became dead letters, ascending. */
void target_load(struct target *t, uint64_t stored_seq, uint64_t processed_seq);
void target_load_failed(struct target *t, uint64_t seq);

/*
 * A fragment from the source.  *out: the whole batch, to be verified and given to target_complete();
 * else NULL.  Duplicates and what can't be taken now are counted and answered by an ack.
 * ERR_FORMAT, ERR_NOMEM.
 */
int target_fragment(struct target *t, const struct fragment *f, struct mono now, struct batch **out) MUST_USE;
/* A verified batch (reference taken over) finds its place.  ERR_EXISTS: duplicate; ERR_GAP: it overlaps
 * what is there; ERR_STATE: of a producer epoch that is over; ERR_FULL, ERR_NOMEM: dropped, the source will
 * send it again. */
int target_complete(struct target *t, struct batch *b, struct mono now) MUST_USE;
/*
 * Drops what has waited too long; returns how many batches that were.  A batch waits anew with each fragment
 * of it; what is whole, when the first of those that wait is another one, or with each fragment of one before
 * it.  To be called after anything that happens, and at target_expiry().
 */
size_t target_expire(struct target *t, struct mono now);
/* It is not for the source that whole batches wait: their time begins anew. */
void target_wait(struct target *t, struct mono now);
struct mono target_expiry(const struct target *t);
/* The next batch in order; borrowed, NULL if it is not there. */
struct batch *target_next(const struct target *t);
/* It is not what it should be: forgotten, as if it had not come. */
void target_drop_next(struct target *t);
/* It is taken: its place is fixed.  ERR_FULL: rows are due that the store has not got; ERR_NOMEM: both leave
 * it where it is. */
int target_take(struct target *t, struct mono now) MUST_USE;
/* The next batch whose row is due in the store; borrowed, NULL: none is. */
struct batch *target_due(struct target *t, struct mono now);
/* The store took that one. */
void target_kept(struct target *t);
/* All rows are due. */
void target_hold_end(struct target *t);

/* The source gave up all up to seq: what is not here by now is not waited for (target_stored() when the store
 * has that).  False: nothing of it is missing.  What lies before is delivered first, and all of it is kept
 * (MUST). */
bool target_skip(struct target *t, uint64_t seq);
/* Passes over messages up to seq that were given up, if all before them are acknowledged. */
bool target_pass_over(struct target *t, uint64_t seq);
/* The same for the newest gap. */
bool target_pass_gap(struct target *t);
/* Memory is short: keeps little of what the inbox has. */
void target_trim(struct target *t);
/* Only order.c calls these two: durable up to seq. */
void target_stored(struct target *t, uint64_t seq, struct mono now);
void target_processed(struct target *t, uint64_t seq);

/* A subscriber came or went: one that is there is waited for, in memory; else the store takes all. */
void target_attend(struct target *t, bool attended);
/* An operator pauses the stream here, or lets it go on: nothing is delivered while it is paused. */
void target_pause(struct target *t, bool paused);
/* The next message for the subscriber: see cursor.h. */
enum cursor_want target_deliver(struct target *t, struct batch_record *rec);
/* The application has processed all up to seq; ERR_RANGE if it was never delivered. */
int target_ack(struct target *t, uint64_t seq) MUST_USE;
/* The message, delivered and not acknowledged, and all behind it will be delivered again: acks of them are
 * refused until then.  ERR_RANGE: it was not delivered; ERR_EXISTS: it comes again at any rate. */
int target_nack(struct target *t, uint64_t seq) MUST_USE;
/* The next message after what is acknowledged up to seq are done without an ack: they were given up, or need
 * nobody.  They are taken, or stored if the target is not early. */
void target_pass(struct target *t, uint64_t seq);
/* A new subscriber has processed all up to seq already; delivery begins after that, or after what was
 * processed. What is more than TARGET_UNSTORED_MAX beyond what was taken (early; else beyond what is stored)
 * was never delivered: seq counts as far as messages are here. */
void target_resume(struct target *t, uint64_t seq);
/* acked marks for the store, but none above limit: true and the range first..last, counted as put. */
bool target_put_processed(struct target *t, uint64_t limit, uint64_t *first, uint64_t *last);

/* The message is given to the store as a dead letter, with the mark that passes it: each once, in order. */
void target_failed(struct target *t, uint64_t seq);
/* A dead letter was processed after all. */
void target_replayed(struct target *t, uint64_t seq);
/* The source knows what failed up to seq. */
void target_heard(struct target *t, uint64_t seq);
/* The source knows what failed up to seq, and it is not in memory what did behind that. */
bool target_lacks_failures(const struct target *t, uint64_t seq);

struct target_ack {
	uint64_t stored, processed, window_bytes;
	uint64_t ranges[2 * TARGET_RANGES_MAX];
	size_t range_count;   /* numbers */
	uint64_t failed_from; /* dead letters above this, up to processed, or to the last if that are all */
	uint64_t failed[FAILURES_ACK_MAX];
	size_t failed_count;
};

/* Says something to the source soon: at once, or within TARGET_ACK_DELAY_US. */
void target_ack_soon(struct target *t, struct mono now, bool at_once);
/* True if an ack is due now: it is in *out and counted as sent. */
bool target_ack_due(struct target *t, struct mono now, struct target_ack *out);
/* What an ack would say. */
void target_ack_fill(const struct target *t, struct target_ack *out);

/* The source has closed the stream after seq.  ERR_RANGE if that is not all there is. */
int target_close(struct target *t, uint64_t seq) MUST_USE;

#endif
