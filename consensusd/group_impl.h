/*
 * group_impl: what the files of group share; not for others.
 *
 * group.c makes, loads and ends groups and takes what is asked of them, group_run.c does what follows from an
 * event, group_message.c hears what other nodes' replicas say, group_snapshot.c keeps snapshots.
 */
#ifndef CONSENSUSD_GROUP_IMPL_H
#define CONSENSUSD_GROUP_IMPL_H

#include <bsd/sys/queue.h>

#include "common/base/buf.h"
#include "consensusd/core/raft_msg.h"
#include "consensusd/engine.h"
#include "consensusd/group.h"
#include "consensusd/hash.h"

enum {
	/* Entries applied in one turn by one group: the rest is for the next turn. */
	GROUP_TURN_APPLY_COUNT = 4096,
	/* Deadlines of all groups fall on multiples of this, so that what they send goes in the same packets.
	 */
	GROUP_GRID_MS = 25,
	/* How often quiet groups are looked at whose leader's node is not there. */
	GROUP_SWEEP_MS = 5000,
	/* Memory or the store was short: tried again after so long. */
	GROUP_RETRY_MS = 100,
	/* A snapshot that a leader sends, in memory while it comes; a larger one is refused. */
	GROUP_SNAPSHOT_MAX_BYTES = 256 * 1024 * 1024,
	/* Of entries in one message, and of those to one member that were not answered: see raft.h. */
	GROUP_APPEND_BYTES = 64 * 1024,
	GROUP_INFLIGHT_BYTES = 1024 * 1024,
	/* Appends to replicas of a group of streams up to this go ahead of the data of clients. */
	GROUP_SHORT_BYTES = 8 * 1024,
	/* Proposals beyond are refused. */
	GROUP_UNCOMMITTED_BYTES = 16 * 1024 * 1024,
	GROUP_APPLY_BYTES = 1024 * 1024,
	GROUP_CHUNK_BYTES = 64 * 1024,
	/* A replica that does not vote has its entries written with those of so long, or so many: its node
	 * has more urgent things to write. */
	GROUP_WAIT_MS = 10,
	GROUP_WAIT_COUNT = 16,
	/* How much longer the log of one member gets than that of another before a snapshot, of 256. */
	GROUP_STAGGER_MAX = 128,
	/* A member that was not heard of for so many election timeouts does not answer. */
	GROUP_ANSWERS_ELECTIONS = 3,
	/* Nodes of replicas that are not in the configuration in use (any more, or yet): the oldest goes. */
	GROUP_ROUTES_MAX = 65536,
};

/* A snapshot as a whole, or as far as it has come. */
struct group_snapshot {
	uint64_t index, term, size;
	uint8_t *config, *data;
	size_t config_len, len;
};

/* What was given to the store, and what it stands for. */
struct group_write {
	TAILQ_ENTRY(group_write) entry;
	struct group *group;   /* NULL: it has gone */
	struct groups *listed; /* NULL: not in the list yet */
	uint64_t ticket;
	uint64_t mark;                /* of raft_persist(), or 0 */
	uint64_t compact;             /* a snapshot up to here, or 0 */
	struct group_snapshot stored; /* that one */
};

TAILQ_HEAD(group_writes, group_write);
TAILQ_HEAD(group_list, group);

/* A row for the store with what it refers to. */
struct group_put {
	struct store_raft row;
	uint64_t mark;
	struct raft_entry **entries;
	struct group_snapshot snapshot; /* that it brings, with restore */
};

/* Where a replica lives. */
struct group_route {
	uint64_t replica, node;
	UT_hash_handle hh;
};

struct group {
	struct timed timer; /* first: see timed */
	struct groups *owner;
	uint8_t id[STORE_GROUP_BYTES];
	enum store_raft_type type;
	uint64_t replica;
	struct raft *raft;
	const struct group_ops *ops; /* NULL: nobody has attached to it yet */
	void *sm;
	uint64_t applied;         /* by sm */
	struct raft_status shown; /* that sm was told */
	struct group_snapshot snapshot, incoming;
	struct group_snapshot restored;                          /* in use, and not given to the store yet */
	struct mono write_by;                                    /* entries that may wait until then */
	bool write_now;                                          /* something waits for them */
	bool snapshotting;                                       /* one is on its way to the store */
	bool routes_stale;                                       /* the configuration has changed */
	struct group_put *put;                                   /* that the store did not take yet */
	uint64_t reads[RAFT_READS_MAX], read_at[RAFT_READS_MAX]; /* ctx, index: until it is applied */
	size_t read_count;
	uint64_t apply_next, apply_last; /* of raft_apply(), not done yet while next <= last */
	bool dirty, gone, lost, sole_voter;
	TAILQ_ENTRY(group) dirty_entry;
	UT_hash_handle hh;
};

struct groups {
	struct engine *engine;
	struct raft_settings set;
	size_t compact_bytes, compact_entries;
	struct group *all; /* hash by id */
	struct group_list dirty;
	struct group_writes writes;
	struct group_route *routes; /* hash by replica */
	struct timed sweep;
	bool lost;                             /* replicas were forgotten, or are about to be */
	bool rolled_back;                      /* the witness has to be renewed, */
	uint64_t renew_ticket;                 /* when this is durable */
	uint8_t (*damaged)[STORE_GROUP_BYTES]; /* until the store takes puts */
	size_t damaged_count;
	void (*on_unknown)(void *ctx, const uint8_t id[STORE_GROUP_BYTES], uint64_t node);
	void *unknown_ctx;
};

void group_touch(struct group *g);
/* Does what follows from what happened; true if work is left. */
bool group_run(struct group *g);
void group_on_timer(void *arg);
/* Messages of kind PEERS_RAFT. */
void groups_on_message(void *ctx, uint64_t node, const uint8_t *body, size_t len);
void group_learn_routes(struct group *g);
void groups_learn(struct groups *gs, uint64_t replica, uint64_t node);
/* Sends what may leave. */
void group_send_all(struct group *g);

void group_put_free(struct group_put *p);
void group_snapshot_fini(struct group_snapshot *s);
void group_give_chunks(struct group *g);
void group_keep_chunks(struct group *g);
/* Makes a snapshot if the log is long. */
void group_compact(struct group *g);
void group_compacted(struct group *g, struct group_write *w);
/* Notes what the store was given.  NULL: no memory. */
struct group_write *group_write_new(struct group *g) MUST_USE;
void group_write_given(struct group_write *w, uint64_t ticket);
void group_write_free(struct group_write *w);
/* Fills in what rows of a group always have. */
void group_row(const struct group *g, struct store_raft *row);

#endif
