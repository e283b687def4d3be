/*
 * notes: what all nodes say about themselves: of each node and type the note that counts.
 *
 * A note that is news is staged first: it gets the next position of this node, and is told to nobody.  When
 * the store has it, notes_durable() puts it in its place: from then on it is in summaries (notes_sync.h) and
 * in the order of positions, which followers read.  So a node never says what it could forget.
 *
 * Limits: types of one node, notes, bytes (see below): what is beyond is refused and counted.  Removed notes
 * count like the others, without a payload.
 */
#ifndef CONSENSUSD_CORE_NOTES_H
#define CONSENSUSD_CORE_NOTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/tree.h"
#include "consensusd/core/note.h"

enum {
	NOTES_PER_NODE_MAX = 64, /* types, removed ones too: 4 MiB of one node at most */
	NOTES_MAX = 65536,
	NOTES_MAX_BYTES = 64 * 1024 * 1024, /* in memory, beside what is taking another's place */
};

struct notes_entry {
	RB_ENTRY(notes_entry) by_type, by_position;
	TAILQ_ENTRY(notes_entry) staged_entry;
	struct notes_node *node;
	struct note *current; /* durable; NULL: none */
	struct note *staged;  /* on its way to the store; NULL: none */
	uint64_t from;        /* of the staged one: who sent it, and what is to be done when it is durable */
	unsigned how;
	char type[NOTE_TYPE_SIZE];
};

RB_HEAD(notes_types, notes_entry);
RB_HEAD(notes_positions, notes_entry);
TAILQ_HEAD(notes_staged, notes_entry);

struct notes_node {
	RB_ENTRY(notes_node) entry;
	uint64_t id;
	struct notes_types types;
	unsigned entry_count, count; /* all, and those with a current note */
	uint64_t hash;               /* of the types and versions that are current, in no order */
};

RB_HEAD(notes_nodes, notes_node);

struct notes {
	struct notes_nodes nodes;
	struct notes_positions positions;
	struct notes_staged staged; /* in order of their positions */
	size_t count, removed_count, staged_count, bytes;
	size_t max_count, max_bytes;
	uint64_t last_position;
	uint64_t hash;    /* of all that is current */
	uint64_t refused; /* for lack of room */
};

void notes_init(struct notes *t);
void notes_fini(struct notes *t);

/* Would it be news?  0; ERR_STALE: what is here counts more, or is the same.  Before anything costly. */
int notes_judge(const struct notes *t, uint64_t node, const char *type, uint64_t version,
    const uint8_t signature[64]) MUST_USE;

/* A place for a note that is news: ERR_STALE, ERR_FULL (counted), ERR_NOMEM.  Then either notes_stage() or
 * notes_release(), with nothing between. */
int notes_reserve(struct notes *t, const struct note *n, struct notes_entry **out) MUST_USE;
void notes_release(struct notes *t, struct notes_entry *e);
/* Takes the reference.  Its position is notes_next_position() as it was before. */
void notes_stage(struct notes *t, struct notes_entry *e, struct note *n, uint64_t from, unsigned how);
/* Whether one more of this node would have a place, whatever its size. */
bool notes_has_room(const struct notes *t, uint64_t node);
uint64_t notes_next_position(const struct notes *t);
/* The one that is staged is wanted in other ways too. */
void notes_want(struct notes *t, uint64_t node, const char *type, uint64_t version, unsigned how);

/* The store has all up to position.  done (borrowed note) is called for each that is in its place now; it
 * must not change the table. */
typedef void notes_done_fn(void *arg, const struct note *n, uint64_t from, unsigned how);
void notes_durable(struct notes *t, uint64_t position, notes_done_fn *done, void *arg);

/* As it was stored, with its position; takes the reference if it returns 0. */
int notes_load(struct notes *t, struct note *n) MUST_USE;
/* Positions up to here were used. */
void notes_load_position(struct notes *t, uint64_t position);
/* Forgets all that a node said.  True if there was something. */
bool notes_drop(struct notes *t, uint64_t node);

/* Borrowed, good until the next event; NULL: none. */
const struct note *notes_get(const struct notes *t, uint64_t node, const char *type);
/* Also one that is staged. */
const struct note *notes_latest(const struct notes *t, uint64_t node, const char *type);
/* The first one after a position. */
const struct note *notes_after(const struct notes *t, uint64_t position);

/* Nodes ascending by id, and of one its notes ascending by type: for summaries.  NULL: no more. */
struct notes_node *notes_node_get(const struct notes *t, uint64_t id);
struct notes_node *notes_node_after(const struct notes *t, uint64_t id);
struct notes_entry *notes_first_of(struct notes_node *n);
struct notes_entry *notes_next_of(struct notes_entry *e);

#endif
