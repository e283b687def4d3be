/*
 * mesh_impl: what the files of mesh share; not for others.
 *
 * mesh.c is the state machine's shell and its life, mesh_propose.c proposals, mesh_enter.c seeding, joining
 * and leaving, mesh_lead.c what the leader has to do, mesh_spread.c who has applied what, mesh_keys.c keys,
 * mesh_token.c tokens.
 */
#ifndef CONSENSUSD_MESH_IMPL_H
#define CONSENSUSD_MESH_IMPL_H

#include <bsd/sys/queue.h>

#include "common/base/buf.h"
#include "common/os/crypto.h"
#include "consensusd/ask.h"
#include "consensusd/core/raft_sessions.h"
#include "consensusd/engine.h"
#include "consensusd/group.h"
#include "consensusd/hash.h"
#include "consensusd/mesh.h"

enum {
	/* Proposals under way: what a session has room for. */
	MESH_PROPOSALS_MAX = RAFT_SESSION_WINDOW,
	/* Proposals that wait for room among these, and their bytes: refused beyond. */
	MESH_QUEUE_MAX = 4096,
	MESH_QUEUE_MAX_BYTES = 32 * 1024 * 1024,
	/* A proposal that was not applied is proposed again. */
	MESH_AGAIN_MS = 1000,
	/* A node that starts and hears of no leader goes by the configuration that it knows to be agreed. */
	MESH_CONFIG_PATIENCE_MS = 5000,
	/* How often the leader looks at its duties without a reason. */
	MESH_DUTY_MS = 1000,
	/* A member tells the leader how far it is: so long after the first news, and again so often. */
	MESH_APPLIED_DELAY_MS = 10,
	MESH_APPLIED_AGAIN_MS = 1000,
	MESH_APPLIED_TRIES = 5,
	/* Updates beyond are pruned when all members have them. */
	MESH_PRUNE_STEP_BYTES = 1024 * 1024,
	/* Calls that wait for members to apply something: refused beyond. */
	MESH_WAITS_MAX = 4096,
	/* Reads that wait for the leader: refused beyond. */
	MESH_READINGS_MAX = RAFT_READS_MAX,
	/* Nodes that are asked for a control group at once, who joins and who seeds, and for how long. */
	MESH_FIND_MAX = 16,
	MESH_FIND_ALL_MAX = 2048,
	MESH_FIND_MS = 3000,
	MESH_JOIN_MS = 30000,
	/* Joining again after the state was lost: paused between attempts. */
	MESH_REJOIN_MS = 3000,
	MESH_REJOIN_TRIES = 20,
	/* Leaving: how long the others may take to let this node go. */
	MESH_LEAVE_MS = 20000,
	/* Stopping: how long the leader tries to hand leadership over. */
	MESH_TRANSFER_MS = 10000,
	/* How long keys that an evicted node knows stay good for what is under way. */
	MESH_EVICT_VALID_MS = 60 * 1000,
	/* A node that was let go stays so long for those that need its log, a leader several times. */
	MESH_GO_MS = 2000,
	MESH_GO_TRIES = 5,
};

/* What those who wait are told when the process ends (ERR_CLOSED). */
#define MESH_CLOSED_TEXT "this node's consensusd is going down"

struct mesh_proposal {
	TAILQ_ENTRY(mesh_proposal) entry;
	struct timed timer; /* again, or over */
	struct mesh *mesh;
	struct raft_entry *raft; /* the command; what is handed over is a copy with client and number */
	struct mono over;
	mesh_done_fn *fn; /* NULL: nobody waits any more */
	void *ctx;
	uint64_t seq; /* 0: it waits for room */
};
TAILQ_HEAD(mesh_proposals, mesh_proposal);

/* A member's progress, as it has told the leader. */
struct mesh_mark {
	uint64_t node, index;
	UT_hash_handle hh;
};

TAILQ_HEAD(mesh_transfers, transfer);
TAILQ_HEAD(mesh_readings, reading);

/* A replica that the leader has heard of without a break. */
struct mesh_seen {
	uint64_t replica;
	struct mono since;
	bool active;
	UT_hash_handle hh;
};

struct mesh_waiter {
	TAILQ_ENTRY(mesh_waiter) entry;
	struct timed timer; /* its time is over */
	struct mesh *mesh;
	uint64_t index;
	enum mesh_wait mode;
	struct mono over;
	/* One of the two: a node that asked, or somebody here. */
	struct ask_from from;
	mesh_spread_fn *fn;
	void *ctx;
	uint64_t asked; /* node: the leader that was asked; 0: this node answers */
};
TAILQ_HEAD(mesh_waiters, mesh_waiter);

/* A key in plain, in locked memory. */
struct mesh_key {
	char tenant[TENANT_TEXT_SIZE];
	uint64_t version;
	uint8_t key_id[CRYPTO_KEY_ID_BYTES];
	uint8_t key[CRYPTO_KEY_BYTES];
};

enum mesh_entry_kind {
	MESH_ENTRY_NONE,
	MESH_ENTRY_SEED,
	MESH_ENTRY_JOIN,
	MESH_ENTRY_AGAIN,
	MESH_ENTRY_LEAVE
};

/* Entering or leaving, one at a time. */
struct mesh_entering {
	enum mesh_entry_kind kind;
	struct timed timer;
	mesh_done_fn *fn;
	void *ctx;
	struct mesh_seed seed;
	char token[MESH_TOKEN_SIZE];
	size_t asked, answered, unanswered, away; /* nodes; away: known, and not asked */
	unsigned tries;                           /* joining again: nobody knew a group */
	uint64_t leader, contact;                 /* a member that is asked to let us in */
	bool found;
	int refused; /* why the first entry was */
	struct mono over;
	uint8_t group_id[STORE_GROUP_BYTES];
	struct ulid seed_id;
};

struct mesh {
	struct engine *engine;
	struct mcg *mcg;
	struct group *group; /* NULL: outside */
	size_t updates_max_bytes, updates_keep_bytes;
	int64_t stable_us, gone_us; /* voters.h */
	bool role_known;
	struct raft_status role;
	unsigned undone;  /* enum mcg_change: what follows from it was not done for lack of memory */
	bool stop_wanted; /* StopMesh was asked for in this process's life */

	uint64_t client, next_seq; /* the session; client 0: none was opened yet */
	bool session_open;
	struct mesh_proposals proposals; /* with numbers, ascending: under way */
	size_t proposal_count;           /* of these */
	struct mesh_proposals queue;     /* without */
	size_t queue_count, queue_bytes;

	struct mesh_entering entering;
	struct timed leave; /* the replica of a node that is no member any more is dropped */
	unsigned go_tries;
	bool left;             /* it is no member, and is to be none: nobody's messages make it join again */
	uint64_t log_tag;      /* of the log that positions of followers are of; 0: none */
	bool ready;            /* what the database has is here */
	uint64_t config_index; /* from here on the configuration is the newest that the database has */
	struct mono config_over;
	struct timed config_timer;
	uint64_t settled; /* index that was committed when this process began */
	/* Evictions up to this index were told to all streams up to this number. */
	uint64_t evictions_told, evictions_streams;
	struct timed duty;
	unsigned duties; /* proposals of the leader's own that are under way: no second one before */

	struct mesh_seen *seen;  /* hash by replica; the leader's */
	struct mesh_mark *marks; /* hash by node; the leader's */
	struct timed tell;       /* APPLIED to the leader */
	uint64_t told;
	unsigned told_tries;
	uint64_t told_to;
	struct mesh_waiters waiters;
	struct mesh_spread *spread; /* room for one that is being looked at: it is large */
	size_t waiter_count;

	struct mesh_transfers transfers;
	struct mesh_readings readings;
	size_t reading_count;
	uint64_t last_reading;

	struct mcg_update followed; /* the item that a follower looks at */
	struct buf row;             /* the update that the applier looks at */
	uint64_t row_waits;         /* index of the first row that was not there when last looked; 0: none */

	struct mesh_key *keys; /* locked */
	size_t key_count, key_cap;
};

/* mesh.c */
/* Does what there was no memory for. */
void mesh_catch_up(struct mesh *m);

/* mesh_propose.c */
void mesh_propose_init(struct mesh *m);
void mesh_propose_fini(struct mesh *m);
/* An entry was applied: whose proposal was it? */
void mesh_proposal_applied(struct mesh *m, const struct raft_entry *e, const struct mcg_result *r);
/* There is a leader again: what waits is proposed at once. */
void mesh_proposals_hurry(struct mesh *m);
void mesh_proposals_forget(struct mesh *m, const void *ctx);
void mesh_proposals_fail(struct mesh *m, int err, const char *text);

/* mesh_admit.c: questions to join. */
void mesh_admit_init(struct mesh *m);

/* mesh_enter.c */
void mesh_enter_init(struct mesh *m);
void mesh_enter_fini(struct mesh *m);
/* Who this node is in the mesh may have changed. */
void mesh_enter_changed(struct mesh *m);
/* The group says that it has no such replica (any more). */
void mesh_enter_gone(struct mesh *m);
void mesh_enter_again(struct mesh *m);
/* After a start, with a replica: if it has nothing yet, joining goes on. */
void mesh_enter_resume(struct mesh *m);
/* This node's replica has to go: it is no member any more. */
void mesh_outside(struct mesh *m, const char *why);
int mesh_attach(struct mesh *m, struct group *g);

/* mesh_config.c: writes the configuration down, all of it after a snapshot; last: of the log, as this process
 * begins. */
void mesh_config_init(struct mesh *m);
void mesh_config_fini(struct mesh *m);
void mesh_config_begin(struct mesh *m, uint64_t last);
void mesh_config_changed(struct mesh *m);
void mesh_config_set(struct mesh *m, const struct mcg_cmd *cmd, uint64_t index, uint64_t version);

/* mesh_updates.c: updates as followers and the database get them. */
void mesh_updates_start(struct mesh *m);
void mesh_updates_fini(struct mesh *m);
/* The log is that of this group: positions in another one mean nothing. */
void mesh_updates_log(struct mesh *m, const uint8_t group[STORE_GROUP_BYTES]);
void mesh_updates_came(struct mesh *m);
/* What nodes that are no members have said about themselves is forgotten. */
void mesh_updates_forget(struct mesh *m);
/* Up to where this node has applied the log: rows of the database too. */
uint64_t mesh_own_mark(struct mesh *m);

/* mesh_lead.c */
void mesh_lead_init(struct mesh *m);
void mesh_lead_fini(struct mesh *m);
void mesh_lead_soon(struct mesh *m);
/* A mesh_done_fn for what the leader proposes by itself (m->duties). */
void mesh_duty_done(void *ctx, const struct mesh_outcome *o);
/* This node leads, or does so no more. */
void mesh_lead_changed(struct mesh *m);

/* mesh_spread.c */
void mesh_spread_init(struct mesh *m);
void mesh_spread_fini(struct mesh *m);
void mesh_spread_applied(struct mesh *m);
void mesh_spread_role(struct mesh *m);
void mesh_spread_forget(struct mesh *m, const void *ctx);
uint64_t mesh_least_mark(struct mesh *m);

/* mesh_keys.c */
void mesh_keys_fini(struct mesh *m);
/* Opens what is sealed to this node. */
void mesh_keys_changed(struct mesh *m);
/* As the leader, or as who has a key: seals keys to members that miss them.  True: something was proposed. */
bool mesh_keys_duty(struct mesh *m);
const struct mesh_key *mesh_key_newest(const struct mesh *m, const char *tenant);
const struct mesh_key *mesh_key_find(
    const struct mesh *m, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES]);
/* Gives the tenants' keys to the keyring. */
void mesh_keys_tenants(struct mesh *m);

/* mesh_read.c */
void mesh_readable(struct mesh *m, uint64_t id);
void mesh_readings_forget(struct mesh *m, const void *ctx);
void mesh_readings_fini(struct mesh *m);

/* mesh_transfer.c */
void mesh_on_transfer(void *ctx, const struct ask_from *from, const uint8_t *body, size_t len);
void mesh_transfers_forget(struct mesh *m, const void *ctx);
void mesh_transfers_fini(struct mesh *m);

/* mesh_token.c */
/* ERR_AUTH with a reason. */
int mesh_token_check(
    const struct mesh *m, const char *token, uint64_t node, struct ulid *id, const char **why) MUST_USE;

/* What those who watch are told. */
void mesh_tell(struct mesh *m, const struct mcg_cmd *cmd);
void mesh_event(struct mesh *m, const char *type, uint64_t node, const char *key, const char *value);

#endif
