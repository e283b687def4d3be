/*
 * notes_msg: what nodes say to each other about notes (peers.h: PEERS_NOTES).
 *
 *	u8 version, u8 kind, u8 flags, then what the kind has, then u16 count and so many of its items
 *
 *	TOTAL	u64 hash: of all that the sender has; no items
 *	PUSH	note: u64 node, u64 version, u64 unix_ms, u8 removed, 32 bytes of key, 64 of signature,
 *		str8 type, u32 len, payload
 *	SUMMARY	u64 after, u64 upto; item: u64 node, u8 types, u64 hash.  All nodes in (after, upto] that the
 *		sender has notes of, ascending
 *	DETAIL	group: u64 node, u8 types, of each: str8 type, u64 version, u64 stamp; ascending by type: all
 *		that the sender has of this node
 *	WANT	group: u64 node, u8 types, of each: str8 type
 *	HAVE	group as in WANT, but with a u64 version after each type: the sender has it, durably
 *
 * A message has at most NOTES_MSG_MAX_BYTES.  Reading is total: notes_msg_read() checks all of it, and what
 * walks it after that can't fail.
 */
#ifndef CONSENSUSD_CORE_NOTES_MSG_H
#define CONSENSUSD_CORE_NOTES_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "consensusd/core/note.h"

enum notes_kind {
	NOTES_PUSH = 1,
	NOTES_SUMMARY,
	NOTES_DETAIL,
	NOTES_WANT,
	NOTES_HAVE,
	NOTES_TOTAL,
	NOTES_KINDS,
};

enum notes_flag {
	NOTES_PASS = 1,    /* PUSH: they are new, and not all nodes get them from the sender: pass them on */
	NOTES_CONFIRM = 2, /* PUSH: their node wants a HAVE when they are durable */
	NOTES_MORE = 4,    /* PUSH, DETAIL, WANT: not all that there is to say fit in: ask again */
	NOTES_ANSWER = 8,  /* PUSH: to what the receiver said that it has, or wants */
};

enum {
	NOTES_MSG_VERSION = 1,
	NOTES_MSG_MAX_BYTES = NOTE_PAYLOAD_MAX_BYTES + 512, /* one note of the largest size */
	NOTES_MSG_GROUP_TYPES_MAX = 64,                     /* as NOTES_PER_NODE_MAX */
};

/* Borrowed from the message. */
struct notes_msg_note {
	uint64_t node, version, unix_ms;
	bool removed;
	const uint8_t *public_key, *signature, *payload;
	size_t len;
	char type[NOTE_TYPE_SIZE];
};

struct notes_msg_summary {
	uint64_t node, hash;
	unsigned types;
};

struct notes_msg_type { /* of a group; what its kind does not have is 0 */
	char type[NOTE_TYPE_SIZE];
	uint64_t version, stamp;
};

struct notes_msg {
	enum notes_kind kind;
	unsigned flags;
	uint64_t after, upto; /* SUMMARY */
	uint64_t hash;        /* TOTAL */
	unsigned count, types_left;
	struct buf items;
};

const char *notes_kind_name(unsigned kind);
/* Exactly len bytes, which are borrowed.  ERR_SHORT, ERR_LEFTOVER, ERR_VERSION, ERR_FORMAT, ERR_LIMIT. */
int notes_msg_read(const uint8_t *data, size_t len, struct notes_msg *out) MUST_USE;
/* The next item, by kind; false: there are no more.  Of a group first its head, then each type. */
bool notes_msg_next_note(struct notes_msg *m, struct notes_msg_note *out);
bool notes_msg_next_summary(struct notes_msg *m, struct notes_msg_summary *out);
bool notes_msg_next_group(struct notes_msg *m, uint64_t *node);
bool notes_msg_next_type(struct notes_msg *m, struct notes_msg_type *out);

/* Writing: begin, items, end.  What does not fit is not there at all: ERR_LIMIT. */
struct notes_msg_writer {
	uint8_t mem[NOTES_MSG_MAX_BYTES];
	size_t len;      /* up to the last whole item */
	size_t count_at; /* where the count of items is */
	size_t types_at; /* of the group that is open; 0: none */
	unsigned kind, count, types;
};

void notes_msg_begin(struct notes_msg_writer *w, enum notes_kind kind, unsigned flags);
void notes_msg_range(struct notes_msg_writer *w, uint64_t after, uint64_t upto); /* SUMMARY: at the end */
void notes_msg_hash(struct notes_msg_writer *w, uint64_t hash);                  /* TOTAL */
int notes_msg_put_note(struct notes_msg_writer *w, const struct note *n) MUST_USE;
int notes_msg_put_summary(struct notes_msg_writer *w, const struct notes_msg_summary *s) MUST_USE;
int notes_msg_put_group(struct notes_msg_writer *w, uint64_t node) MUST_USE;
/* Into the group that was begun last. */
int notes_msg_put_type(struct notes_msg_writer *w, const struct notes_msg_type *t) MUST_USE;
/* Takes the last group back. */
void notes_msg_undo_group(struct notes_msg_writer *w);
void notes_msg_flag(struct notes_msg_writer *w, unsigned flag);
/* The message is w->mem, w->len. */
void notes_msg_end(struct notes_msg_writer *w);

#endif
