#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/fault.h"
#include "tests/sim/measure.h"
#include "tests/sim/node.h"
#include "tests/sim/report.h"

static const char usage[] =
    "usage: sim [-n NODES] [-s SEED] [-c SEEDS] [-t SECONDS] [-f FAULTS] [-v]\n"
    "       sim -m [-g] [-n NODES] [-s SEED] [-c ROUNDS] [-j] [-v]\n"
    "       sim -q\n"
    "\n"
    "Simulates networks of the shipped routing core in virtual time, and checks that what must hold does.\n"
    "Without options: random faults in networks of several sizes, then figures.\n"
    "  -n  so many nodes; random faults only\n"
    "  -s  seed; with -c so many seeds from there on.  Each runs twice, and must do the same both times\n"
    "  -t  seconds of faults, in virtual time\n"
    "  -f  what goes wrong: all, none, or letters: l frames lost or doubled, d delayed, o links that pass\n"
    "      frames one way only, x links cut or reset, p partitions, c crashes, r restarts of routerd with\n"
    "      lost state, s slow or hanging routerds, k clocks that run fast or slow\n"
    "  -m  figures only, of networks of several sizes, or of -n nodes; with -j as JSON\n"
    "  -g  of membership alone, without link state to help it\n"
    "  -q  a few short runs, as make check has them\n"
    "  -v  tells what happens\n";

struct options {
	uint32_t nodes;
	uint64_t seed;
	unsigned count; /* of seeds, of rounds */
	int64_t seconds;
	unsigned faults;
	bool measure, gossip_only, json, quick, verbose;
};

struct outcome {
	uint64_t hash;
	struct sim_counters n;
	double cpu_seconds;
};

static struct outcome
run_once(const struct options *o, uint32_t nodes, uint64_t seed)
{
	clock_t began = clock();
	struct sim *s = sim_new(nodes, seed, o->faults, o->verbose);
	struct outcome out;

	node_start_all(s);
	if (!sim_run_until_converged(s, MEASURE_CONVERGED_US))
		sim_fail(s, "not converged after the start");
	fault_rounds(s, o->seconds * SIM_SECOND);
	out = (struct outcome){s->hash, s->n, (double)(clock() - began) / CLOCKS_PER_SEC};
	sim_free(s);
	return out;
}

static void
run_faults(const struct options *o, uint32_t nodes, unsigned seeds)
{
	for (uint64_t seed = o->seed; seed < o->seed + seeds; seed++) {
		struct outcome a = run_once(o, nodes, seed), b = run_once(o, nodes, seed);

		if (a.hash != b.hash) {
			printf("sim: FAILED: %u nodes, seed %llu: two runs differ\n", nodes,
			    (unsigned long long)seed);
			exit(1);
		}
		printf(
		    "sim: %5u nodes, seed %3llu: %llu faults, %llu events, %llu checks, twice %016llx; data "
		    "frames: %llu sent, %llu delivered, %llu repaired, %llu looped, %llu beyond ttl (%.1f "
		    "s)\n",
		    nodes, (unsigned long long)seed, (unsigned long long)a.n.faults,
		    (unsigned long long)a.n.events, (unsigned long long)a.n.checks,
		    (unsigned long long)a.hash, (unsigned long long)a.n.data_sent,
		    (unsigned long long)a.n.data_delivered, (unsigned long long)a.n.data_repaired,
		    (unsigned long long)a.n.data_again, (unsigned long long)a.n.data_ttl,
		    a.cpu_seconds + b.cpu_seconds);
		fflush(stdout);
	}
}

/* What is measured without -n. */
static const struct size {
	uint32_t nodes;
	bool gossip_only;
	unsigned rounds;
} sizes[] = {
    {10, false, 100}, {100, false, 40}, {1000, false, 1}, {50, true, 20}, {1000, true, 5}, {4000, true, 2}};

enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), LARGE = 1000 };

static void
say_limits(struct figures *f, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (f[i].nodes < LARGE)
			continue;
		printf(
		    "%s at %u nodes: %.0f bytes for each pair of nodes; 10000 nodes would take %.0f GiB.\n",
		    f[i].gossip_only ? "Membership alone" : "Link state, routes and membership", f[i].nodes,
		    report_memory(&f[i], 1), report_memory(&f[i], 10000) / (1 << 30));
	}
}

static void
run_figures(const struct options *o)
{
	struct size one = {o->nodes, o->gossip_only, 10};
	const struct size *list = o->nodes != 0 ? &one : sizes;
	size_t count = o->nodes != 0 ? 1 : SIZES;
	struct figures f[SIZES];

	for (size_t i = 0; i < count; i++) {
		unsigned rounds = o->count != 0 ? o->count : list[i].rounds;

		if (list[i].gossip_only)
			measure_gossip(&f[i], list[i].nodes, o->seed, rounds, o->verbose);
		else
			measure(&f[i], list[i].nodes, o->seed, rounds, o->verbose);
	}
	if (o->json) {
		report_json(f, count);
	} else {
		report_table(f, count);
		say_limits(f, count);
	}
	for (size_t i = 0; i < count; i++)
		figures_fini(&f[i]);
}

static int
parse(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt(argc, argv, "n:s:c:t:f:mgjqv")) != -1) {
		switch (c) {
		case 'n':
			o->nodes = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 's':
			o->seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			o->count = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			o->seconds = strtoll(optarg, NULL, 10);
			break;
		case 'f':
			if (!fault_parse(optarg, &o->faults))
				return -1;
			break;
		case 'm':
			o->measure = true;
			break;
		case 'g':
			o->gossip_only = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 'q':
			o->quick = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		default:
			return -1;
		}
	}
	return optind == argc && o->nodes != 1 && o->nodes <= SIM_NODES_MAX ? 0 : -1;
}

int
main(int argc, char **argv)
{
	struct options o = {.seed = 1, .seconds = 60, .faults = FAULT_ALL};

	if (parse(argc, argv, &o) != 0) {
		fputs(usage, stderr);
		return 2;
	}
	if (o.measure) {
		run_figures(&o);
	} else if (o.nodes != 0) {
		run_faults(&o, o.nodes, o.count != 0 ? o.count : 1);
	} else {
		run_faults(&o, 3, o.quick ? 5 : 20);
		run_faults(&o, 10, o.quick ? 10 : 50);
		run_faults(&o, 50, o.quick ? 4 : 10);
		if (!o.quick) {
			run_faults(&o, 200, 2);
			run_figures(&o);
		}
	}
	return 0;
}
