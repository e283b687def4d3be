/*
 * make_note: notes, and putting them into a table, for tests.
 */
#ifndef TESTS_UNIT_CONSENSUSD_MAKE_NOTE_H
#define TESTS_UNIT_CONSENSUSD_MAKE_NOTE_H

#include "tests/unit/unit.h"

#include "consensusd/core/notes.h"

static inline struct note *
make_note(uint64_t node, const char *type, uint64_t version, uint8_t stamp, size_t len)
{
	struct note *n = note_new(node, type, version, NULL, len);

	assert_non_null(n);
	memset(n->signature, stamp, sizeof(n->signature));
	return n;
}

static inline void
ignore(void *arg, const struct note *n, uint64_t from, unsigned how)
{
	(void)arg;
	(void)n;
	(void)from;
	(void)how;
}

/* Stages; the note is given away. */
static inline int
stage(struct notes *t, struct note *n)
{
	struct notes_entry *e;
	int err = notes_reserve(t, n, &e);

	if (err == 0)
		notes_stage(t, e, n, 7, 1);
	else
		note_unref(n);
	return err;
}

static inline int
put(struct notes *t, struct note *n)
{
	int err = stage(t, n);

	notes_durable(t, t->last_position, ignore, NULL);
	return err;
}

#endif
