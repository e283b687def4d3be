/*
 * envelope: messages between consensusds as packets, and packets as fragments that fit a frame.
 *
 * A packet is a list of messages {kind 1, length 4, body}.  On the way it is sealed (peers.c) and cut into
 * fragments {version 1, class 1, number 8, index 2, count 2, bytes}; all but the last are full, so each
 * one's place is known.  What is being put together costs the memory of what has come, not of what was
 * announced, and is bounded for each node (ENVELOPE_NODE_MAX_COUNT) and in all (max_bytes of the caller):
 * beyond, the oldest is dropped.  Pure.
 */
#ifndef CONSENSUSD_CORE_ENVELOPE_H
#define CONSENSUSD_CORE_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "common/base/frame.h"
#include "common/base/mono.h"
#include "common/base/must.h"

struct buf;

enum {
	ENVELOPE_VERSION = 1,
	ENVELOPE_MESSAGE_BYTES = 5,   /* before a message's body */
	ENVELOPE_FRAGMENT_BYTES = 14, /* before a fragment's bytes */
	ENVELOPE_FULL_BYTES = FRAME_PAYLOAD_MAX_BYTES - ENVELOPE_FRAGMENT_BYTES,
	ENVELOPE_FRAGMENTS_MAX = 400, /* of a packet: 6 MiB, more than the largest message takes */
	ENVELOPE_PACKET_MAX_BYTES = ENVELOPE_FRAGMENTS_MAX * ENVELOPE_FULL_BYTES,
	ENVELOPE_NODE_MAX_COUNT = 4,  /* packets of one node that are being put together */
	ENVELOPE_PARTIALS_MAX = 1024, /* of all nodes: each has to be looked at to find one */
	ENVELOPE_WAIT_MS = 10 * 1000, /* from the first fragment of a packet to its last */
};

/* One message of an opened packet; the body is borrowed. */
struct envelope_message {
	uint8_t kind;
	const uint8_t *body;
	size_t len;
};

/* Appends what goes before a body of len bytes, which the caller appends. */
int envelope_put(struct buf *out, uint8_t kind, size_t len) MUST_USE;
/* The next message of a packet: 0, or ERR_SHORT. */
int envelope_get(struct buf *in, struct envelope_message *out) MUST_USE;

struct envelope_fragment {
	uint8_t class;
	uint64_t number; /* of the packet: the sender never uses one again */
	uint16_t index, count;
	const uint8_t *bytes; /* borrowed */
	size_t len;
};

/* How many fragments a packet of so many bytes makes; it has at least one and at most
 * ENVELOPE_PACKET_MAX_BYTES. */
uint16_t envelope_count(size_t len);
/* Fragment index of a packet; f has class and number. */
void envelope_cut(struct envelope_fragment *f, const uint8_t *packet, size_t len, uint16_t index);
int envelope_put_fragment(struct buf *out, const struct envelope_fragment *f) MUST_USE;
/* Reads the payload of a frame: ERR_SHORT, ERR_VERSION, ERR_FORMAT, ERR_LIMIT. */
int envelope_get_fragment(const uint8_t *data, size_t len, struct envelope_fragment *out) MUST_USE;

TAILQ_HEAD(envelope_partials, envelope_partial);

struct envelope {
	struct envelope_partials partials; /* the oldest first */
	size_t count, bytes, max_bytes;
	uint64_t dropped; /* packets given up: too old, contradicted, or over a limit */
};

void envelope_init(struct envelope *e, size_t max_bytes);
void envelope_fini(struct envelope *e);
/*
 * Adds a fragment from a node.  *packet: the whole packet, if it is that now, the caller's to free with
 * mem_free(); else NULL.  A fragment that does not fit what came before of its packet begins it again: a
 * forged one can't keep the right ones out for good.  ERR_NOMEM: the fragment is lost.
 */
int envelope_add(struct envelope *e, uint64_t node, const struct envelope_fragment *f, struct mono now,
    uint8_t **packet, size_t *len) MUST_USE;
/* Drops what has waited for too long. */
void envelope_expire(struct envelope *e, struct mono now);
/* When there will be something to drop; MONO_NEVER. */
struct mono envelope_next(const struct envelope *e);

#endif
