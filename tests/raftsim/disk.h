/*
 * disk: what a host would find after a crash, and writes that are under way.
 *
 * Writes are done in order, each of them whole or not at all.  In a crash some of those under way, from the
 * first on, may have been done although nobody was told.
 */
#ifndef TESTS_RAFTSIM_DISK_H
#define TESTS_RAFTSIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "consensusd/core/raft.h"

struct raft_entry;

struct disk_snapshot {
	uint64_t index, term;
	uint8_t *config, *data; /* owned */
	size_t config_len, len;
};

/* One write. */
struct disk_write {
	uint64_t mark; /* of the replica; 0: a snapshot of its own */
	uint64_t term, vote, commit, cut, first;
	struct raft_entry **entries;
	size_t count;
	bool has_snapshot, restore;
	struct disk_snapshot snapshot;
	/* With a snapshot of its own: entries up to there go. */
	uint64_t keep, keep_term;
	uint8_t *base_config; /* owned */
	size_t base_config_len;
};

enum { DISK_WRITES_MAX = 32 };

struct disk {
	uint64_t term, vote, commit;
	struct raft_entry **entries; /* from base + 1 on */
	size_t count, cap;
	uint64_t base, base_term;
	uint8_t *base_config; /* encoded */
	size_t base_config_len;
	struct disk_snapshot snapshot; /* index 0: none */
	struct disk_write writes[DISK_WRITES_MAX];
	size_t write_count;
};

void disk_snapshot_free(struct disk_snapshot *s);
void disk_init(struct disk *d);
void disk_fini(struct disk *d);
/* Gives it the next write; snapshot: what was received, taken, if it is to be restored. */
void disk_persist(
    struct disk *d, struct raft *r, const struct raft_persist *p, struct disk_snapshot *snapshot);
/* A snapshot of its own, taken, with what is needed of the entry at keep; its configuration is taken. */
void disk_snapshot(struct disk *d, struct disk_snapshot *snapshot, uint64_t keep, uint64_t keep_term,
    uint8_t *keep_config, size_t keep_config_len);
/* The first write is done: its mark, and for a snapshot of its own what it keeps. */
uint64_t disk_sync(struct disk *d, uint64_t *keep);
/* A crash: done of the writes are done, the others are not. */
void disk_crash(struct disk *d, size_t done);
/* A configuration as bytes of its own. */
uint8_t *disk_config(const struct raft_config *c, size_t *len);
/* The one at an index that is applied; NULL: there is none. */
uint8_t *disk_config_at(const struct raft *r, uint64_t index, size_t *len);
/* What a replica is begun with.  *base: what it borrows, the caller's to free, NULL if the disk has none. */
struct raft_state disk_state(const struct disk *d, struct raft_config **base);
/* A piece of a snapshot comes: false, it is not the next one. */
bool disk_snapshot_keep(struct disk_snapshot *in, const struct raft_chunk *c);
/* The piece of one that is wanted, borrowed; false: it is not there. */
bool disk_snapshot_piece(
    const struct disk_snapshot *s, const struct raft_chunk_wanted *want, struct raft_piece *out);
/* Is this entry safe there? */
bool disk_has(const struct disk *d, uint64_t index, uint64_t term);

#endif
