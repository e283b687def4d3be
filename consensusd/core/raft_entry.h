/*
 * raft_entry: one entry of a replicated log.
 *
 * Immutable once made, and shared: the log, messages that wait to be sent and what is being applied hold a
 * reference each.  On the wire, and as the payload in raft_log:
 *
 *	u8 type, u64 client, u64 seq, data
 *
 * client and seq name a proposal, so that the same one, proposed again after its answer was lost, is
 * applied once (thesis, section 6.3); 0 where that does not matter.
 */
#ifndef CONSENSUSD_CORE_RAFT_ENTRY_H
#define CONSENSUSD_CORE_RAFT_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum raft_entry_type {
	RAFT_NOOP,   /* begins a term: commits what was there before */
	RAFT_DATA,   /* for the state machine */
	RAFT_CONFIG, /* a membership: raft_config.h */
	RAFT_ENTRY_TYPES,
};

enum {
	RAFT_ENTRY_HEAD_BYTES = 1 + 8 + 8,
	RAFT_DATA_MAX_BYTES = 4 * 1024 * 1024, /* of one entry: the largest message that the API takes */
};

struct raft_entry {
	unsigned refs;
	uint8_t type; /* enum raft_entry_type */
	uint64_t term, index;
	uint64_t client, seq;
	uint32_t len;
	uint8_t data[];
};

/* A new entry with one reference; data is copied.  Term and index are set by who puts it into a log.  NULL:
 * no memory, or len is beyond RAFT_DATA_MAX_BYTES. */
struct raft_entry *raft_entry_new(
    uint8_t type, uint64_t client, uint64_t seq, const void *data, size_t len) MUST_USE;
struct raft_entry *raft_entry_ref(struct raft_entry *e);
void raft_entry_unref(struct raft_entry *e);

/* What it takes of memory and of a message, roughly. */
size_t raft_entry_bytes(const struct raft_entry *e);

/* The payload, without term and index; the buffer's errors. */
int raft_entry_encode(const struct raft_entry *e, struct buf *out) MUST_USE;
/* Exactly len bytes.  ERR_SHORT, ERR_FORMAT, ERR_LIMIT, ERR_NOMEM. */
int raft_entry_decode(const uint8_t *data, size_t len, struct raft_entry **out) MUST_USE;

#endif
