/*
 * store_marks: progress marks of streams, coalesced: what a flush writes of them is one row per
 * stream and node, however often they moved.
 */
#ifndef CONSENSUSD_STORE_MARKS_H
#define CONSENSUSD_STORE_MARKS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

struct store_mark {
	struct ulid stream_id;
	uint64_t node_id; /* 0 where marks are of the stream alone */
	uint64_t src_node;
	uint64_t first_seq, last_seq;
};

/* Zeroed before its first use. */
struct store_marks {
	struct store_mark *items;
	size_t count, cap;
	uint32_t *index; /* open addressing: position in items + 1, 0 is free */
	size_t index_size;
	uint64_t seed; /* streams' ids are chosen by clients: keeps them from choosing the slots, too */
};

void store_marks_init(struct store_marks *m, uint64_t seed);
void store_marks_fini(struct store_marks *m);
/* Adds first..last to the mark of (stream, node): the range grows to cover both.  ERR_NOMEM. */
int store_marks_add(struct store_marks *m, const struct ulid *stream, uint64_t node_id, uint64_t src_node,
    uint64_t first_seq, uint64_t last_seq) MUST_USE;
/* NULL: there is none.  Borrowed until the next add. */
const struct store_mark *store_marks_get(
    const struct store_marks *m, const struct ulid *stream, uint64_t node_id);

#endif
