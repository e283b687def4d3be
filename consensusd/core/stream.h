/*
 * stream: the source's side of one stream, from publish to "processed by all targets".
 *
 *	pending -> sealed -> tail (given to the store) -> durable -> in flight in each flow -> processed
 *
 * Seqs are given when a message enters pending.  Nothing is sent that is not durable: durable_seq is
 * raised by order.h alone, and stream_poll() hands out nothing above it.  So batches keep their
 * borders for ever, and what is lost with this process was never seen by anybody.
 *
 * What became a dead letter at a target counts as processed for order's sake, in all marks; publishers are
 * told the truth (stream_outcome()), when it is recorded here.
 *
 * The shell moves a stream: it calls stream_poll() for a flow as long as that wants something.
 */
#ifndef CONSENSUSD_CORE_STREAM_H
#define CONSENSUSD_CORE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "consensusd/core/flow.h"
#include "consensusd/core/idwindow.h"
#include "consensusd/core/ledger.h"
#include "consensusd/core/limits.h"
#include "consensusd/core/policy.h"
#include "consensusd/core/tail.h"
#include "consensusd/core/waiters.h"

struct batch;
struct budget;
struct idwindows;
struct pending;
struct pending_pool;
struct rng;
struct throttle;

enum stream_state { STREAM_OPENING, STREAM_OPEN, STREAM_CLOSING, STREAM_CLOSED };

struct stream_conf {
	struct flow_conf flow;
	uint32_t batch_messages;
	size_t batch_bytes;   /* payload of a batch of several messages */
	size_t backlog_bytes; /* kept in the outbox; above, streaming publishers are held */
};

struct stream {
	struct ulid id;
	char tenant[TENANT_TEXT_SIZE];
	enum stream_state state; /* OPENING: its row is not durable yet */
	const struct stream_conf *conf;
	struct budget *budget;
	struct policy policy;
	uint64_t now_ms; /* of the wall clock, as the shell last said: what is given to the store is so old */
	uint64_t epoch;
	uint64_t next_seq;      /* of the next message */
	uint64_t durable_seq;   /* all up to this are in the outbox */
	uint64_t fixed_seq;     /* of them, all up to this have their place in the stream's group */
	uint64_t committed_seq; /* all up to this are processed by all targets, or given up */
	uint64_t skipped_seq; /* all up to this was given up, where it is not processed; a batch ends here */
	uint64_t giving_up_seq; /* the store was told that all up to this is */
	uint64_t kept_seq;      /* what was answered then: of what is being given up nothing more is */
	uint64_t reached_seq;   /* what a quorum ever had processed: who had it may be no target any more */
	uint64_t left_seq;      /* targets that are none any more had processed all up to this, or less */
	uint64_t unsure_seq;    /* up to here lost was forgotten, as in a restart: the store knows */
	struct stream_lost {
		uint64_t first, last;
	} lost[STREAM_LOST_MAX]; /* of them, ascending, what publishers were told is lost */
	size_t lost_count;
	uint64_t close_seq;      /* when closing: the last one */
	uint64_t send_limit;     /* nothing above is sent for the first time now (the shell says so) */
	struct pending *pending; /* forming; NULL: nothing */
	struct batch *sealed;    /* made from pending, the store did not take it yet */
	struct tail tail;
	struct ledger ledger; /* bytes in the outbox */
	struct waiters waiters;
	struct idwindow ids;   /* of the newest messages */
	uint64_t told_seq;     /* publishers of all up to this were told what there was to tell */
	uint64_t earlier_seq;  /* of all up to this they may have been, before a restart */
	struct stream_parked { /* answered, but for the quorum */
		struct waiter w;
		struct mono until;
	} * parked; /* STREAM_PARKED_MAX of them, in order; NULL: none ever */
	size_t parked_count;
	bool emptying;             /* all of them are told */
	bool paused;               /* no data is sent */
	struct throttle *throttle; /* NULL: none; others may share it */
	uint64_t released_seq;     /* of the throttle: what may be sent to any target, and again */
	void *owner;               /* the shell's */
	size_t flow_count, flow_cap;
	struct flow *flows; /* those that are gone too, until another target takes the place */
};

/* A new stream without messages; targets are node ids.  NULL: no memory.  conf and budget are borrowed. */
struct stream *stream_new(const struct ulid *id, const char *tenant, const uint64_t *targets, size_t count,
    const struct stream_conf *conf, struct budget *budget) MUST_USE;
void stream_free(struct stream *s, struct pending_pool *pool);
/* After a restart: the last durable seq, then (per target, also of those that are none any more) what it had
 * processed. */
void stream_load(struct stream *s, uint64_t last_seq);
void stream_load_processed(struct stream *s, uint64_t node, uint64_t seq);
/* And that a target became one when there were messages already: it gets those from first_seq on. */
void stream_load_first(struct stream *s, uint64_t node, uint64_t first_seq);

struct publish {
	uint64_t seq; /* 0: the next one */
	bool named;   /* message_id was given by the client */
	struct ulid message_id;
	const uint8_t *headers;
	size_t headers_len;
	const uint8_t *payload;
	size_t payload_len;
};

enum { PUBLISH_NEW = 0, PUBLISH_KNOWN = 1 };

/*
 * Takes one message in; *seq is its seq.  PUBLISH_KNOWN: it is there already (the same seq or message
 * id was published before); nothing was added.  ERR_GAP: seq is beyond the next one.  ERR_EXISTS: that
 * seq has another message id, or the id another seq, as far as ids are known: of what is in memory, and in
 * the stream's window.  ERR_STATE: closing.  ERR_AGAIN: the forming batch is full, seal it first.
 * ERR_LIMIT, ERR_NOMEM.
 */
int stream_publish(struct stream *s, struct pending_pool *pool, struct idwindows *ids,
    const struct publish *p, uint64_t *seq) MUST_USE;
/* The seq of the message with this id, if that is known. */
bool stream_find_id(
    const struct stream *s, const struct idwindows *ids, const struct ulid *message_id, uint64_t *seq);
/* After a restart: a message that publishers know by its id alone, the oldest first.  ERR_NOMEM. */
int stream_load_id(
    struct stream *s, struct idwindows *ids, const struct ulid *message_id, uint64_t seq) MUST_USE;

/* Whether pending can and should be sealed (there is something, and the last one was taken). */
bool stream_sealable(const struct stream *s);
/* pending was sealed into b (its reference is taken over) and goes back to the pool. */
void stream_sealed(struct stream *s, struct pending_pool *pool, struct batch *b);
/* The store took the sealed batch. */
void stream_given(struct stream *s);
/* pending can't be sealed (its key is gone): its messages never were; their seqs are free again and
 * their waiters are the caller's to fail (waiters_pop_from() next_seq). */
void stream_drop_pending(struct stream *s, struct pending_pool *pool, struct idwindows *ids);

/* Memory is short: keeps no more than a window of what the outbox has. */
void stream_trim(struct stream *s);
/* Only order.c calls this: the outbox is durable up to seq. */
void stream_durable(struct stream *s, uint64_t seq);
/* The stream's group has described all up to seq; what is not durable here does not count. */
void stream_fixed(struct stream *s, uint64_t seq);
/* After acks: raises committed_seq to what all targets have processed.  True if it was raised. */
bool stream_commit(struct stream *s);
/* Of that: a quorum has what it has now also when some of it are no targets any more. */
void stream_reached(struct stream *s);
/* Publishers of all up to this get their answer now, as the stream's policy has it (policy.ack).  It says
 * nothing of what may leave the outbox: that is committed_seq. */
uint64_t stream_answered(const struct stream *s);
/* What publishers of a message that is answered are told: it reached what the policy asks for; it never will,
 * since it is a dead letter at too many targets; or not yet, but targets that have not processed it may still
 * do so. */
enum stream_outcome { STREAM_REACHED, STREAM_FAILED, STREAM_WAITS };
enum stream_outcome stream_outcome(const struct stream *s, uint64_t seq);
/* Publishers are answered up to here, as far as dead letters go: those behind are to be recorded first. */
uint64_t stream_recorded(const struct stream *s);
/* A publisher of an answered message waits, for STREAM_PARKED_MS at most: for its quorum, or since its call
 * is told of messages in order, and one before waits.  False: it is to be told now. */
bool stream_park(struct stream *s, const struct waiter *w, struct mono now);
/* Takes out one that is to be told now; false: none is. */
bool stream_unpark(struct stream *s, struct mono now, struct waiter *out);
/* When the next one is, whatever happens; MONO_NEVER. */
struct mono stream_parked_until(const struct stream *s);
/* Publishers were told what there was to tell. */
void stream_settle(struct stream *s);
/* So many targets have refused that no message can reach what the policy asks for. */
bool stream_hopeless(const struct stream *s);

/* No more messages; what is there is still delivered.  ERR_STATE if closing already. */
int stream_close(struct stream *s) MUST_USE;
/* A target that had processed all, and is told that the stream is closed, answers that it has less: it lost
 * it. So do answers that are late. */
bool stream_contradicts(const struct stream *s, const struct flow *f, const struct flow_ack *a);
/* All targets have closed, or refused the stream. */
bool stream_finished(const struct stream *s);

enum stream_want {
	STREAM_IDLE,
	STREAM_SEND,  /* batch to the flow's target */
	STREAM_READ,  /* from_seq on, at most max_bytes, from the outbox; then stream_read() */
	STREAM_ASK,   /* send MSG_OPEN */
	STREAM_END,   /* send MSG_CLOSE */
	STREAM_SKIP,  /* send MSG_SKIP */
	STREAM_BROKEN /* the target has half a batch: refuse it */
};

struct stream_order {
	struct batch *batch; /* borrowed */
	uint64_t from_seq;
	size_t max_bytes;
};

/* What the flow wants next; counted as done (sent, asked, being read) when this returns. */
enum stream_want stream_poll(
    struct stream *s, struct flow *f, struct mono now, struct rng *rng, struct stream_order *out);
/* A batch that was read: in flight now and to be sent (true), or no longer wanted.  b NULL ends the read. */
bool stream_read(struct stream *s, struct flow *f, struct batch *b, struct mono now);
/* When to poll the flow again if nothing happens before. */
struct mono stream_deadline(const struct stream *s, const struct flow *f);

/* What operators want: whether data is sent at all, and how fast (borrowed, NULL: as fast as it can be).
 * Targets are still asked where they are, and acks are heard.  All flows are to be polled after this. */
void stream_regulate(struct stream *s, bool paused, struct throttle *throttle);

/* What the stream was asked for, right after it was made. */
void stream_set_policy(struct stream *s, const struct policy *p);
/* What is oldest in the outbox has been there for longer than it may, and is to be held for targets. */
bool stream_aged(const struct stream *s);
/* What is to be given up now, as the policy has it (overflow: drop): all up to this, which is durable and
 * where a batch ends; 0: nothing. */
uint64_t stream_overflow(const struct stream *s);
/* The store was told that all up to seq, as that said, is given up.  From here on nobody is told that any of
 * it was processed: whether it is lost shows when that is durable. */
void stream_give_up(struct stream *s, uint64_t seq);
/* Only order.c calls this: it is durable that all up to seq is given up.  What is not answered of it is lost.
 */
void stream_skip(struct stream *s, uint64_t seq, struct mono now);
/* After a restart: all up to seq was given up, where it was not processed. */
void stream_load_skipped(struct stream *s, uint64_t seq);
/* Publishers of this message were told that it is lost. */
bool stream_is_lost(const struct stream *s, uint64_t seq);
/* It was given up, or answered before that, or may be a dead letter, before a restart or so long ago that it
 * was forgotten here: what the store has of it decides (stream_fate()). */
bool stream_is_unsure(const struct stream *s, uint64_t seq);
/* What the store says: for which targets it was given up, and at which it is a dead letter. */
struct stream_record {
	uint64_t missed[STREAM_TARGETS_MAX], failed[STREAM_TARGETS_MAX];
	size_t missed_count, failed_count;
};
/* Of an unsure message: it reached what the policy asks for; it never will, since it was given up; or since
 * it is a dead letter, as far as is known; targets that had stored it have not said since a restart that they
 * processed it; it can't be known any more. */
enum stream_fate {
	STREAM_FATE_REACHED,
	STREAM_FATE_LOST,
	STREAM_FATE_FAILED,
	STREAM_FATE_UNSAID,
	STREAM_FATE_UNKNOWN
};
enum stream_fate stream_fate(const struct stream *s, uint64_t seq, const struct stream_record *r);
/* Above the mark of the outbox (until below 3/4 of it), or much faster than targets that are there:
 * publishers of this stream are held. */
bool stream_held(const struct stream *s, bool was_held);
/* Far above the mark: unary publishes are refused. */
bool stream_overfull(const struct stream *s);
/* Whether all these, which are no targets now, can be some: there are STREAM_TARGETS_MAX places, and a target
 * that was removed keeps its own until it knows. */
bool stream_has_places(const struct stream *s, const uint64_t *nodes, size_t count);
/* Makes room for that.  Flows move the first time: moved is told of each, for what points at it.  ERR_NOMEM.
 */
typedef void stream_moved_fn(void *arg, struct flow *from, struct flow *to);
int stream_reserve(struct stream *s, stream_moved_fn *moved, void *arg) MUST_USE;
/* Then one more target, which gets all from the next message on: nothing is pending, or sealed and not given.
 */
struct flow *stream_add(struct stream *s, uint64_t node);
/* NULL if node is no target, and was none. */
struct flow *stream_flow(struct stream *s, uint64_t node);
const char *stream_state_name(enum stream_state state);

#endif
