/*
 * measure: figures of a network of one size: how long things take until every node has routes to all
 * that it can reach, and no others; who notices what; what it costs.
 */
#ifndef TESTS_SIM_MEASURE_H
#define TESTS_SIM_MEASURE_H

#include "tests/sim/sim.h"

enum { MEASURE_CONVERGED_US = 60 * SIM_SECOND }; /* longer is a failure */

/* What happened to the network; us from then until it had converged. */
enum measure_what {
	MEASURE_LINK_SILENT, /* one link passes nothing any more */
	MEASURE_LINK_RESET,  /* one link was closed */
	MEASURE_CRASH,       /* a machine lost its power */
	MEASURE_START,       /* it starts again, knowing nothing */
	MEASURE_DIVIDE,      /* a quarter of the nodes was cut off */
	MEASURE_HEAL,        /* and can be reached again */
	MEASURE_COUNT,
};
const char *measure_name(enum measure_what what);

struct figures {
	uint32_t nodes, links;
	uint64_t seed, hash;
	int64_t first_us;               /* from the start of all until it had converged */
	double idle_bytes, idle_frames; /* that a node sends in a second, when nothing happens */
	struct samples converged[MEASURE_COUNT];
	struct samples noticed; /* from the crash of a node until one other tells that it is down */
	uint64_t notices_due;   /* how many others there were, in all crashes */
	uint64_t down_false;    /* times that a node was said to be down and could be reached */
	uint64_t events;
	double cpu_seconds;
	size_t memory_bytes;
};

/* rounds of each of the above. */
void measure(struct figures *out, uint32_t nodes, uint64_t seed, unsigned rounds, bool verbose);
void figures_fini(struct figures *f);

#endif
