/*
 * linkstate: the payload of a LINK_STATE frame, between two neighbours (mesh-linkstate(7)).
 *
 *	u8 version, then messages {u8 kind, u16 length, body}:
 *	UPDATE   u32 age ms, LSA             an LSA, and how long ago its origin made it
 *	ACK      n x {u64 node, u64 incarnation, u64 seq}
 *	ASK      u8 flags, u64 first, u32 count, u64 sum
 *	         send the digest of your database from node id first on; count and sum are the asker's
 *	DIGEST   u8 flags, u64 first, u64 last, n x {node, incarnation, seq}, ascending
 *	         all that the sender has from first to last; SAME: your count and sum are mine too
 *	REQUEST  n x u64 node                send these LSAs
 *
 * Unknown kinds are skipped.  The writer packs messages and hands a payload on when it is full.
 */
#ifndef ROUTERD_CORE_LINKSTATE_H
#define ROUTERD_CORE_LINKSTATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/frame.h"
#include "common/base/must.h"
#include "routerd/core/lsa.h"

enum { LINKSTATE_VERSION = 1, LINKSTATE_ID_BYTES = 24 };

enum linkstate_kind {
	LINKSTATE_UPDATE = 1,
	LINKSTATE_ACK = 2,
	LINKSTATE_ASK = 3,
	LINKSTATE_DIGEST = 4,
	LINKSTATE_REQUEST = 5,
};

enum linkstate_flag {
	LINKSTATE_FLAG_FIRST = 0x01, /* ASK: the asker knows nothing of you yet */
	LINKSTATE_FLAG_SAME = 0x01,  /* DIGEST */
};

struct linkstate_ask {
	uint8_t flags;
	uint64_t first;
	uint32_t count; /* LSAs that the asker has */
	uint64_t sum;   /* lsdb_sum() of them */
};

struct linkstate_msg {
	uint8_t kind;
	uint8_t flags;        /* DIGEST */
	uint32_t age_ms;      /* UPDATE */
	uint64_t first, last; /* DIGEST */
	struct linkstate_ask ask;
	const uint8_t *data; /* UPDATE: the LSA; others: the list, see linkstate_id/_node.  Borrowed */
	size_t len;          /* bytes of data */
	size_t count;        /* entries of the list */
};

/* Checks the version at the start of a payload: ERR_SHORT, ERR_VERSION. */
int linkstate_open(struct buf *in) MUST_USE;
/* The next message: 1 and *out, 0 at the end, ERR_SHORT or ERR_FORMAT. */
int linkstate_next(struct buf *in, struct linkstate_msg *out) MUST_USE;
/* Entry i of an ACK or DIGEST, of a REQUEST. */
void linkstate_id(const struct linkstate_msg *m, size_t i, struct lsa_id *out);
uint64_t linkstate_node(const struct linkstate_msg *m, size_t i);

struct linkstate_writer {
	void (*emit)(void *arg, const uint8_t *payload, size_t len); /* borrowed for the call */
	void *arg;
	unsigned frames; /* handed on so far */
	size_t len;      /* bytes of the payload being written */
	uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];
};

void linkstate_writer_init(
    struct linkstate_writer *w, void (*emit)(void *arg, const uint8_t *payload, size_t len), void *arg);
void linkstate_write_update(struct linkstate_writer *w, uint32_t age_ms, const uint8_t *lsa, size_t len);
void linkstate_write_ask(struct linkstate_writer *w, const struct linkstate_ask *ask);
/* ids: count encoded summaries, LINKSTATE_ID_BYTES each; any number for an ACK, DIGEST_IDS_MAX for a DIGEST.
 */
void linkstate_write_ack(struct linkstate_writer *w, const uint8_t *ids, size_t count);
void linkstate_write_digest(struct linkstate_writer *w, uint8_t flags, uint64_t first, uint64_t last,
    const uint8_t *ids, size_t count);
/* The nodes of ids, at most DIGEST_IDS_MAX. */
void linkstate_write_request(struct linkstate_writer *w, const struct lsa_id *ids, size_t count);
/* Hands on what was written, if anything. */
void linkstate_flush(struct linkstate_writer *w);

/* The encoding of one summary. */
void linkstate_put_id(uint8_t out[LINKSTATE_ID_BYTES], const struct lsa_id *id);

#endif
