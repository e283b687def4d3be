/*
 * flow: one stream on its way to one target, seen from the source.
 *
 * A flow knows where the target is (stored, processed), which batches are in flight, and when to send
 * what again.  Loss is found as in RACK (RFC 8985): a batch is lost when one that was sent later has
 * arrived and the reordering time has passed; else by a timer with back-off and jitter.  After
 * FLOW_TIMEOUTS_MAX time-outs in a row the flow stops sending data and asks the target where it is
 * (state OPENING): a small question while the target is away, and the answer is authoritative.
 *
 * Several paths bring batches out of order: how far is measured, and the reordering time follows (RFC 8985
 * section 6.2).  When transportd leaves a path, what was in flight is sent again at once.
 *
 * processed is never raised over a message without knowing whether it became a dead letter there.  An ack
 * says from where on it names those: if that lies above processed, or there is no room for them, the flow
 * stays where it is and asks (unexplained).
 *
 * The congestion window halves once per round trip with loss and grows with what is stored.
 */
#ifndef CONSENSUSD_CORE_FLOW_H
#define CONSENSUSD_CORE_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/backoff.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "consensusd/core/failures.h"

struct batch;
struct budget;
struct rng;

enum flow_state {
	FLOW_OPENING, /* the target is being asked where it is */
	FLOW_OPEN,    /* data flows */
	FLOW_REFUSED, /* the target said no; it is asked again, slowly */
	FLOW_CLOSED,  /* the target has processed all of a closed stream */
	FLOW_GONE,    /* the target is none any more: nothing waits for it */
};

struct flow_conf {
	size_t window_bytes; /* in flight, at most */
	uint32_t rto_min_ms, rto_max_ms;
};

struct flow_entry {
	struct batch *batch;
	struct mono sent, first_sent; /* the last time, the first time */
	uint32_t tries;               /* times sent */
	bool sacked;                  /* the target has it, out of order or not durable yet */
	bool lost;                    /* to be sent again */
};

struct flow {
	uint64_t node;
	enum flow_state state;
	bool removed,
	    untold; /* GONE because somebody wanted it so; and the target may not know it: it is asked */
	uint64_t first_seq; /* what lies before was there when it became a target: it never gets that */
	const struct flow_conf *conf;
	struct budget *budget;
	uint64_t next_seq;          /* first seq to be put in flight next */
	uint64_t stored, processed; /* all up to these are durable, processed at the target */
	uint64_t heard_seq;         /* what the target says it has processed: processed, unless unexplained */
	uint64_t recorded_seq;      /* of processed, what is durable at the source (order.h) */
	struct failures failures;   /* of processed, dead letters */
	void *owner;                /* the shell's */
	struct flow_entry *ring;
	size_t cap, head, count, lost_count;
	size_t inflight_bytes, granted_bytes, cwnd_bytes, ssthresh_bytes;
	int64_t srtt_us, rttvar_us; /* srtt 0: none yet */
	int64_t reorder_us;         /* how much later than later ones batches have come */
	struct mono newest_sent;    /* of what the target is known to have */
	struct mono recovery;       /* loss of what was sent before is one event */
	struct mono rto_at, ask_at; /* next time-out; when to ask (open, close) again */
	struct backoff ask;
	struct mono poll_at;  /* when to ask whether more was processed: acks get lost */
	int64_t poll_us;      /* and how long to wait for that the next time */
	struct mono hold_at;  /* a throttle lets no more go before; MONO_NEVER: none does */
	uint32_t timeouts;    /* in a row */
	uint64_t retransmits; /* batches sent again */
	bool reading;         /* a read from the outbox is on its way */
	size_t
	    unread_bytes; /* of the batch at next_seq that was read in vain, for want of room; 0: unknown */
};

struct flow_ack {
	uint64_t stored, processed, window_bytes;
	const uint64_t *ranges; /* first, last, …: what the target has beyond stored */
	size_t range_count;     /* numbers, even */
	/* Dead letters above failed_from, ascending: all up to processed; FAILURES_ACK_MAX of them: up to the
	 * last. */
	uint64_t failed_from;
	const uint64_t *failed;
	size_t failed_count;
};

/* A flow that has to ask first; processed is what is known from the last run; failures_load() tells what of
 * it failed. */
void flow_init(
    struct flow *f, uint64_t node, uint64_t processed, const struct flow_conf *conf, struct budget *budget);
void flow_fini(struct flow *f);

/* The target said where it is (authoritative): data goes on from stored + 1, whatever was in flight.
 * newest_seq is the last seq that exists; ERR_RANGE if the target claims more, or if it has lost what
 * it once processed: nothing is changed then. */
int flow_opened(struct flow *f, const struct flow_ack *a, uint64_t newest_seq, struct mono now) MUST_USE;

/* What is remembered of other flows to this target, from another life maybe: the window begins no smaller
 * than cwnd_bytes (bounded to window_bytes), and time-outs as if the round trip took srtt_us (0: not known;
 * bounded to rto_max).  For a flow of which nothing was acknowledged; else it is left alone. */
void flow_warm(struct flow *f, size_t cwnd_bytes, int64_t srtt_us);
/* Whether anything that was sent has arrived: then window and round trip say something. */
bool flow_measured(const struct flow *f);

/* The target has to be asked again (it does not know the stream, or its answers make no sense). */
void flow_reopen(struct flow *f, struct mono now);
void flow_refused(struct flow *f, struct mono now, struct rng *rng);
/* The target is none any more. */
void flow_gone(struct flow *f);
/* The same, because somebody wanted it so: from now on it is told, until flow_told(). */
void flow_remove(struct flow *f, struct mono now);
/* After a restart: it was removed, and from which message on it had been a target is not known any more. */
void flow_load_removed(struct flow *f, struct mono now);
void flow_told(struct flow *f);
/* False: the target was removed and knows it, which leaves nothing to be said of it. */
bool flow_matters(const struct flow *f);
/* Whether the message at seq is, or was, this target's concern: it is a target and was one at that time, or
 * has processed it. */
bool flow_concerns(const struct flow *f, uint64_t seq);
/* The message is a dead letter there, as far as that is known here: from failures.from on. */
bool flow_failed(const struct flow *f, uint64_t seq);
/* It is none after all. */
void flow_replayed(struct flow *f, uint64_t seq);
/* The target has processed more than it has explained, and what it says of that can be taken. */
bool flow_unexplained(const struct flow *f);
/* A dead letter among what is processed is not recorded yet: the first one, or 0. */
uint64_t flow_unrecorded(const struct flow *f);
/* Nobody waits for messages up to seq any more: of what failed there only the newest are remembered. */
void flow_settle(struct flow *f, uint64_t seq);
/* Ask at once instead of waiting for the timer: the target came back. */
void flow_hurry(struct flow *f, struct mono now);

/* An ack; an old one changes nothing.  ERR_RANGE if it acknowledges more than newest_seq, the last seq
 * that exists (what was sent is not enough: that was another life of this process, perhaps), or its dead
 * letters are not what they should be. */
int flow_acked(struct flow *f, const struct flow_ack *a, uint64_t newest_seq, struct mono now) MUST_USE;

/* The target answers where it is while data flows: as an ack.  With nothing in flight nothing else would show
 * that it has lost what it had stored: if it says so, it is asked once more, and then what it says counts. */
int flow_answered(struct flow *f, const struct flow_ack *a, uint64_t newest_seq, struct mono now) MUST_USE;

/* A path to the target was left: what was sent until now may be lost, which says nothing about the others. */
void flow_rerouted(struct flow *f, struct mono now);

/* All up to seq, where a batch ends, was given up: nothing of it is sent any more, and if the target lacks
 * some of it, it is to be told (at once, by flow_ask()). */
void flow_skip(struct flow *f, uint64_t seq, struct mono now);

/* Whether bytes more may be put in flight now. */
bool flow_room(const struct flow *f, size_t bytes);
/* Puts b, which begins at next_seq, in flight; references it.  ERR_NOMEM. */
int flow_push(struct flow *f, struct batch *b, struct mono now) MUST_USE;
/* Has the flow looked at again later (there was no memory), if nothing else does that. */
void flow_later(struct flow *f, struct mono now);
/* The next batch to be sent again, borrowed, counted as sent now; NULL if none. */
struct batch *flow_resend(struct flow *f, struct mono now);
/* Whether it is time to ask (open or close); if so, the next time is set. */
bool flow_ask(struct flow *f, struct mono now, struct rng *rng);
/* Whether it is time to ask a target that has everything (or takes nothing) whether that has changed. */
bool flow_poll(struct flow *f, struct mono now, struct rng *rng);
/* Marks what timed out as lost, or goes to OPENING after too many in a row. */
void flow_timeout(struct flow *f, struct mono now, struct rng *rng);
/* When flow_timeout(), flow_ask() or flow_poll() want to be called; MONO_NEVER if not. */
struct mono flow_deadline(const struct flow *f);

/* "open".  Static. */
const char *flow_state_name(enum flow_state state);

#endif
