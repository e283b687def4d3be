/*
 * swim_msg: the messages of the membership protocol (mesh-wire(7), GOSSIP).
 *
 *	payload = u8 version, then messages {u8 kind, u16 length, body}
 *
 * Integers are big endian.  Kinds carry Serf's names (join, alive, suspect, confirm, leave, user-event)
 * and SWIM's (ping, ping-req, ack, nack).  A receiver skips kinds that it does not know; what it knows
 * has to be exactly as long as its fields say.
 *
 * incarnation = start << 32 | refutations: start is the persisted number of the node's start, as its
 * signed LSA has it.
 */
#ifndef ROUTERD_CORE_SWIM_MSG_H
#define ROUTERD_CORE_SWIM_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/limits.h"

struct buf;

enum {
	SWIM_VERSION = 1,
	SWIM_MSG_HEAD_BYTES = 3, /* kind, length */
	SWIM_DIGEST_ENTRY_BYTES = 25,
	SWIM_MSG_MAX_BYTES = SWIM_MSG_HEAD_BYTES + 1 + 8 + 8 + 2 + SWIM_DIGEST_MAX * SWIM_DIGEST_ENTRY_BYTES,
};

#define SWIM_KIND_LIST(X)                                                                                    \
	X(PING, 1, "ping")                                                                                   \
	X(PING_REQ, 2, "ping-req")                                                                           \
	X(ACK, 3, "ack")                                                                                     \
	X(NACK, 4, "nack")                                                                                   \
	X(JOIN, 5, "join")                                                                                   \
	X(ALIVE, 6, "alive")                                                                                 \
	X(SUSPECT, 7, "suspect")                                                                             \
	X(CONFIRM, 8, "confirm")                                                                             \
	X(LEAVE, 9, "leave")                                                                                 \
	X(META, 10, "meta")                                                                                  \
	X(USER_EVENT, 11, "user-event")                                                                      \
	X(PUSH_PULL, 12, "push-pull")                                                                        \
	X(DIGEST, 13, "digest")

enum swim_kind {
#define X(name, value, text) SWIM_##name = (value),
	SWIM_KIND_LIST(X)
#undef X
};

enum { SWIM_KIND_COUNT = SWIM_DIGEST + 1 };

const char *swim_kind_name(enum swim_kind kind);

enum swim_digest_flag { SWIM_DIGEST_REPLY = 0x01 /* an answer: no digest comes back */ };

/* What one node holds of one member. */
struct swim_digest_entry {
	uint64_t node, incarnation, meta_version;
	uint8_t state; /* enum swim_state */
};

struct swim_msg {
	uint8_t kind; /* enum swim_kind */
	/* PING, PING_REQ, ACK, NACK */
	uint32_t seq;
	/* PING, PING_REQ: who shall answer; JOIN to META: who it is about; USER_EVENT: who sent it */
	uint64_t node;
	uint64_t incarnation; /* JOIN to LEAVE */
	uint64_t from;        /* SUSPECT, CONFIRM: who says so */
	uint64_t version;     /* META */
	/* META: see swim_meta.h; USER_EVENT: the payload.  Borrowed. */
	const uint8_t *data;
	uint16_t data_len;
	/* USER_EVENT */
	uint64_t ltime;
	uint32_t id; /* tells events of one Lamport time and node apart */
	char name[SWIM_EVENT_NAME_SIZE];
	/* PUSH_PULL: what the sender holds; equal sums are equal tables */
	uint64_t clock, sum, event_sum;
	uint32_t count;
	/* DIGEST: all that the sender holds of nodes from first to last */
	uint8_t flags;
	uint64_t first, last;
	uint16_t entry_count;
	const uint8_t *entries; /* borrowed */
};

/* Starts a payload. */
int swim_msg_begin(struct buf *out) MUST_USE;
/* Appends a message: 0, ERR_RANGE for what can't be said, or the buffer's errors; then nothing is written. */
int swim_msg_put(struct buf *out, const struct swim_msg *m) MUST_USE;

/* 0, ERR_SHORT or ERR_VERSION. */
int swim_msg_open(struct buf *in) MUST_USE;
/* The next message: 1, 0 at the end, or an error (ERR_SHORT, ERR_LEFTOVER, ERR_FORMAT, ERR_LIMIT), after
 * which nothing more can be read.  Total. */
int swim_msg_next(struct buf *in, struct swim_msg *out) MUST_USE;

void swim_digest_load(const struct swim_msg *m, size_t i, struct swim_digest_entry *out);
void swim_digest_store(uint8_t *at, const struct swim_digest_entry *e);

#endif
