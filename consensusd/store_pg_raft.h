/*
 * store_pg_raft: what of a flush is state of replicas.
 *
 * The puts of one replica become one: what the later ones cut or leave below is not written at all.  So
 * the order in the flush is the same for each: what is dropped, ranges of the log that go, snapshots, new
 * entries, then terms, votes and commits; each of these in one statement for all replicas, but for the
 * snapshots, and for entries of more than RAFT_STATEMENT_BYTES.
 */
#ifndef CONSENSUSD_STORE_PG_RAFT_H
#define CONSENSUSD_STORE_PG_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/hash.h"
#include "consensusd/store.h"

struct buf;
struct pg_conn;

enum {
	RAFT_STATEMENT_ROWS = 2048,
	RAFT_STATEMENT_BYTES = 3 * 1024 * 1024, /* of entries in one statement, but one entry at least */
};

/* The puts of one replica. */
struct flush_raft {
	UT_hash_handle hh;
	uint8_t group[STORE_GROUP_BYTES];
	bool dropped; /* first of all, what the database has of it goes */
	bool put;     /* there is a state */
	bool restore;
	enum store_raft_type type;
	uint64_t replica, term, vote, commit, leader_node;
	uint64_t *members; /* NULL: as before */
	size_t member_count;
	uint8_t *snap; /* configuration, then data; NULL: none */
	uint64_t snap_index, snap_term;
	size_t snap_config_len, snap_data_len;
	uint64_t keep, cut;
	struct raft_entry **entries; /* ascending, with a reference each */
	size_t entry_count, entry_cap;
};

/* Zeroed before its first use. */
struct flush_rafts {
	struct flush_raft *groups;
	bool promised; /* a term or a vote is another than before */
};

void store_rafts_fini(struct flush_rafts *rs);
/* A put, and a drop; *bytes is what it holds, *rows how many rows it writes about.  ERR_NOMEM: nothing has
 * changed. */
int store_rafts_put(
    struct flush_rafts *rs, const struct store_raft *row, size_t *bytes, size_t *rows) MUST_USE;
int store_rafts_drop(struct flush_rafts *rs, const uint8_t group[STORE_GROUP_BYTES], size_t *bytes) MUST_USE;
/* About what a put will hold. */
size_t store_raft_bytes(const struct store_raft *row);

/* Queue what prepares the statements, and the statements.  ERR_CLOSED, ERR_NOMEM. */
int store_rafts_prepare(struct pg_conn *pg) MUST_USE;
int store_rafts_send(const struct flush_rafts *rs, struct pg_conn *pg, struct buf *scratch) MUST_USE;

#endif
