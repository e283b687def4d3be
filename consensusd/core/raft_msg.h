/*
 * raft_msg: what replicas of a group say to each other.
 *
 * Kinds are those of the paper (figures 2 and 13) and of the thesis (section 3.10: TIMEOUT_NOW; 6.4: READ;
 * 9.6: PREVOTE).  Each one is one way: an answer is a message of its own, and any of them may be lost,
 * doubled or late.
 *
 *	u8 version, u8 kind, u8 flags, u64 to, u64 from, u64 term, then what the kind has
 *
 * The group it belongs to, and the mesh, are said by whoever puts it into a frame.
 */
#ifndef CONSENSUSD_CORE_RAFT_MSG_H
#define CONSENSUSD_CORE_RAFT_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;
struct raft_entry;

enum raft_kind {
	RAFT_PREVOTE = 1,      /* index, log_term: of the last entry; term: that it would have */
	RAFT_PREVOTE_ANSWER,   /* reject */
	RAFT_VOTE,             /* as PREVOTE; transfer: the leader wants it so */
	RAFT_VOTE_ANSWER,      /* reject */
	RAFT_APPEND,           /* entries after (index, log_term); commit */
	RAFT_APPEND_ANSWER,    /* index: what is known to match; or reject: index does not, hint might */
	RAFT_HEARTBEAT,        /* commit; read; quiet: nothing will follow until something happens */
	RAFT_HEARTBEAT_ANSWER, /* read */
	RAFT_SNAPSHOT,         /* (index, log_term), config, a chunk at an offset of size bytes */
	RAFT_SNAPSHOT_ANSWER,  /* index, offset: from where to go on; reject: not this one */
	RAFT_PROPOSE,          /* an entry for the leader to append */
	RAFT_READ,             /* read: asks the leader for an index that is safe to read at */
	RAFT_READ_ANSWER,      /* read, index; reject: not now */
	RAFT_TIMEOUT_NOW,      /* be a candidate at once */
	RAFT_GONE,             /* index: of a configuration that the receiver is not in */
	RAFT_KINDS,
};
const char *raft_kind_name(uint8_t kind);

enum {
	RAFT_MSG_VERSION = 1,
	RAFT_MSG_ENTRIES_MAX = 1024, /* in one APPEND */
	RAFT_CHUNK_MAX_BYTES = 256 * 1024,
};

struct raft_msg {
	uint8_t kind;
	bool reject, transfer, quiet;
	uint64_t to, from;
	uint64_t term;
	uint64_t index, log_term, commit;
	uint64_t hint, hint_term; /* of a rejection */
	uint64_t read;
	uint64_t offset, size; /* of a snapshot */
	/* Owned by the message: */
	struct raft_entry **entries;
	size_t entry_count;
	uint8_t *config; /* encoded */
	size_t config_len;
	uint8_t *chunk;
	size_t chunk_len;
};

void raft_msg_fini(struct raft_msg *m);
/* About as many bytes as it takes encoded, and in memory. */
size_t raft_msg_bytes(const struct raft_msg *m);
int raft_msg_encode(const struct raft_msg *m, struct buf *out) MUST_USE;
/* Exactly len bytes.  Total: ERR_SHORT, ERR_LEFTOVER, ERR_VERSION, ERR_FORMAT, ERR_LIMIT, ERR_NOMEM; then
 * there is nothing in *out to free. */
int raft_msg_decode(const uint8_t *data, size_t len, struct raft_msg *out) MUST_USE;

#endif
