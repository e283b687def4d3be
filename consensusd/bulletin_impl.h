/*
 * bulletin_impl: what the files of bulletin share; not for others.
 */
#ifndef CONSENSUSD_BULLETIN_IMPL_H
#define CONSENSUSD_BULLETIN_IMPL_H

#include <bsd/sys/queue.h>

#include "consensusd/bulletin.h"
#include "consensusd/core/notes.h"
#include "consensusd/core/notes_sync.h"
#include "consensusd/engine.h"

/* A call that waits for a note of this node to be durable, here or elsewhere. */
struct bulletin_wait {
	TAILQ_ENTRY(bulletin_wait) entry;
	struct bulletin *bulletin;
	struct timed timed; /* its deadline */
	struct mono until;
	uint64_t call; /* handle */
	enum bulletin_wait_mode mode;
	char type[NOTE_TYPE_SIZE];
	uint64_t version;
	bool durable;
	uint64_t *nodes; /* that have it, ascending */
	size_t node_count, node_cap;
	size_t next; /* in the directory: who is pushed to next */
};

TAILQ_HEAD(bulletin_wait_list, bulletin_wait);

struct bulletin {
	struct engine *engine;
	struct notes notes;
	struct notes_sync sync;
	struct timed ask, again; /* another node whether it has the same; those that have not confirmed */
	struct mono busy;        /* until then it gets what it lacks from one node, and asks no other */
	uint64_t source;         /* that node, if it has more; 0 */
	uint64_t fresh;          /* a node that came up and was not asked; 0 */
	bool (*admitted)(void *ctx, uint64_t node);
	void *ctx;
	struct bulletin_wait_list waits;
	size_t wait_count;
	bool in_ask, in_again;
};

/* bulletin.c: puts a note where it is to be: staged, and on its way to the store.  Takes the reference.  From
 * and how: as notes_stage(). */
int bulletin_take(struct bulletin *b, struct note *n, uint64_t from, unsigned how) MUST_USE;
bool bulletin_admitted(const struct bulletin *b, uint64_t node);
void bulletin_count(struct bulletin *b);

/* bulletin_peers.c */
void bulletin_on_message(void *ctx, uint64_t node, const uint8_t *body, size_t len);
void bulletin_send(void *ctx, uint64_t peer, const uint8_t *data, size_t len);
/* A note is durable: goes to others as how (enum notes_flag) says. */
void bulletin_spread(struct bulletin *b, const struct note *n, uint64_t from, unsigned how);
/* Tells its node that it is durable here. */
void bulletin_confirm(struct bulletin *b, const struct note *n);
void bulletin_push(struct bulletin *b, uint64_t node, const struct note *n, unsigned flags);
void bulletin_sync_start(struct bulletin *b);

/* bulletin_wait.c.  ERR_FULL, ERR_NOMEM. */
int bulletin_wait_new(struct bulletin *b, uint64_t call, const struct bulletin_post *post, uint64_t version,
    struct bulletin_wait **out) MUST_USE;
void bulletin_wait_free(struct bulletin_wait *w);
/* The note was taken. */
void bulletin_wait_begin(struct bulletin_wait *w);
/* A note of this node is durable here; a node says that it has one. */
void bulletin_wait_durable(struct bulletin *b, const struct note *n);
void bulletin_wait_have(struct bulletin *b, uint64_t node, const char *type, uint64_t version);

#endif
