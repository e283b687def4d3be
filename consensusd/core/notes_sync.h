/*
 * notes_sync: how two nodes find out what notes one of them lacks (anti-entropy).
 *
 *	A  TOTAL    ->  B	a hash of all that it has: where B's is the same, that was all
 *	A  <-  SUMMARY  B	a hash of what it has of each node
 *	A  DETAIL   ->  B	of those nodes where A's differs: types and versions
 *	A  <-  PUSH     B	what B has more or newer of; and
 *	A  <-  WANT     B	what A has
 *	A  PUSH     ->  B
 *
 * No step needs anything remembered of the one before, so any message may be lost, doubled or late.  Each is
 * bounded, and what does not fit is said (NOTES_MORE): whoever got news asks again.  A summary goes on where
 * the last one ended, and a detail begins anywhere in the range, so that nothing can stand in the way of the
 * rest for ever.
 */
#ifndef CONSENSUSD_CORE_NOTES_SYNC_H
#define CONSENSUSD_CORE_NOTES_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "consensusd/core/notes.h"
#include "consensusd/core/notes_msg.h"

enum {
	NOTES_ANSWER_MAX_BYTES = 1024 * 1024, /* of notes, pushed because of one message */
};

struct notes_sync {
	/* A message for a node; it may be lost. */
	void (*send)(void *ctx, uint64_t peer, const uint8_t *data, size_t len);
	/* Whether notes of a node are wanted here; NULL: of any. */
	bool (*wanted)(void *ctx, uint64_t node);
	void *ctx;
	uint64_t cursor; /* nodes up to here were in the last summary */
	uint64_t peer;   /* whom the answer that is being made is for */
	size_t left;     /* bytes of notes that it may still have */
	bool more;       /* something had to be left out */
	struct notes_msg_writer push, other;
};

/* Asks peer whether it has the same. */
void notes_sync_ask(struct notes_sync *y, const struct notes *t, uint64_t peer);
/* Says to peer what there is, from the cursor on. */
void notes_sync_begin(struct notes_sync *y, const struct notes *t, uint64_t peer);
/* What peer said: the answer.  Start is any node id: where a detail begins. */
void notes_sync_total(struct notes_sync *y, const struct notes *t, uint64_t peer, const struct notes_msg *m);
void notes_sync_summary(
    struct notes_sync *y, const struct notes *t, uint64_t peer, struct notes_msg *m, uint64_t start);
void notes_sync_detail(struct notes_sync *y, const struct notes *t, uint64_t peer, struct notes_msg *m);
void notes_sync_want(struct notes_sync *y, const struct notes *t, uint64_t peer, struct notes_msg *m);

#endif
