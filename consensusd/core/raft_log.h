/*
 * raft_log: the entries of a replica in memory, behind the snapshot that stands for all before.
 *
 * What is here has been decided by the protocol; how much of it storage has is told by two marks: written,
 * up to which entries were handed out to be stored, and durable, up to which they are.
 */
#ifndef CONSENSUSD_CORE_RAFT_LOG_H
#define CONSENSUSD_CORE_RAFT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct raft_entry;

struct raft_log {
	struct raft_entry **slots; /* entries[i] is slots[head + i], with index snap_index + 1 + i */
	size_t head, count, cap;
	size_t bytes;
	uint64_t snap_index, snap_term; /* 0, 0: nothing was there before */
	uint64_t written, durable;
	uint64_t cut; /* entries from here on were written, and cut off since; UINT64_MAX: none */
};

void raft_log_init(struct raft_log *l);
void raft_log_fini(struct raft_log *l);

uint64_t raft_log_first(const struct raft_log *l); /* the first that is here, or would be */
uint64_t raft_log_last(const struct raft_log *l);
uint64_t raft_log_last_term(const struct raft_log *l);
/* Borrowed; NULL if it is not here. */
struct raft_entry *raft_log_get(const struct raft_log *l, uint64_t index);
/* The term at index; false if that is not known (any more). */
bool raft_log_term(const struct raft_log *l, uint64_t index, uint64_t *term);
bool raft_log_matches(const struct raft_log *l, uint64_t index, uint64_t term);
/* The last index up to limit whose term is at most term, for the search of the place where two logs part. */
uint64_t raft_log_at_most(const struct raft_log *l, uint64_t limit, uint64_t term);

/* Room for so many more entries: then that many raft_log_push() can't fail. */
int raft_log_reserve(struct raft_log *l, size_t count) MUST_USE;
/* Takes the reference; the entry's index must be the next one. */
void raft_log_push(struct raft_log *l, struct raft_entry *e);
/* Cuts off from there on. */
void raft_log_truncate(struct raft_log *l, uint64_t from);
/* Drops all up to index, which must be here: a snapshot stands for it. */
void raft_log_compact(struct raft_log *l, uint64_t index);
/* Drops everything: a snapshot of elsewhere takes its place. */
void raft_log_restore(struct raft_log *l, uint64_t index, uint64_t term);

#endif
