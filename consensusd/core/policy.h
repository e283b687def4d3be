/*
 * policy: what was asked for when a stream was opened; part of its signed StreamMeta.  All zero is what a
 * stream has that asks for nothing.
 */
#ifndef CONSENSUSD_CORE_POLICY_H
#define CONSENSUSD_CORE_POLICY_H

#include <stdint.h>

/* When a publisher gets its answer.  The first two that need targets also say what may leave the outbox:
 * that is always what all targets have processed, or what was given up (enum policy_overflow). */
enum policy_ack {
	POLICY_ACK_ALL,       /* all targets have processed it */
	POLICY_ACK_QUORUM,    /* policy.quorum of them have */
	POLICY_ACK_COMMITTED, /* its place is fixed: a quorum of the stream's group has its descriptor */
	POLICY_ACK_ACCEPTED,  /* it is durable at the source */
	POLICY_ACKS,
};

/* When targets are so far behind that the outbox is as large, or what is in it as old, as it may be. */
enum policy_overflow {
	POLICY_HOLD, /* publishers wait, or are refused */
	POLICY_DROP, /* the oldest go: targets that lack them are told which, and go on behind them */
	POLICY_OVERFLOWS,
};

/* What becomes of a message at its targets. */
enum policy_handler {
	POLICY_SUBSCRIBER, /* a subscriber gets it and acknowledges it */
	POLICY_DB,         /* it is a DBUpdate, applied to the target's database with the offset */
	POLICY_DISCARD,    /* it is counted, and done */
	POLICY_HANDLERS,
};

struct policy {
	enum policy_ack ack;
	uint32_t quorum;
	uint64_t retention_bytes; /* of the outbox; 0: stream-backlog */
	uint64_t retention_ms;    /* 0: for ever */
	enum policy_overflow overflow;
	enum policy_handler handler;
	uint32_t
	    max_attempts;  /* that fail, of a handler at one message, until it is a dead letter; 0: no end */
	uint32_t retry_ms; /* before the second attempt, twice as long before the third, ...; 0: 1 s */
};

#endif
