#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/fault.h"
#include "tests/sim/node.h"
#include "tests/sim/sim.h"

int
main(int argc, char **argv)
{
	uint32_t nodes = argc > 1 ? (uint32_t)atoi(argv[1]) : 10;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	bool v = argc > 3;
	for (int i = 0; i < 2; i++) {
	struct sim *s = sim_new(nodes, seed, FAULT_ALL, v);
	clock_t t = clock();
	node_start_all(s);
	bool ok = sim_run_until_converged(s, 60LL * SIM_SECOND);
	printf("converged %d at %lld events %llu cpu %.2f\n", ok, (long long)s->now, (unsigned long long)s->n.events, (double)(clock()-t)/CLOCKS_PER_SEC);
	fault_rounds(s, 60LL * SIM_SECOND);
	printf("now %lld events %llu cpu %.2f hash %llx frames %llu bytes %llu faults %llu checks %llu down true %llu false %llu data sent %llu deliv %llu lost %llu noroute %llu ttl %llu rep %llu again %llu\n", (long long)s->now, (unsigned long long)s->n.events, (double)(clock()-t)/CLOCKS_PER_SEC,
	(unsigned long long)s->hash, (unsigned long long)s->n.frames, (unsigned long long)s->n.bytes, (unsigned long long)s->n.faults, (unsigned long long)s->n.checks,
	(unsigned long long)s->n.down_true, (unsigned long long)s->n.down_false,
	(unsigned long long)s->n.data_sent, (unsigned long long)s->n.data_delivered, (unsigned long long)s->n.data_lost, (unsigned long long)s->n.data_no_route, (unsigned long long)s->n.data_ttl, (unsigned long long)s->n.data_repaired, (unsigned long long)s->n.data_again);
	sim_free(s);
	}
}
