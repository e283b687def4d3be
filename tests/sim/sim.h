/*
 * sim: a network of up to ten thousand nodes in one process, in virtual time.
 *
 * A node is the shipped cores of routerd (router and membership) with models of what surrounds them:
 * consensusd (signs, with a hash that stands for a signature), transportd (which links it has, the FIB
 * it was given, how it forwards), its clock, and its processor.  Everything follows from the seed; the hash
 * over all that happened tells whether two runs were the same.  A broken invariant ends the program with the
 * command that shows it again.
 *
 * All nodes run link state (database, flooding, comparison) and membership.  Paths are dear: in large
 * networks a sample of nodes computes them and has a FIB, the others only find out who can be reached; see
 * struct sim_shape.  Memory is SIM_PAIR_BYTES for each pair of nodes: 12 GiB for 10,000.
 *
 * Files: queue (events), topo (who has links), net (links and frames), node (the models around the
 * cores), share (LSAs that many have), member (membership), route (the FIB in transportd), data
 * (forwarding), carrier (frames of another simulation), reach, way, agree (for nodes that compute no paths),
 * warm (networks as they are after a long time), fault (what goes wrong), check (invariants), measure
 * (figures), report (how they are shown), main.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "common/base/rng.h"
#include "routerd/core/router.h"
#include "tests/sim/queue.h"
#include "tests/sim/route.h"

enum {
	SIM_MS = 1000,
	SIM_SECOND = 1000 * 1000,
	SIM_NODES_MAX = 60000, /* indexes of nodes fit 16 bits in routes */
	SIM_DEGREE = 8,        /* links of a node, on average */
	SIM_PAIR_BYTES = 125,

	/* transportd: 3 heartbeats of 100 ms without an answer, at any phase of the interval. */
	SIM_SILENT_US = 300 * SIM_MS,
	SIM_SILENT_SPREAD_US = 100 * SIM_MS,
	/* transportd: a link that went down is dialled again after this. */
	SIM_DIAL_US = 100 * SIM_MS,
	SIM_DIAL_SPREAD_US = 900 * SIM_MS,
	SIM_FAR_US = 30 * SIM_MS,    /* latency of the longest links */
	SIM_START_US = 200 * SIM_MS, /* all nodes start within this time */
	SIM_SIGN_US = 200,           /* consensusd signs */
	SIM_RELAY_US = 50,           /* transportd passes a frame on */
	/* Nothing was sent to a destination for so long: transportd tells that it is not used.  Shorter than
	 * PATH_IDLE_MS there: destinations are to come and go in a run of a minute. */
	SIM_UNUSED_US = 10 * SIM_SECOND,

	/* With the network as it should be, and no fault for so long, all must be well: see check.h. */
	SIM_SETTLE_US = 10 * SIM_SECOND,
	/* A suspicion from worse times has ended after this: a push/pull each 30 s at the latest, and some.
	 */
	SIM_REFUTE_US = 45 * SIM_SECOND,
	/* Events between checks of everything: so many, and so many for each pair of nodes that is looked
	 * at. */
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

struct carrier;
struct data_use;
struct reach;
struct swim;
struct way_tree;

struct sim_shape {
	uint32_t nodes;
	/* So many of them, from the seed, compute paths and have a FIB; for the others it is found out whom
	 * they can reach.  If it is not all, gossip does not go by FIBs (way.h), and all have converged when
	 * all databases agree (agree.h) and those FIBs are right. */
	uint32_t routes;
	uint32_t alternatives; /* and of these, look for more than the best path */
	uint32_t checks;       /* databases and members of so many, others each time, are checked: check.h */
	uint32_t part;         /* no more nodes than this are cut off at once */
	uint32_t refresh_s;    /* lsa-refresh of routerd: that of mesh.conf, unless too much is flooded */
	bool gossip_only;      /* membership without routers: see member.h */
	/* The first so many are ends whose frames are carried for another simulation, which starts and ends
	 * them: carrier.h.  0: there is none. */
	uint32_t ends;
	uint32_t far_us; /* a link's latency across all of the network */
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
	uint64_t use_best;  /* likewise, of the paths that each node prefers */
	uint64_t use;       /* paths that lead over it, in all nodes' FIBs */
	bool broken;        /* as net_broken() last found it */
	bool listed[2];     /* agree.h: does a, does b, say in its LSA that it has the link? */
	uint8_t listed_wrong;
};

struct sim_node {
	struct sim *sim;
	uint32_t index;
	uint32_t first_link, link_count; /* in sim->node_links */
	bool running;                    /* routerd is */
	struct router *router;           /* NULL: it does not, or sim->gossip_only */
	struct swim *swim;
	bool met, touched;        /* it has joined a neighbour; something came for it */
	struct mono member_due;   /* swim_next(), as it was after the last step */
	uint64_t expired, deaths; /* counters of the cores when they were last looked at */
	bool up;                  /* the machine is */
	uint32_t life;            /* raised when routerd goes */
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
	struct data_use *uses;              /* data.h: destinations that its transportd sends data to */
	uint32_t use_count, use_cap;
	uint8_t *states;                       /* enum node_state that the core told, by node */
	bool computes, alternatives;           /* paths; if it does not, there is no fib */
	uint64_t topo, own_topo, reached_topo; /* agree.h */
};

struct sim_counters {
	uint64_t events, frames, bytes, frames_lost, verified;
	uint64_t data_sent, data_delivered, data_lost, data_no_route, data_ttl, data_repaired, data_again;
	uint64_t data_hops, data_used, data_unused; /* the last two: destinations of a node */
	uint64_t down_true, down_false; /* ROUTER_NODE_DOWN of nodes that were, were not, out of reach */
	uint64_t gossip_frames, gossip_bytes, gossip_lost; /* as they are sent */
	uint64_t gossip_hop_bytes;                         /* on all links together */
	uint64_t suspect_false, dead_false;                /* of nodes that could be reached */
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
	bool progress; /* is told on stderr */
	time_t progress_at;
	bool gossip_only; /* of the shape */
	bool sampled;     /* not all nodes compute paths */
	struct sim_shape shape;
	uint32_t *by_id;   /* nodes in the order of their ids */
	uint32_t *sources; /* nodes that have a FIB: data comes from these */

	struct lsa_body **shared; /* share.h: the newest LSAs, by node */
	uint32_t *noted;          /* what a node put into its database in this turn */
	size_t noted_count;

	/* sampled, gossip_only: */
	struct way_tree *ways; /* way.h: by node */
	uint32_t *way_list;
	uint32_t way_epoch, way_gone;
	/* sampled: */
	struct reach *reach;
	uint32_t disagrees;    /* agree.h: one whose database is not as others', or may be not */
	uint32_t listed_wrong; /* ends of links that don't work and are listed */

	struct carrier *carrier; /* NULL: there is none */
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
	uint64_t pairs;      /* ordered pairs of live nodes that can reach each other, the first with a FIB */
	int64_t disturbed;   /* when the network last changed, or something was last wrong with it */
	uint64_t routes;     /* destinations in all live nodes' FIBs */
	uint64_t stale_best;
	uint64_t stale; /* paths over links that don't work, summed over the links */

	/* Set when a measurement wants to know: when sim_converged() first holds. */
	bool watching;
	int64_t converged_at;
	/* Set likewise: when each node tells that this one is down. */
	uint32_t watched_node;
	bool watching_node;
	int64_t refuted_at;                              /* when one that suspected it last learned better */
	struct samples *noticed, *suspected, *confirmed; /* by link state, by membership */
	struct sim_counters n;
	uint64_t check_every;
	uint64_t check_at; /* number of the event after which all is checked */
};

/* As much of everything as there is time and memory for; of membership alone if gossip_only. */
struct sim_shape sim_shape(uint32_t nodes, bool gossip_only);
struct sim *sim_new(const struct sim_shape *shape, uint64_t seed, unsigned faults, bool verbose);
void sim_free(struct sim *s);
/* Lets time pass. */
void sim_run(struct sim *s, int64_t us);
/* The next event, when time is another simulation's. */
void sim_step(struct sim *s);
/* Lets time pass until sim_converged(), at most us; true if it did. */
bool sim_run_until_converged(struct sim *s, int64_t us);
/* Does every node (that computes paths) have routes to all that it can reach, over links that work and no
 * others?  And if not all compute them, do all databases agree? */
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

/* Now; with a carrier not before a hang that goes on is over.  (Without one it moves back then: runs of seeds
 * stay as they are.) */
static inline void
sim_disturb(struct sim *s)
{
	if (s->carrier == NULL || s->disturbed < s->now)
		s->disturbed = s->now;
}

uint64_t sim_mix(uint64_t h, const void *data, size_t len);
/* An invariant is broken: says which, when, and how to see it again; ends the program. */
void sim_fail(const struct sim *s, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* How far it is: on a terminal always, else now and then. */
void sim_progress(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_progress_end(const struct sim *s);
/* With -v: what goes on. */
void sim_say(const struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void samples_add(struct samples *v, int64_t us);
/* permille 500: the median; 1000: the worst.  0 if there are none. */
int64_t samples_at(struct samples *v, unsigned permille);
void samples_fini(struct samples *v);

#endif
