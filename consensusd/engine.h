/*
 * engine: what all parts of consensusd share, and the turn that moves streams.
 *
 * Events (frames, publishes, durable tickets, deadlines) only change cores and mark nouns dirty; the
 * engine's turn, at the end of each turn of the loop, then does for all of them at once what follows:
 * seal what is pending, give batches to the store, send, deliver, acknowledge.  So everything that
 * arrived together leaves together.
 */
#ifndef CONSENSUSD_ENGINE_H
#define CONSENSUSD_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "common/base/frame.h"
#include "common/base/id.h"
#include "common/base/must.h"
#include "common/base/rng.h"
#include "common/os/loop.h"
#include "consensusd/core/assembly.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/deadlines.h"
#include "consensusd/core/idwindow.h"
#include "consensusd/core/nodes.h"
#include "consensusd/core/order.h"
#include "consensusd/core/pending.h"
#include "consensusd/core/stream.h"
#include "consensusd/core/target.h"
#include "consensusd/fresh.h"

struct acl;
struct api;
struct applier;
struct asks;
struct bulletin;
struct conf;
struct dbsinks;
struct dedupe;
struct egress;
struct groups;
struct keyring;
struct memo;
struct mesh;
struct meters;
struct peers;
struct relations;
struct regulator;
struct router;
struct seal_message;
struct shared;
struct sink;
struct source;
struct source_flow;
struct spill;
struct store;
struct transport;
struct warmth;

/* Something that wants to be called at a time. */
struct timed {
	struct deadline deadline; /* first, so that one leads to the other */
	void (*fn)(void *arg);
	void *arg;
	TAILQ_ENTRY(timed) entry;
	bool early; /* there was no memory to wait: in the engine's list of those */
};

TAILQ_HEAD(timed_list, timed);
TAILQ_HEAD(source_list, source);
TAILQ_HEAD(source_flow_list, source_flow);
TAILQ_HEAD(sink_list, sink);

/* A read from the store: names what it is for, which may be gone when the answer comes. */
struct engine_read {
	TAILQ_ENTRY(engine_read) entry;
	struct engine *engine;
	struct ulid stream_id;
	uint64_t node;
	uint64_t from_seq; /* for who wants to know whether anything of use came */
	void *extra;       /* what else belongs to it; mem_free() */
};

TAILQ_HEAD(engine_read_list, engine_read);

struct engine {
	struct loop *loop;
	struct keyring *keyring;
	struct store *store;
	struct transport *transport;
	struct router *router;
	struct api *api;
	struct peers *peers;         /* consensusds of other nodes */
	struct asks *asks;           /* questions to them */
	struct groups *groups;       /* Raft */
	struct relations *relations; /* groups of streams */
	struct mesh *mesh;           /* the control group */
	struct acl *acl;             /* policies of tenants */
	struct shared *shared;       /* its configuration for the daemons of this node */
	struct applier *applier;     /* of database updates */
	struct dbsinks *dbsinks;     /* of streams that carry some */
	struct meters *meters;       /* metrics of streams and tenants */
	struct regulator *regulator; /* what operators say of streams */
	struct bulletin *bulletin;   /* what nodes say about themselves */
	struct dedupe *dedupe;       /* NULL: without Redis */
	struct memo *memo;           /* what is kept in Redis; NULL: without it */
	struct egress *egress;       /* the same */
	struct spill *spill;         /* the same */
	struct warmth *warmth;       /* how well other nodes were reached */
	struct rng rng;

	uint64_t self;
	uint8_t public_key[32];
	struct ulid mesh_id;
	char mesh_name[NODE_NAME_SIZE], node_name[NODE_NAME_SIZE], region[NODE_NAME_SIZE];
	struct mono started, trim_at;
	struct {
		struct mono at;    /* when it was measured how busy this process is */
		int64_t cpu_us;    /* then */
		uint32_t permille; /* that it was in the time before */
	} busy;

	struct stream_conf stream_conf;
	struct target_conf target_conf;
	size_t streams_max;
	size_t metrics_streams, metrics_tenants; /* with labels of their own */
	struct budget budget;

	struct order order[FRAME_CLASS_COUNT]; /* of what was put into the store, by class */
	struct deadlines deadlines;
	struct timed_list early;
	size_t early_count;
	struct loop_timer *timer;
	struct loop_defer turn;
	struct nodes nodes;
	struct idwindows ids;  /* of messages */
	uint64_t ids_told;     /* of those that were given up, how many were told of */
	struct idcache closed; /* streams, with a message id of zero */
	struct fresh fresh;
	struct pending_pool pool;
	struct assembly assembly;

	struct source *sources; /* hash by stream id */
	struct source *recent;  /* the last one that was published to, or NULL */
	struct sink *sinks;
	uint64_t streams_begun; /* sources and sinks that were made: each has its number */
	uint64_t letters,
	    letters_max;        /* dead letters of streams in the database, and how many there may be */
	size_t letters_waiting; /* streams that wait for room for one */
	size_t failing;         /* streams whose next message has failed at its handler */
	struct source_list dirty_sources[FRAME_CLASS_COUNT];
	struct source_flow_list ready_flows[FRAME_CLASS_COUNT];
	struct sink_list dirty_sinks[FRAME_CLASS_COUNT];
	struct seal_message *scratch;  /* BATCH_MESSAGES_MAX of them */
	struct engine_read_list reads; /* from the store, under way */
	struct ulid last_ulid;
	bool unsorted; /* many flows became ready at once */
	bool loaded;   /* the store has been ready once: what this node knows is in memory */
	bool flushed;  /* a flush was confirmed since pending batches were given to the store */
	bool failed;   /* the store contradicted us: the process ends with an error */
};

/* Fills in what configuration and keyring say; everything is empty.  ERR_NOMEM, or an error that was
 * logged. */
int engine_init(
    struct engine *e, struct loop *loop, struct keyring *keyring, const struct conf *conf) MUST_USE;
void engine_fini(struct engine *e);
/* Applies what can change while running. */
void engine_configure(struct engine *e, const struct conf *conf);
/* Opens the store; what it calls back is the engine's. */
int engine_open_store(
    struct engine *e, const struct conf *conf, int sql_dir_fd, int witness_fd, const char *user) MUST_USE;

/* Has the turn run at the end of this turn of the loop. */
void engine_wake(struct engine *e);
/* Calls t->fn(t->arg) at when; MONO_NEVER: not.  Without memory it is called early, but never from within. */
void engine_at(struct engine *e, struct timed *t, struct mono when);
void engine_at_cancel(struct engine *e, struct timed *t);

/* A read for a stream (and node); NULL: no memory. */
struct engine_read *engine_read_new(struct engine *e, const struct ulid *stream_id, uint64_t node) MUST_USE;
void engine_read_free(struct engine_read *r);

/* Whether new work must wait, of streams of this class (enum frame_class): the database is away or behind, or
 * memory is short.  *why (may be NULL) is a text for people. */
bool engine_held(const struct engine *e, uint8_t class, const char **why);
size_t engine_stream_count(const struct engine *e);
void engine_ulid(struct engine *e, struct ulid *out);

/* A node became reachable, or is no longer held: what goes there goes on. */
void engine_node_up(struct engine *e, struct node *n);
/* A node can't be reached any more. */
void engine_node_down(struct engine *e, struct node *n);
/* Links to siblings are up again: everything that waits is tried. */
void engine_transport_up(struct engine *e);

/* A node id or name for people, in a static buffer that the next call overwrites. */
const char *engine_node_text(const struct engine *e, uint64_t node);

#endif
