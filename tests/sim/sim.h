/*
 * sim: a network of thousands of nodes in one process, in virtual time.
 *
 * A node is the shipped core of routerd with models of what surrounds it: consensusd (signs, with a
 * hash that stands for a signature), transportd (which links it has, the FIB it was given, how it
 * forwards), its clock, and its processor.  Everything follows from the seed; the hash over all that
 * happened tells whether two runs were the same.  A broken invariant ends the program with the command
 * that shows it again.
 *
 * Files: queue (events), topo (who has links), net (links and frames), node (the models around the
 * core), route (the FIB in transportd), data (forwarding), fault (what goes wrong), check (invariants),
 * measure (figures), report (how they are shown), main.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "routerd/core/router.h"
#include "tests/sim/queue.h"
#include "tests/sim/route.h"

enum {
	SIM_MS = 1000,
	SIM_SECOND = 1000 * 1000,
	SIM_NODES_MAX = 60000, /* indexes of nodes fit 16 bits in routes */
	SIM_DEGREE = 8,        /* links of a node, on average */

	/* transportd: 3 heartbeats of 100 ms without an answer, at any phase of the interval. */
	SIM_SILENT_US = 300 * SIM_MS,
	SIM_SILENT_SPREAD_US = 100 * SIM_MS,
	/* transportd: a link that went down is dialled again after this. */
	SIM_DIAL_US = 100 * SIM_MS,
	SIM_DIAL_SPREAD_US = 900 * SIM_MS,
	SIM_SIGN_US = 200, /* consensusd signs */

	/* With the network as it should be, and no fault for so long, all must be well: see check.h. */
	SIM_SETTLE_US = 10 * SIM_SECOND,
	/* Events between checks of everything: so many, and so many for each pair of nodes. */
	SIM_CHECK_EVERY = 200 * 1000,
	SIM_CHECK_PAIR = 20,
};

/* What can go wrong: letters of -f. */
enum sim_fault {
	FAULT_LOSS = 1u << 0,      /* frames vanish or come twice */
	FAULT_DELAY = 1u << 1,     /* frames are late, by an amount that varies */
	FAULT_ONEWAY = 1u << 2,    /* a link carries frames one way only */
	FAULT_CUT = 1u << 3,       /* a link is silent, or is reset */
	FAULT_PARTITION = 1u << 4, /* the links between two parts are silent */
	FAULT_CRASH = 1u << 5,     /* a node dies and starts again with nothing but its incarnation */
	FAULT_RESTART = 1u << 6,   /* routerd alone does: links and FIB stay */
	FAULT_SLOW = 1u << 7,      /* routerd takes its time for each frame, or hangs */
	FAULT_SKEW = 1u << 8,      /* clocks run fast or slow by up to 2 % */
	FAULT_ALL = (1u << 9) - 1,
};

/* One link, between nodes a < b. */
struct sim_link {
	uint32_t a, b;
	uint32_t latency_us; /* one way */
	bool pass[2];        /* do frames from a to b, from b to a, get through? */
	bool told[2];        /* does transportd at a, at b, have the link? */
	bool dialling;
	uint64_t session;   /* of the connection that is or was last up: changes with each */
	int64_t last_at[2]; /* frames arrive in the order in which they were sent */
	uint64_t use;       /* paths that lead over it, in all nodes' FIBs */
	bool broken;        /* as net_broken() last found it */
};

struct sim_node {
	struct sim *sim;
	uint32_t index;
	uint32_t first_link, link_count; /* in sim->node_links */
	struct router *router;           /* NULL: routerd is down */
	bool up;                         /* the machine is */
	uint32_t life;                   /* raised when routerd goes */
	uint64_t incarnation;
	int64_t clock_offset_us, clock_ppm;
	int64_t wake_at;             /* the SIM_WAKE that counts */
	int64_t busy_until, cost_us; /* processor: what the turn at hand costs */
	int64_t slow_us;             /* each event costs so much more */
	struct sim_event *inbox;     /* what waits for the next turn */
	size_t inbox_count, inbox_cap;
	bool fib_opening;
	uint32_t route_count;
	struct sim_route **fib, **fib_next; /* by destination */
	uint8_t *states;                    /* enum node_state that the core told, by node */
};

struct sim_counters {
	uint64_t events, frames, bytes, frames_lost, verified;
	uint64_t data_sent, data_delivered, data_lost, data_no_route, data_ttl, data_repaired, data_again;
	uint64_t data_hops;
	uint64_t down_true, down_false; /* ROUTER_NODE_DOWN of nodes that were, were not, out of reach */
	uint64_t faults, checks;
};

/* Times in us, to be sorted. */
struct samples {
	int64_t *us;
	size_t count, cap;
};

struct sim {
	uint32_t node_count, link_count;
	uint64_t seed, hash;
	unsigned faults;
	bool verbose;
	int64_t now;
	struct queue queue;
	struct rng rng;       /* of the network */
	struct rng fault_rng; /* of what goes wrong: the same with another core */
	struct router_conf conf;
	struct sim_node *nodes;
	struct sim_link *links;
	uint32_t *node_links; /* indexes of links, for each node */
	uint32_t loss_ppm, duplicate_ppm, delay_us;
	int64_t traffic_us; /* a data frame is sent each so many; 0: none */

	/* Who can reach whom over links that work: found anew when asked after a change. */
	bool parts_known;
	uint32_t *part;      /* by node; a dead node is alone */
	uint32_t *part_size; /* by part */
	uint64_t pairs;      /* ordered pairs of live nodes that can reach each other */
	int64_t disturbed;   /* when the network last changed, or something was last wrong with it */
	uint64_t routes;     /* destinations in all live nodes' FIBs */
	uint64_t stale;      /* paths over links that don't work, summed over the links */

	/* Set when a measurement wants to know: when sim_converged() first holds. */
	bool watching;
	int64_t converged_at;
	/* Set likewise: when each node tells that this one is down. */
	uint32_t watched_node;
	bool watching_node;
	struct samples *noticed;
	struct sim_counters n;
	uint64_t check_every;
	uint64_t check_at; /* number of the event after which all is checked */
};

struct sim *sim_new(uint32_t nodes, uint64_t seed, unsigned faults, bool verbose);
void sim_free(struct sim *s);
/* Lets time pass. */
void sim_run(struct sim *s, int64_t us);
/* Lets time pass until sim_converged(), at most us; true if it did. */
bool sim_run_until_converged(struct sim *s, int64_t us);
/* Does every node have routes to all that it can reach, over links that work and no others? */
bool sim_converged(struct sim *s);

/* Ids of nodes are spread over all numbers, so that their order is not that of indexes. */
#define SIM_ID_FACTOR 0x9e3779b97f4a7c15u
#define SIM_ID_INVERSE 0xf1de83e19937733du
static inline uint64_t
sim_id(uint32_t index)
{
	return (index + UINT64_C(1)) * SIM_ID_FACTOR;
}

static inline uint32_t
sim_index(uint64_t id)
{
	return (uint32_t)(id * SIM_ID_INVERSE - 1);
}

/* Adds to the hash of all that happened. */
static inline void
sim_trace(struct sim *s, uint32_t node, unsigned kind, uint64_t a, uint64_t b)
{
	uint64_t h = s->hash ^ (uint64_t)s->now;

	h = (h ^ ((uint64_t)node << 32 | kind)) * 0xff51afd7ed558ccdu;
	h = ((h ^ h >> 29) + a) * 0xc4ceb9fe1a85ec53u;
	h = ((h ^ h >> 32) + b) * 0xff51afd7ed558ccdu;
	s->hash = h ^ h >> 31;
}

uint64_t sim_mix(uint64_t h, const void *data, size_t len);
/* An invariant is broken: says which, when, and how to see it again; ends the program. */
void sim_fail(const struct sim *s, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* With -v: what goes on. */
void sim_say(const struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void samples_add(struct samples *v, int64_t us);
/* permille 500: the median; 1000: the worst.  0 if there are none. */
int64_t samples_at(struct samples *v, unsigned permille);
void samples_fini(struct samples *v);

#endif
