/*
 * store_pg_raft_load: the replicas that consensusd starts with.
 *
 * Pages of groups; for each its snapshot, if it has one, and then its log, row by row: so no more than one
 * replica's state is in memory twice.  What is not whole (a gap, a term that falls, a row that can't be read,
 * a log that ends before what is committed) is state that was lost: nothing of that group is told.
 */
#ifndef CONSENSUSD_STORE_PG_RAFT_LOAD_H
#define CONSENSUSD_STORE_PG_RAFT_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/store.h"

struct pg_result;
struct raft_entry;
struct store;

enum { STORE_LOAD_GROUPS = 500, /* in a page */ };

struct load_group { /* a row of raft_groups */
	uint8_t id[STORE_GROUP_BYTES];
	uint64_t type, replica, term, vote, commit, snap_index, snap_term;
	bool has_snap;
	uint64_t snap_row_index, snap_row_term; /* as raft_snapshots has it */
};

enum load_phase { LOAD_PAGE, LOAD_SNAPSHOT, LOAD_LOG };

struct store_raft_load {
	bool done;
	size_t told; /* groups, and damaged ones */
	uint8_t last[STORE_GROUP_BYTES];
	bool any;              /* last is one */
	enum load_phase phase; /* what was asked */
	bool asked;
	struct load_group page[STORE_LOAD_GROUPS];
	size_t page_count, at;
	/* Of the group at hand. */
	bool bad;
	uint8_t *snap; /* configuration, then data */
	size_t snap_config_len, snap_data_len;
	struct raft_entry **entries;
	size_t entry_count, entry_cap, bytes;
};

/* A step of the setup. */
int store_load_raft_ask(struct store *s) MUST_USE;
void store_load_raft_answer(struct store *s, const struct pg_result *res);
/* A new connection: goes on with the group that was not told yet. */
void store_load_raft_again(struct store *s);
void store_load_raft_fini(struct store *s);

#endif
