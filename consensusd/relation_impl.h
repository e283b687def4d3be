/*
 * relation_impl: what the files of relation share; not for others.
 *
 * relation.c makes, finds and ends relations, relation_index.c has them by what they are for, relation_log.c
 * is the state machine and what is proposed to it, relation_lead.c sees to members, to who leads, and to
 * groups that nobody needs or that can't decide.
 */
#ifndef CONSENSUSD_RELATION_IMPL_H
#define CONSENSUSD_RELATION_IMPL_H

#include "common/base/buf.h"
#include "consensusd/engine.h"
#include "consensusd/group.h"
#include "consensusd/hash.h"
#include "consensusd/relation.h"
#include "consensusd/store.h"

enum {
	/* Of one entry: what is more goes into the next one. */
	RELATION_PROPOSAL_BYTES = 256 * 1024,
	/* The most voters; there is an odd number of them, of two members one. */
	RELATION_VOTERS = 5,
	/* How often members and leadership are looked at while something is not as it should be. */
	RELATION_DUTY_MS = 200,
	RELATION_IDLE_MS = 5000,
	/* A voter that is gone for so long is replaced by a learner that is there. */
	RELATION_GONE_MS = 10000,
	/* A target's replica that was let go for so long begins anew. */
	RELATION_OUTSIDE_MS = 3000,
	/* Without a stream for so long, the source dissolves the group; a target forgets its replica later.
	 */
	RELATION_UNUSED_SOURCE_MS = 30000,
	RELATION_UNUSED_TARGET_MS = 90000,
	/* So long the source stays to tell the others that they are members no more. */
	RELATION_LETTING_GO_MS = 5000,
};

/* What a node told of its replica. */
struct relation_member {
	uint64_t node, replica;
};

TAILQ_HEAD(relation_source_list, source);
TAILQ_HEAD(relation_sink_list, sink);

/* What a source's streams share a group by; compared as a whole. */
struct relation_key {
	char tenant[TENANT_TEXT_SIZE];
	uint64_t targets[STORE_TARGETS_MAX]; /* ascending, then 0 */
	uint64_t count;
};

struct relation {
	struct relations *owner;
	uint8_t id[STORE_GROUP_BYTES];
	char text[GROUP_TEXT_SIZE];
	struct group *group; /* NULL: not loaded yet, or lost */
	struct dsg *state;
	struct raft_status role; /* as last told */
	struct raft_status now;  /* as last looked at */
	bool mine;               /* this node is the source */
	char tenant[TENANT_TEXT_SIZE];
	uint64_t targets[STORE_TARGETS_MAX];
	size_t target_count;
	unsigned expected; /* sources that come when their row is durable */
	struct relation_source_list sources;
	struct relation_sink_list sinks;
	struct buf proposal; /* commands for the next entry */
	uint64_t applied, ready_index;
	bool ready, queued;
	bool settled; /* members and voters are as they should be */
	struct relation_member heard[STORE_TARGETS_MAX];
	size_t heard_count;
	struct timed duty;
	struct mono unused_since, gone_since; /* MONO_NEVER: used; all are there */
	TAILQ_ENTRY(relation) queue_entry;
	struct relation_key key;
	struct relation *same; /* the next one with this key */
	bool indexed;
	UT_hash_handle by_key;
	UT_hash_handle hh;
};

TAILQ_HEAD(relation_list, relation);

struct relations {
	struct engine *engine;
	struct relation *all;    /* hash by id */
	struct relation *by_key; /* hash; this node's, the first of each key */
	struct relation_list queue;
	bool ready;
};

extern const struct group_ops relation_ops;

/* A relation that has no replica yet. */
int relation_new(struct relations *rs, const uint8_t id[STORE_GROUP_BYTES], struct relation **out) MUST_USE;
void relation_free(struct relation *r);
/* Begins a replica: as the first, or to be made a member. */
int relation_begin(struct relation *r, bool first) MUST_USE;
struct relation *relation_find(const struct relations *rs, const uint8_t id[STORE_GROUP_BYTES]);
/* relation_index.c: again when tenant or targets have changed. */
void relation_index(struct relation *r);
void relation_unindex(struct relation *r);
struct relation_key relation_key_make(const char *tenant, const uint64_t *targets, size_t count);
/* The first of them, NULL: there is none; then same. */
struct relation *relation_by_key(const struct relations *rs, const struct relation_key *key);
/* A new group takes the place of one that is lost or can't decide. */
void relation_renew(struct relation *r);

/* What the state machine tells. */
void relation_on_described(void *ctx, const struct dsg_stream *x);
void relation_on_opened(void *ctx, const struct dsg_stream *x);

/* Has what was gathered proposed in the turn. */
void relation_queue(struct relation *r);
void relation_propose(struct relation *r);
/* The log is another one, or this node leads it no more: what was proposed may be lost. */
void relation_unready(struct relation *r);
/* A source has come from another relation. */
void relation_arrived(struct source *s);
/* Whether this node leads and its state has all that was committed before. */
void relation_look(struct relation *r);

void relation_duty_soon(struct relation *r);
void relation_on_duty(void *arg);
void relation_used(struct relation *r);

#endif
