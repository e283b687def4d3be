/*
 * bulletin: what nodes say about themselves (core/notes.h), at this node: signs and posts its own notes,
 * gets those of the others, keeps all in the database, and passes them on.
 *
 * A note is durable here before anybody hears of it.  A new one is pushed at once: by its node to up to
 * BULLETIN_PUSH others; where there are more, those pass it on to BULLETIN_PASS others each, once.  With
 * pushes of four to random nodes about 2% hear nothing (e^-4 of them); they, and all that were away, get it
 * by asking a random node every BULLETIN_SYNC_MS whether it has the same.
 *
 * What comes from others counts only with the signature of the node that it is about, whose key has to fit
 * its id: nobody in between can make or change one.
 */
#ifndef CONSENSUSD_BULLETIN_H
#define CONSENSUSD_BULLETIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct bulletin;
struct call;
struct engine;
struct store_note;

/* How long a call waits for its note. */
enum bulletin_wait_mode {
	BULLETIN_WAIT_NONE,      /* it was accepted */
	BULLETIN_WAIT_COMMITTED, /* it is durable here */
	BULLETIN_WAIT_QUORUM,    /* and at a majority of the nodes */
	BULLETIN_WAIT_ALL,
};

struct bulletin_post {
	const char *type;
	uint64_t version; /* 0: the next one */
	bool removed;
	const uint8_t *payload;
	size_t len;
	enum bulletin_wait_mode mode;
	int64_t timeout_ms;
};

/* When e->api and e->peers are there.  NULL: no memory. */
struct bulletin *bulletin_new(struct engine *e) MUST_USE;
void bulletin_free(struct bulletin *b);

/* While the store loads. */
int bulletin_load(struct bulletin *b, const struct store_note *row) MUST_USE;
void bulletin_load_position(struct bulletin *b, uint64_t position);
/* The store is ready for the first time: begins to ask others. */
void bulletin_loaded(struct bulletin *b);
/* Notes up to this position are in the database. */
void bulletin_durable(struct bulletin *b, uint64_t position);

/* Which nodes' notes are kept: whoever knows the members says so; NULL: all. */
void bulletin_admit(struct bulletin *b, bool (*admitted)(void *ctx, uint64_t node), void *ctx);
/* Forgets all notes of a node, durably; they come again unless it is not admitted any more.  ERR_FULL,
 * ERR_NOMEM: nothing was changed. */
int bulletin_forget(struct bulletin *b, uint64_t node) MUST_USE;
/* A node became reachable: it is asked soon. */
void bulletin_node_up(struct bulletin *b, uint64_t node);

/* Makes a note of this node, and answers the call when it has waited.  An error, and the call is the
 * caller's: ERR_STALE: there is that version, or a later one; ERR_NOENT: nothing to remove; ERR_FULL: no
 * room for it, or too many calls wait; ERR_UNAVAIL, ERR_NOMEM. */
int bulletin_post(struct bulletin *b, struct call *call, const struct bulletin_post *post) MUST_USE;

#endif
