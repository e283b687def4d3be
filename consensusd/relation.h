/*
 * relation: a source, the targets that some of its streams have in common, and the Raft group that they share
 * (DSG): the shell around core/dsg.
 *
 * The source makes the group when the first such stream is opened, alone; each target begins a replica when
 * it is asked to open a stream of it, says so with MSG_OPENED, and is made a member.  Streams to the same
 * targets of the same tenant share the group; it is dissolved when it has had none for a while.
 *
 * The source leads if it can: only a leader that is the source describes batches.  It does so in the order
 * of their seqs, when a batch is given to the store, or else when it is sent; none is sent that was not
 * proposed.  So what is in the log is in the outbox, or was never sent to anybody: the log may be ahead of an
 * outbox that crashed, and then the batches that are made again are described again.
 *
 * A replica that lost its log is another one (groups_rolled_back()).  If so many of a group are that it can't
 * decide any more, the source begins another group for its streams: they go on where the targets are.
 */
#ifndef CONSENSUSD_RELATION_H
#define CONSENSUSD_RELATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "common/base/must.h"
#include "consensusd/core/dsg.h"

struct batch;
struct engine;
struct relation;
struct relations;
struct sink;
struct source;
struct store_stream;

/* What a source has of its relation; all zero at first. */
struct relation_source {
	TAILQ_ENTRY(source) entry;
	struct relation *relation;
	uint64_t proposed_seq; /* descriptors up to here are in the log of this term, or about to be */
	bool placed;           /* proposed_seq says something: the group has a state to go by */
	bool blocked;          /* flows wait for the group */
	bool moved;            /* this process has moved it here from another group, which is not told yet */
	struct relation *next; /* where it goes when its row is durable; NULL: it stays */
	bool redone;           /* what is wrong in the log was put right, and that is not applied yet */
	uint64_t cap; /* what the log has above is of a time before the last crash; UINT64_MAX: nothing */
	uint64_t
	    sure_from; /* from here on this process has proposed it; below, the log may have what was lost */
};
struct relation_sink {
	TAILQ_ENTRY(sink) entry;
	struct relation *relation;
	bool waits; /* a batch waits for its descriptor */
};

struct relations *relations_new(struct engine *e) MUST_USE;
void relations_free(struct relations *rs);
/* The store is ready for the first time: streams and groups are loaded. */
void relations_ready(struct relations *rs);
/* The engine's turn, after sources: proposes what was gathered. */
void relations_turn(struct relations *rs);
/* A replica for a group of streams is wanted that this node does not have: true if it is one of ours. */
bool relations_unknown(struct relations *rs, const uint8_t *id);
/* A node is locked out: it is no member of any group of this node's streams any more. */
void relations_evicted(struct relations *rs, uint64_t node);
size_t relations_count(const struct relations *rs);

/* --- a source's --- */

/* The relation of a stream that is about to be opened: its group is in row->group_id then.  ERR_NOMEM,
 * ERR_FULL (groups, or the store). */
int relation_choose(struct engine *e, struct store_stream *row) MUST_USE;
/* The stream goes to the group that its row has, which was chosen just now, when that is durable. */
void relation_expect(struct source *s);
/* It is: what the group before it has not agreed upon is proposed to the new one. */
void relation_move(struct source *s);
/* A source is there; its row has the group. */
int relation_add_source(struct source *s) MUST_USE;
/* closed: for good; the group forgets the stream. */
void relation_del_source(struct source *s, bool closed);
/* Sees to it that a batch is described; false: not now.  Then flows of the stream are to stop: they are made
 * ready again. */
bool relation_describe(struct source *s, struct batch *b);
/* The same for a batch that was just given to the store, if it is the next one; else it is when it is sent.
 */
void relation_describe_next(struct source *s, struct batch *b);
/* Up to where batches may be sent for the first time now; if that is not all, flows are made ready when it is
 * more. */
uint64_t relation_limit(struct source *s);
/* All up to this has its place in the log. */
uint64_t relation_described(const struct source *s);
/* All up to seq was given up. */
void relation_skipped(struct source *s, uint64_t seq);
/* A producer epoch begins.  If something before it is not described yet, the batches after that tell of it.
 */
void relation_fenced(struct source *s);
/* A target has processed up to seq; the group is told in time. */
void relation_processed(struct source *s, uint64_t node, uint64_t seq);
/* A target says which replica it has. */
void relation_heard(struct source *s, uint64_t node, uint64_t replica);

/* --- a target's --- */

int relation_add_sink(struct sink *k) MUST_USE;
void relation_del_sink(struct sink *k);
/* Whether a batch may be stored: has it the place that it says it has? */
enum dsg_check relation_check(struct sink *k, struct batch *b);
/* Of this node, for MSG_OPENED; 0: none. */
uint64_t relation_replica(const struct sink *k);
/* The source is back: it is to lead. */
void relation_source_back(struct sink *k);

#endif
