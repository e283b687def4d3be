/*
 * raft_impl: what the files of the replica share (raft.h is its interface).
 *
 * raft (making, looking), raft_step (what a message does to the term, and to whom it goes), raft_role (terms
 * and roles), raft_election (votes), raft_leader (appends to others, commit), raft_follow (appends of the
 * leader), raft_change (memberships), raft_transfer, raft_read, raft_snapshot, raft_time, raft_output
 * (order: durable before told, committed before applied).
 */
#ifndef CONSENSUSD_CORE_RAFT_IMPL_H
#define CONSENSUSD_CORE_RAFT_IMPL_H

#include <bsd/sys/queue.h>

#include "common/base/rng.h"
#include "consensusd/core/raft.h"
#include "consensusd/core/raft_log.h"
#include "consensusd/core/raft_msg.h"

/* How the leader sends to a member. */
enum raft_flow {
	RAFT_FLOW_PROBE,     /* one append at a time, until the common place is found */
	RAFT_FLOW_REPLICATE, /* many, each beginning where the last one ended */
	RAFT_FLOW_SNAPSHOT,  /* what it needs is not in the log any more */
};

struct raft_inflight {
	uint64_t last; /* index */
	size_t bytes;
};

/* A member, this replica among them, with what a leader or candidate knows of it. */
struct raft_peer {
	struct raft_member m;
	uint8_t flow; /* enum raft_flow */
	bool granted, denied;
	bool active; /* heard of since the last check of the quorum */
	bool paused; /* probing: the append was sent */
	uint64_t match, next;
	uint64_t commit_sent; /* the last commit index that an append told it */
	uint64_t read;        /* the last round of reads that it confirmed */
	struct mono heard_at;
	struct raft_inflight inflight[RAFT_INFLIGHT_MAX];
	size_t inflight_head, inflight_count, inflight_bytes;
	/* The snapshot that it is sent: how far it has it, and whether a piece is on its way. */
	uint64_t snap_index, snap_offset;
	bool snap_wanted, snap_sent;
	struct mono snap_at;
};

struct raft_peers {
	size_t count;
	struct raft_peer peer[]; /* ascending by id */
};

/* A message that waits until storage has all up to a mark. */
struct raft_out {
	TAILQ_ENTRY(raft_out) entry;
	uint64_t needs;
	struct raft_msg msg;
};
TAILQ_HEAD(raft_outbox, raft_out);

/* A read at the leader. */
struct raft_pending_read {
	uint64_t ctx, from; /* from: this replica or another */
	uint64_t index;
	uint64_t round;
};

struct raft_ready_read {
	uint64_t ctx, index;
};

struct raft_reads {
	struct raft_pending_read *pending; /* in the order of their rounds */
	size_t pending_count;
	struct raft_ready_read *ready;
	size_t ready_head, ready_count;
	uint64_t round; /* the last one that was begun */
};

/* Given to storage and not confirmed. */
struct raft_batch {
	uint64_t mark;
	uint64_t last; /* what of the log is durable with it */
};

/* The snapshot that comes in. */
struct raft_incoming {
	uint64_t index, term, size, offset;
	struct raft_msg piece; /* kind 0: none waits to be kept */
	bool taken;            /* the caller has it */
};

struct raft {
	struct raft_conf conf;
	struct rng rng;
	struct raft_counters counters;

	uint64_t term, vote, commit;
	enum raft_role role;
	uint64_t leader; /* 0: not known */
	struct raft_log log;
	struct raft_config *snap_config; /* what the snapshot below the log has */
	struct raft_config *config;      /* the last one in the log, or that; never NULL */
	uint64_t config_index;
	struct raft_peers *peers; /* by config */
	bool early;               /* what is committed is applied before it is durable here */
	bool gone;                /* a committed configuration does without this replica */

	/* Time. */
	struct mono election_at;  /* no leader until then: an election */
	struct mono heartbeat_at; /* leader */
	struct mono quorum_at;    /* leader: when it has to have heard of a quorum */
	struct mono heard_at;     /* of the leader */
	struct mono idle_since;   /* leader: nothing to do */
	bool quiet;

	uint64_t transfer_to; /* 0: none */
	struct mono transfer_by;
	bool transferred; /* candidate: because the leader wants it so */

	struct raft_reads reads;
	struct raft_incoming incoming;
	uint64_t chunk_id;        /* of the piece in it */
	size_t uncommitted_bytes; /* leader */

	/* raft_output.c. */
	struct raft_outbox outbox, gated; /* at once; when what they tell is durable */
	size_t outbox_count;              /* of both */
	struct raft_out *newest;          /* posted last, in newest_in */
	struct raft_outbox *newest_in;
	uint64_t mark, durable; /* the last one given to storage; confirmed */
	struct raft_batch batches[RAFT_PERSISTS_MAX];
	size_t batch_count;
	bool hard_dirty, restore_dirty;
	uint64_t commit_written;
	uint64_t vote_mark; /* candidate: its own vote counts when this is durable */
	uint64_t applying, applied;
};

static inline void
raft_tell(const struct raft *r, enum raft_trace what, uint64_t a, uint64_t b)
{
	if (r->conf.trace != NULL)
		r->conf.trace(r->conf.arg, what, a, b);
}

/* --- raft.c --- */
struct raft_peer *raft_peer_get(const struct raft *r, uint64_t id); /* NULL: no member */
static inline bool
raft_is_self(const struct raft *r, const struct raft_peer *p)
{
	return p->m.id == r->conf.id;
}
/* May this replica stand for election? */
bool raft_may_lead(const struct raft *r);
/* Uses another membership, which is taken.  ERR_NOMEM: nothing changed, and it is still the caller's. */
int raft_use_config(struct raft *r, struct raft_config *c, uint64_t index) MUST_USE;
/* The value that a majority of voters has at least; with two sets of voters, of both. */
uint64_t raft_quorum(
    const struct raft *r, uint64_t (*value)(const struct raft *r, const struct raft_peer *p));

/* --- raft_role.c --- */
/* term: not lower than now; leader: 0 if not known. */
void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader, struct mono now);
void raft_become_candidate(struct raft *r, enum raft_role role, struct mono now);
/* The candidate has won. */
void raft_become_leader(struct raft *r, struct mono now);
void raft_set_leader(struct raft *r, uint64_t leader);
void raft_arm_election(struct raft *r, struct mono now);
/* Was a leader heard of so lately that no other is needed? */
bool raft_has_leader(const struct raft *r, struct mono now);

/* --- raft_election.c --- */
void raft_stand(struct raft *r, bool transfer, struct mono now);
/* As a learner: asks for a leader if it knows of none. */
void raft_seek(struct raft *r);
void raft_vote_wanted(struct raft *r, const struct raft_msg *m, struct mono now);
void raft_vote_came(struct raft *r, const struct raft_msg *m, struct mono now);
/* Counts votes, this replica's own too if it is durable. */
void raft_count_votes(struct raft *r, struct mono now);

/* --- raft_leader.c --- */
/* Appends to the own log; takes the reference if it succeeds.  ERR_NOMEM. */
int raft_append_own(struct raft *r, struct raft_entry *e) MUST_USE;
void raft_send_append(struct raft *r, struct raft_peer *p, bool empty, struct mono now);
void raft_send_appends(struct raft *r, struct mono now);
void raft_send_heartbeats(struct raft *r, bool quiet);
void raft_append_answered(struct raft *r, const struct raft_msg *m, struct mono now);
void raft_heartbeat_answered(struct raft *r, const struct raft_msg *m, struct mono now);
/* A quorum may have more now. */
void raft_advance_commit(struct raft *r, struct mono now);
void raft_commit_to(struct raft *r, uint64_t index, struct mono now);
void raft_peer_reset(struct raft *r, struct raft_peer *p);

/* --- raft_follow.c --- */
void raft_append_came(struct raft *r, struct raft_msg *m, struct mono now);
void raft_heartbeat_came(struct raft *r, const struct raft_msg *m, struct mono now);
void raft_answer_append(struct raft *r, uint64_t to, uint64_t index);

/* --- raft_change.c --- */
/* A configuration was committed: the leader leaves a joint one, or leads no more. */
void raft_config_committed(struct raft *r, struct mono now);
/* The last configuration in the log below an index, or that of the snapshot. */
int raft_config_before(const struct raft *r, uint64_t index, struct raft_config **out, uint64_t *at) MUST_USE;

/* --- raft_transfer.c --- */
void raft_transfer_if_ready(struct raft *r, const struct raft_peer *p);
void raft_transfer_stop(struct raft *r);

/* --- raft_read.c --- */
void raft_reads_init(struct raft *r);
void raft_reads_fini(struct raft *r);
/* Leadership is over, or begins: what waits is refused. */
void raft_reads_reset(struct raft *r);
void raft_read_wanted(struct raft *r, const struct raft_msg *m, struct mono now);
void raft_read_answered(struct raft *r, const struct raft_msg *m);
/* Members confirmed rounds, or an entry of this term was committed. */
void raft_reads_advance(struct raft *r, struct mono now);

/* --- raft_snapshot.c --- */
void raft_snapshot_begin(struct raft *r, struct raft_peer *p, struct mono now);
void raft_snapshot_resend(struct raft *r, struct raft_peer *p, struct mono now);
void raft_snapshot_came(struct raft *r, struct raft_msg *m, struct mono now);
void raft_snapshot_answered(struct raft *r, const struct raft_msg *m, struct mono now);
void raft_incoming_drop(struct raft *r);

/* --- raft_time.c --- */
/* Something happened: a quiet group is quiet no more. */
void raft_stir(struct raft *r, struct mono now);
void raft_be_quiet(struct raft *r);

/* --- raft_output.c --- */
/* A new message to a member, of this term; it leaves when what this replica has decided so far is durable,
 * or at once if it promises nothing.  NULL: no memory, or the outbox is full: it is lost. */
struct raft_msg *raft_post(struct raft *r, uint8_t kind, uint64_t to);
struct raft_msg *raft_post_now(struct raft *r, uint8_t kind, uint64_t to);
/* The last one that was posted will not be sent. */
void raft_unpost(struct raft *r);
/* The mark after which all that was decided so far is durable. */
uint64_t raft_needs(const struct raft *r);
void raft_output_init(struct raft *r);
void raft_output_fini(struct raft *r);
/* The log was cut off from there on: writes under way make nothing beyond durable. */
void raft_output_cut(struct raft *r, uint64_t from);

#endif
