/*
 * raft_config: who belongs to a group, and who votes (Ongaro's thesis, chapter 4).
 *
 * Voters change by joint consensus (section 4.3): between the old and the new configuration lies one in
 * which each decision needs a majority of both.  A change that leaves the voters as they are, of learners
 * alone, is one step: no majority depends on it.
 *
 * A member is one replica's life: its id is drawn anew when a node begins without state, so that a node
 * that lost what it had promised is somebody else, who never voted.
 *
 *	u8 version, u16 count, count x {u64 id, u64 node, u8 role}		ids ascend
 */
#ifndef CONSENSUSD_CORE_RAFT_CONFIG_H
#define CONSENSUSD_CORE_RAFT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum {
	RAFT_CONFIG_VERSION = 1,
	RAFT_VOTERS_MAX = 15,    /* of each half of a joint configuration; more only makes commits slower */
	RAFT_MEMBERS_MAX = 4096, /* learners included: the nodes of a mesh */
	RAFT_MEMBER_BYTES = 8 + 8 + 1,
	RAFT_CONFIG_MAX_BYTES = 1 + 2 + RAFT_MEMBERS_MAX * RAFT_MEMBER_BYTES,
};

enum raft_member_role {
	RAFT_VOTER = 1,     /* of the configuration, or of the new one of two */
	RAFT_OLD_VOTER = 2, /* of the old one of two */
	RAFT_LEARNER = 4,   /* gets the log without a vote; or will when the old configuration has gone */
};

struct raft_member {
	uint64_t id;   /* of the replica; not 0 */
	uint64_t node; /* where it lives */
	uint8_t role;  /* of enum raft_member_role; not 0 */
};

struct raft_config {
	size_t count;
	struct raft_member members[]; /* ascending by id */
};

/* A copy, with ids in order.  ERR_NOMEM; ERR_RANGE: an id is 0 or there twice, a role makes no sense, there
 * are too many members or voters, or none at all votes although there are members. */
int raft_config_new(const struct raft_member *members, size_t count, struct raft_config **out) MUST_USE;
void raft_config_free(struct raft_config *c);

/* NULL: no such member. */
const struct raft_member *raft_config_get(const struct raft_config *c, uint64_t id);
/* Are there two sets of voters? */
bool raft_config_joint(const struct raft_config *c);
bool raft_config_same_voters(const struct raft_config *a, const struct raft_config *b);

/* What lies between two configurations, neither of which is joint; ERR_NOMEM, ERR_RANGE. */
int raft_config_between(
    const struct raft_config *from, const struct raft_config *to, struct raft_config **out) MUST_USE;
/* What a joint one leads to. */
int raft_config_after(const struct raft_config *joint, struct raft_config **out) MUST_USE;

int raft_config_encode(const struct raft_config *c, struct buf *out) MUST_USE;
/* Exactly len bytes: ERR_SHORT, ERR_LEFTOVER, ERR_VERSION, ERR_FORMAT (and what raft_config_new() says). */
int raft_config_decode(const uint8_t *data, size_t len, struct raft_config **out) MUST_USE;

#endif
