/*
 * world: groups of the shipped Raft core in one process, in virtual time.
 *
 * A host is a machine: it has a disk that forgets what was not synced when it crashes, a clock that may run
 * fast or slow, a place in the network, and one replica.  Everything that happens is an event of one queue,
 * and all chance comes from one seed: a run can be repeated.
 */
#ifndef TESTS_RAFTSIM_WORLD_H
#define TESTS_RAFTSIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/rng.h"
#include "consensusd/core/raft.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_msg.h"
#include "tests/raftsim/disk.h"
#include "tests/raftsim/history.h"
#include "tests/raftsim/machine.h"
#include "tests/sim/queue.h"

enum {
	HOSTS_MAX = 12,
	CLIENTS = 4,
	WORLD_MS = 1000, /* us */
	WORLD_SECOND = 1000 * WORLD_MS,
	INDEX_MAX = 1 << 16, /* entries that one run may see */
};

enum world_what {
	WORLD_MESSAGE, /* reaches node; data: struct raft_msg */
	WORLD_SYNCED,  /* the disk of node has done what it was given first */
	WORLD_TICK,    /* node's timer */
	WORLD_CLIENT,  /* client `node` has a turn */
	WORLD_CALL,    /* what client `link` asked of node while that stood still */
	WORLD_START,   /* node starts again, if it is down */
	WORLD_FAULT,
};

/* Where a host may crash while it does what follows from an event. */
enum world_point {
	POINT_GIVEN,    /* a write was given to the disk, and nobody knows whether it was done */
	POINT_DURABLE,  /* the disk has it, the replica was not told */
	POINT_TOLD,     /* the replica knows, and nothing was sent for it yet */
	POINT_SENT,     /* after one message of several */
	POINT_APPLIED,  /* after one entry of several */
	POINT_SNAPSHOT, /* a snapshot of its own was given to the disk */
	POINT_PIECE,    /* a piece of a snapshot was kept, and not answered yet */
	POINTS,
};
const char *world_point_name(enum world_point p);

struct host {
	bool up;
	uint32_t life; /* counts starts: events of an earlier one are void */
	uint64_t id;   /* of the replica: another one when the state is lost */
	struct raft *raft;
	struct disk disk;
	struct machine machine;
	uint64_t applied;
	double rate;                   /* of its clock */
	int64_t rate_at, clock_us;     /* since when, and what the clock showed then */
	int64_t paused_until;          /* it is up, and its process does not run */
	int64_t sync_us;               /* of a disk that is slower than the others'; 0: as they */
	enum world_point doom;         /* where it will crash */
	unsigned doom_in;              /* when it comes by for the n-th time; 0: it will not */
	int64_t tick_at;               /* world time; INT64_MAX: none */
	uint64_t commit;               /* seen last in this life */
	struct disk_snapshot incoming; /* what of it has come */
};

/* A write or read of a client; one at a time for each. */
struct client {
	uint64_t seq;
	bool busy, reading;
	int64_t began, tried; /* the operation; the last try */
	uint64_t ctx;         /* of the read that was tried last */
	unsigned host;        /* where */
	uint64_t index;       /* of the read, when it may be served; 0: not yet */
	uint32_t reg;
	uint64_t value;
	size_t op;       /* in the history */
	int64_t done_at; /* the last one that was */
};

/* What is known of an index by everybody. */
struct truth {
	uint64_t term, hash; /* committed; term 0: not yet */
	uint64_t in;         /* the term in which that came to be */
	uint64_t applied;    /* state of the machine after it; 0: not yet */
};

struct faults {
	unsigned loss, doubled;         /* of 1000 messages */
	int64_t delay_us, sync_us;      /* up to: of a message, of a write */
	int64_t pace_us;                /* between faults, up to */
	unsigned memory;                /* of 1000 events, those in which an allocation fails */
	bool cut[HOSTS_MAX][HOSTS_MAX]; /* from, to */
};

struct world {
	uint64_t seed;
	struct rng rng;
	int64_t now;
	struct queue queue;
	unsigned hosts; /* in use */
	struct host host[HOSTS_MAX];
	uint64_t next_id;
	struct faults faults;
	struct raft_settings settings;
	unsigned snapshot_every, snapshot_spare; /* entries between them; kept at most below one */
	bool churn, calm;                        /* members change; no faults any more */
	bool early;                              /* raft_apply_early() */
	struct client client[CLIENTS];
	uint64_t next_value, next_ctx;
	struct history history;
	/* Invariants. */
	struct truth *truth; /* INDEX_MAX */
	struct seen *seen;
	uint64_t committed; /* the highest index that anybody knows to be committed */
	uint64_t hash;      /* of all that happened */
	bool verbose;
	/* To be printed. */
	uint64_t events, messages, elections, crashes, lost_states, changes, snapshots, restores, transfers,
	    writes, reads;
	uint64_t crashes_at[POINTS];
	uint64_t events_before; /* of earlier runs */
};

struct world *world_new(uint64_t seed, unsigned voters, bool verbose);
void world_free(struct world *w);
/* Until then, or until nothing is left. */
void world_run(struct world *w, int64_t until);
/* The invariant does not hold: says so and ends the program with 1. */
void world_fail(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
void world_push(struct world *w, int64_t at, enum world_what what, unsigned node, uint32_t life, void *data);
bool world_chance(struct world *w, unsigned of_1000);
unsigned world_below(struct world *w, unsigned n);
void world_note(struct world *w, uint64_t what); /* into the hash */

/* --- host.c --- */
void host_start(struct world *w, unsigned h);
void host_crash(struct world *w, unsigned h);
/* Everything it had is gone: it begins as another replica, a member of nothing. */
void host_lose(struct world *w, unsigned h);
void host_message(struct world *w, unsigned h, struct raft_msg *m);
void host_synced(struct world *w, unsigned h);
void host_tick(struct world *w, unsigned h);
/* After an event of its replica: lets everything happen that follows.  It may crash meanwhile. */
void host_pump(struct world *w, unsigned h);
/* Its clock runs at another rate from now on. */
void host_drift(struct world *w, unsigned h, double rate);
static inline bool
host_paused(const struct world *w, unsigned h)
{
	return w->now < w->host[h].paused_until;
}
/* The next allocation or one soon after may fail, until memory_back(). */
void memory_short(struct world *w);
void memory_back(void);
struct mono host_clock(const struct world *w, unsigned h);
int host_of(const struct world *w, uint64_t id); /* -1: nobody's */

/* --- net.c --- */
void net_send(struct world *w, unsigned from, struct raft_msg *m);

/* --- client.c --- */
void client_turn(struct world *w, unsigned c);
void client_call(struct world *w, unsigned c, unsigned h);
void client_applied(struct world *w, unsigned h, const struct raft_entry *e);
void client_read_ready(struct world *w, unsigned h, uint64_t ctx, uint64_t index);
void client_reads_serve(struct world *w, unsigned h);

/* --- fault.c --- */
void fault_turn(struct world *w);
void fault_end(struct world *w); /* all is well from now on */
/* Would the group survive the loss of any one of its members? */
bool fault_may_lose(const struct world *w);
int fault_leader(struct world *w); /* a host that leads, or thinks so; -1: none */

/* --- aim.c --- */
/* Something that goes wrong at the worst time or place: most mistakes show only there. */
void aim_turn(struct world *w);

/* --- check.c --- */
void check_trace(struct world *w, unsigned h, enum raft_trace what, uint64_t a, uint64_t b);
void check_sent(struct world *w, unsigned h, const struct raft_msg *m);
void check_applied(struct world *w, unsigned h, const struct raft_entry *e);
void check_after(struct world *w, unsigned h);
void check_end(struct world *w);

#endif
