/*
 * mcg: what the mesh control group replicates: who belongs to the mesh, its settings, keys, and the updates
 * that every node gets.  A pure state machine: the committed entries of the group's log in, in their order;
 * the same on every node.
 *
 * An entry's data is one command (mcg_cmd.h).  One that makes no sense, or that the state forbids, changes
 * nothing but the proposer's session, and its error is the same everywhere.  Nothing here reads a clock:
 * times are those that proposers wrote into their commands, for people.
 *
 * Each proposal is applied once (core/raft_sessions.h): an entry with a client and a seq that was there
 * before gives the result that it had.
 *
 * What each command does, and why it is refused:
 *
 *	SEED	the first one.  ERR_EXISTS: later.  Before it all others are ERR_STATE.
 *	ADMIT	a node becomes a member; a member gets another name, or another replica, and then it runs.
 *		ERR_DENIED: nobody may join (a member may begin anew); it was evicted, without readmit; it is
 *		known with another public key; the token was another node's.  Whether certificate or token
 *		were good is for who proposes to see.  ERR_EXISTS: the replica is another member's.
 *	REMOVE	a member leaves, or a node is locked out, member or not; again: nothing.  Readmit: it then
 *		counts as one that left.  Keys are not sealed to who goes any more.  ERR_NOENT: it was no
 *		member, or not evicted.  ERR_STATE: it is the last member.
 *	STATE	a member is stopped or runs.  ERR_NOENT: it is no member.
 *	CONFIG	ERR_STALE: not the expected version.  ERR_NOENT: nothing to remove.  Removing counts as a
 *		version, so that one who has seen an earlier life of the key can't take it for this one.
 *	UPDATE	ERR_EXISTS: its id is among those that are kept, with that one's index in the result.
 *	KEY	ERR_STALE: not the version after the newest.  ERR_NOENT: sealed to who is no member.
 *	SEAL	a later box takes the place of an earlier one.  ERR_NOENT: sealed to who is no member, or
 *		there is no such key.  ERR_STALE: it has another id.
 *	PRUNE	again, or to before: nothing.  ERR_RANGE: to where the log was not yet.
 *
 * All but SEED have to come from a member: else ERR_DENIED.  ERR_FULL: a limit.
 *
 * Updates are kept until every member has applied them (PRUNE says so), so that a member that was away gets
 * them, at the latest with a snapshot: at most updates_max_bytes of them; then new ones are refused
 * (ERR_FULL) until those that are behind have caught up or have been evicted.
 */
#ifndef CONSENSUSD_CORE_MCG_H
#define CONSENSUSD_CORE_MCG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/core/mcg_cmd.h"

struct buf;
struct mcg;
struct raft_entry;

enum {
	MCG_MEMBERS_MAX = 4096, /* as RAFT_MEMBERS_MAX: refuse */
	MCG_FORMER_MAX = 65536, /* nodes that left or were evicted: the one that left first is forgotten, an
				   evicted one never: refuse */
	MCG_TOKENS_MAX = 65536, /* that were used: the one used first is forgotten, long after it expired */
	MCG_CONFIG_MAX = 4096,  /* keys of the configuration: refuse */
	MCG_CONFIG_MAX_BYTES = 32 * 1024 * 1024, /* all their values: refuse */
	MCG_CONFIG_REMOVED_MAX = 4096, /* whose version is remembered: the one removed first is forgotten, its
					  versions count from 1 again */
	MCG_KEYS_MAX = 8192,           /* keys of tenants and the mesh, all versions: refuse */
	MCG_KEY_VERSIONS_MAX = 2,      /* of one tenant, or of the mesh: the oldest goes */
	MCG_BOXES_MAX = 262144,        /* of all keys: refuse */
	MCG_UPDATE_OVERHEAD_BYTES = 256, /* that one counts beside its entry's data */
	MCG_SNAPSHOT_VERSION = 1,
};

enum mcg_member_status {
	MCG_MEMBER = 1, /* belongs to the mesh */
	MCG_STOPPED,    /* belongs to it, and said that it is going down: StopMesh */
	MCG_LEFT,
	MCG_EVICTED, /* locked out, until it is admitted by ADMIT with readmit */
};

struct mcg_member {
	uint64_t node;
	uint64_t replica; /* id in the group's configuration that it is to have; 0: it has left */
	uint8_t public_key[32];
	char name[NODE_NAME_SIZE];
	enum mcg_member_status status;
	uint64_t since_index, since_unix_ms; /* of the status, or of the replica */
	char reason[MCG_REASON_SIZE];        /* of an eviction */
	uint64_t by;                         /* the node that asked for it */
};

struct mcg_mesh {
	struct ulid mesh_id, seed_id; /* seed_id: of this control group, drawn when it was begun */
	char name[NODE_NAME_SIZE];
	char description[MCG_TEXT_SIZE];
	enum mcg_join allow_join;
	uint64_t created_unix_ms;
	uint32_t voters; /* how many there are to be */
	uint64_t updates_max_bytes;
};

struct mcg_value {
	const char *key;
	const uint8_t *json;
	size_t len;
	uint64_t version; /* from 1 on, of this key */
	uint64_t index, unix_ms, node;
};

struct mcg_sealed {
	uint64_t node;
	uint8_t box[MCG_BOX_BYTES];
};

struct mcg_key {
	char tenant[TENANT_TEXT_SIZE]; /* "": the mesh key */
	uint64_t version;              /* of this tenant's key, ascending */
	uint8_t key_id[8];
	uint64_t index, unix_ms, node; /* who made it */
	uint64_t valid_ms;             /* of a tenant's: how long the one before proves something beside it */
	struct mcg_sealed *sealed;     /* ascending by node: who has it */
	size_t sealed_count;
};

/* An update: a reference to the entry that carried it. */
struct mcg_update {
	uint64_t index, term;
	struct mcg_cmd_update cmd; /* borrowed from the entry */
};

/* What an entry changed, for those who have to act. */
enum mcg_change {
	MCG_CHANGE_MESH = 1,
	MCG_CHANGE_MEMBERS = 2,
	MCG_CHANGE_CONFIG = 4,
	MCG_CHANGE_KEYS = 8,
	MCG_CHANGE_UPDATE = 16,
	MCG_CHANGE_ALL = 31, /* after mcg_restore() */
};

struct mcg_result {
	int err;          /* 0, or why the command was refused */
	uint64_t index;   /* at which it was applied the first time */
	unsigned changes; /* enum mcg_change */
	bool repeated;    /* it had been applied before */
	bool session;     /* err is the session's: the command was not looked at */
	uint64_t version; /* of the key of the configuration that was set or removed; not if repeated */
};

struct mcg *mcg_new(void) MUST_USE;
void mcg_free(struct mcg *m);
/* The next committed entry (RAFT_NOOP and RAFT_CONFIG only move the index); one with an update is kept by
 * reference.  ERR_NOMEM: nothing has changed; the caller has to try again, going on without it would make
 * this node differ from the others. */
int mcg_apply(struct mcg *m, struct raft_entry *e, struct mcg_result *out) MUST_USE;
uint64_t mcg_index(const struct mcg *m);

/* The whole state; the buffer's errors. */
int mcg_snapshot(const struct mcg *m, struct buf *out) MUST_USE;
/* Exactly len bytes take the place of everything.  On an error nothing has changed: ERR_SHORT, ERR_LEFTOVER,
 * ERR_VERSION, ERR_FORMAT, ERR_LIMIT, ERR_NOMEM. */
int mcg_restore(struct mcg *m, const uint8_t *data, size_t len) MUST_USE;
/* About as many bytes as mcg_snapshot() appends. */
size_t mcg_bytes(const struct mcg *m);

/* --- to look at; pointers are good until the next event --- */

/* NULL before SEED was applied. */
const struct mcg_mesh *mcg_mesh(const struct mcg *m);
/* All that are or were members, ascending by node. */
size_t mcg_member_count(const struct mcg *m);
size_t mcg_member_present(const struct mcg *m); /* that are */
const struct mcg_member *mcg_member_at(const struct mcg *m, size_t i);
const struct mcg_member *mcg_member_get(const struct mcg *m, uint64_t node); /* NULL */
bool mcg_evicted(const struct mcg *m, uint64_t node);
/* Ascending by key. */
size_t mcg_value_count(const struct mcg *m);
bool mcg_value_at(const struct mcg *m, size_t i, struct mcg_value *out);
bool mcg_value_get(const struct mcg *m, const char *key, struct mcg_value *out);
/* Ascending by tenant, then by version. */
size_t mcg_key_count(const struct mcg *m);
const struct mcg_key *mcg_key_at(const struct mcg *m, size_t i);
/* The newest of a tenant; NULL. */
const struct mcg_key *mcg_key_get(const struct mcg *m, const char *tenant);
/* Updates that are kept, in order of the log.  From: the first with a higher index; false: none. */
bool mcg_update_after(const struct mcg *m, uint64_t index, struct mcg_update *out);
/* The same of one kind, however many of the other one are between. */
bool mcg_update_kind_after(
    const struct mcg *m, enum mcg_update_kind kind, uint64_t index, struct mcg_update *out);
uint64_t mcg_pruned(const struct mcg *m); /* no update up to here is kept */
size_t mcg_update_bytes(const struct mcg *m);
uint64_t mcg_update_last(const struct mcg *m); /* index of the last one there was; 0: none */

/* Would the proposal be refused as things are?  For an early answer; what counts is the entry's result.  The
 * command is one that mcg_cmd_decode() would give. */
int mcg_check(const struct mcg *m, const struct mcg_cmd *cmd) MUST_USE;

#endif
