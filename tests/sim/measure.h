/*
 * measure: figures of a network of one size: how long things take until every node has routes to all
 * that it can reach, and no others; who notices what; what it costs.
 */
#ifndef TESTS_SIM_MEASURE_H
#define TESTS_SIM_MEASURE_H

#include "tests/sim/sim.h"

enum {
	MEASURE_CONVERGED_US = 60 * SIM_SECOND, /* longer is a failure */
	MEASURE_DEAD_US = 300 * SIM_SECOND,     /* likewise, until all have a dead node for dead */
	MEASURE_HANG_US = 10 * SIM_SECOND,      /* for so long a routerd does nothing; membership alone: */
	MEASURE_HANG_GOSSIP_US = 5 * SIM_SECOND,
};

/* What happened to the network; us from then until it had converged. */
enum measure_what {
	MEASURE_LINK_SILENT, /* one link passes nothing any more */
	MEASURE_LINK_RESET,  /* one link was closed */
	MEASURE_CRASH,       /* a machine lost its power */
	MEASURE_START,       /* it starts again, knowing nothing */
	MEASURE_DIVIDE,      /* a part of the nodes was cut off: see sim_shape.part */
	MEASURE_HEAL,        /* and can be reached again */
	MEASURE_CONVERGED,   /* so many of them */
	/* A machine lost its power: us until each other node told that it is down, by link state; that it
	 * is dead, by membership; until all of them had told that. */
	MEASURE_NOTICED = MEASURE_CONVERGED,
	MEASURE_CONFIRMED,
	MEASURE_CONFIRMED_ALL,
	/* A routerd hangs: us until the first other one suspects it; from its end until none does. */
	MEASURE_SUSPECTED,
	MEASURE_REFUTED,
	/* A routerd was killed and started again: us until it knew whom it can reach. */
	MEASURE_RESTART,
	MEASURE_COUNT,
};
const char *measure_name(enum measure_what what);

struct figures {
	uint32_t links;
	uint64_t seed, hash;
	struct sim_shape shape;
	int64_t first_us;   /* from the start of all until it had converged; negative: it started warm */
	int64_t silence_us; /* after that, until no member had anything left to gossip */
	int64_t idle_us;    /* for so long nothing happened */
	/* That a node sends in a second of that: link state; gossip of its own; gossip that it sends or
	 * passes on. */
	double idle_bytes, idle_frames, idle_gossip, idle_gossip_hops;
	struct samples times[MEASURE_COUNT];
	uint64_t notices_due; /* nodes that were to notice a crash, over all crashes */
	/* Times that a node was said to be down, suspected, said to be dead, and could be reached. */
	uint64_t down_false, suspect_false, dead_false;
	uint64_t
	    suspect_restart; /* suspected while its routerd had just started again, and listed no links */
	struct sim_counters n;
	double cpu_seconds;
	size_t memory_bytes;
};

/* rounds of each of the above; of membership alone: crashes and hangs.  twice: the hashes must be equal.
 * Where not all nodes compute paths, the network starts as it is after a long time (warm.h). */
void measure(struct figures *out, const struct sim_shape *shape, uint64_t seed, unsigned rounds, bool twice,
    bool verbose);
void figures_fini(struct figures *f);

#endif
