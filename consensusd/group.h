/*
 * group: the Raft groups that this node has a replica of: the shell around core/raft, for all of them.
 *
 * Events go to the replica and mark its group dirty; the engine's turn then does for all of them at once what
 * follows: persisting (the store makes one transaction of all that a turn puts), sending (peers makes one
 * packet of all that goes to a node), applying.  Deadlines are in the engine's heap: a group that is quiet
 * has none, and costs nothing until a node of its leader goes away or a message comes.
 *
 * The state machine is another's (struct group_ops).  It has what is applied in memory only: after a restart
 * it gets the snapshot and the committed entries of the log again.
 */
#ifndef CONSENSUSD_GROUP_H
#define CONSENSUSD_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/core/raft.h"
#include "consensusd/store.h"

struct buf;
struct conf;
struct engine;
struct group;
struct groups;
struct raft_entry;
struct raft_member;

struct group_ops {
	/* The next committed entry.  ERR_NOMEM: nothing was changed, it is given again later. */
	int (*apply)(void *sm, struct raft_entry *e) MUST_USE;
	/* The state after the last entry that was applied; the buffer's errors. */
	int (*snapshot)(void *sm, struct buf *out) MUST_USE;
	/* Takes the place of the state, which is that of index from now on. */
	int (*restore)(void *sm, const uint8_t *data, size_t len, uint64_t index) MUST_USE;
	/* The role, the term or the leader is another. */
	void (*role)(void *sm, const struct raft_status *now);
	/* What was asked with group_read() may be served: the state has all that was committed then. */
	void (*readable)(void *sm, uint64_t ctx);
	/* A member's replica lost what it had, or this one is not a member any more. */
	void (*gone)(void *sm);
	/* See raft_apply_early().  A replica that does not vote may then have its log written a little later.
	 */
	bool early;
};

struct groups *groups_new(struct engine *e, const struct conf *conf) MUST_USE;
void groups_free(struct groups *gs);
void groups_configure(struct groups *gs, const struct conf *conf);
size_t groups_count(const struct groups *gs);
/* All of them, in no particular order. */
struct group *groups_first(const struct groups *gs);
struct group *groups_next(const struct group *g);
struct group *groups_find(const struct groups *gs, const uint8_t id[STORE_GROUP_BYTES]);
struct group *groups_find_type(const struct groups *gs, enum store_raft_type type);

/* What the store tells. */
int groups_load(struct groups *gs, const struct store_raft_state *r) MUST_USE;
void groups_rolled_back(struct groups *gs, const char *why);
void groups_damaged(struct groups *gs, const uint8_t id[STORE_GROUP_BYTES], const char *why);
void groups_ready(struct groups *gs);
void groups_durable(struct groups *gs, uint64_t ticket);
/* Replicas were forgotten because the database went back in time. */
bool groups_lost(const struct groups *gs);
/* What the router tells: who follows a node that is gone elects another leader, and who leads notices that
 * one is back. */
void groups_node_down(struct groups *gs, uint64_t node);
void groups_node_up(struct groups *gs);
/* Who is told of messages for groups that this node has no replica of. */
void groups_on_unknown(
    struct groups *gs, void (*fn)(void *ctx, const uint8_t id[STORE_GROUP_BYTES], uint64_t node), void *ctx);
/* The engine's turn.  True if work is left. */
bool groups_turn(struct groups *gs);

/* An id for a new replica: nobody else has it. */
uint64_t group_draw_replica(void);
/* Begins a replica: alone with members (the first one of a group), or without any, waiting to be told. */
int group_new(struct groups *gs, const uint8_t id[STORE_GROUP_BYTES], enum store_raft_type type,
    uint64_t replica, const struct raft_member *members, size_t count, struct group **out) MUST_USE;
/* Forgets it, durably. */
void group_drop(struct group *g);
/* Writes down now how far the log is known to be committed, which else goes with the next entries: what was
 * applied here then holds after a restart before there is a leader.  The store's errors: it does not. */
int group_keep(struct group *g) MUST_USE;
/* Whose state machine it is: gets the snapshot and the log that were loaded, in the next turns. */
int group_attach(struct group *g, const struct group_ops *ops, void *sm) MUST_USE;

/* As raft_propose(), raft_change(), raft_transfer(), raft_read(). */
int group_propose(struct group *g, struct raft_entry *e, uint64_t *index) MUST_USE;
int group_change(struct group *g, const struct raft_config *to) MUST_USE;
int group_transfer(struct group *g, uint64_t replica) MUST_USE;
int group_read(struct group *g, uint64_t ctx) MUST_USE;
void group_campaign(struct group *g);

const uint8_t *group_id(const struct group *g);
enum store_raft_type group_type(const struct group *g);
void group_show(const struct group *g, struct raft_status *out);
bool group_member_at(const struct group *g, size_t i, struct raft_member_status *out);
/* Whether a member can be reached, as far as the leader knows. */
bool group_member_answers(const struct group *g, const struct raft_member_status *s);
int group_config(const struct group *g, struct raft_config **out) MUST_USE;
/* The node of its leader; 0: not known. */
uint64_t group_leader_node(const struct group *g);
/* This replica is the only one that votes. */
bool group_is_alone(const struct group *g);
/* The group's id for people: as a UUID. */
enum { GROUP_TEXT_SIZE = UUID_TEXT_SIZE };
void group_text(const struct group *g, char out[GROUP_TEXT_SIZE]);

#endif
