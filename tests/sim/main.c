#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/fault.h"
#include "tests/sim/measure.h"
#include "tests/sim/node.h"
#include "tests/sim/report.h"
#include "tests/sim/warm.h"

static const char usage[] =
    "usage: sim [-n NODES] [-r NODES] [-i SECONDS] [-s SEED] [-c SEEDS] [-t SECONDS] [-f FAULTS] [-v]\n"
    "       sim -m [-g] [-n NODES] [-r NODES] [-i SECONDS] [-s SEED] [-c ROUNDS] [-1] [-j] [-v]\n"
    "       sim -q\n"
    "\n"
    "Simulates networks of the shipped routing core in virtual time, and checks that what must hold does.\n"
    "Without options: random faults in networks of several sizes, then figures.\n"
    "  -n  so many nodes; random faults only.  Above 200, part of it is sampled: see -r\n"
    "  -s  seed; with -c so many seeds from there on.  Each runs twice, and must do the same both times\n"
    "  -t  seconds of faults, in virtual time: 60, above 200 nodes 30\n"
    "  -f  what goes wrong: all, none, or letters: l frames lost or doubled, d delayed, o links that pass\n"
    "      frames one way only, x links cut or reset, p partitions, c crashes, r restarts of routerd with\n"
    "      lost state, s slow or hanging routerds, k clocks that run fast or slow\n"
    "  -i  lsa-refresh, in seconds: 1800 as in mesh.conf, but 60 for faults in up to 200 nodes, so that\n"
    "      ages count there, too\n"
    "  -m  figures only, of networks of several sizes, or of -n nodes; with -j as JSON\n"
    "  -r  at so many nodes, drawn from the seed, paths are computed; at the others it is only found out\n"
    "      whom they can reach.  If they are not all, the network starts as it is after a long time.\n"
    "      Without this: all of them, 32 above 200 nodes; alternatives to best paths: all, 8 above 200\n"
    "      nodes, none above 2000.  There, 256 databases are looked at in each check of everything\n"
    "  -1  once, not twice\n"
    "  -g  of membership alone, without link state to help it\n"
    "  -q  a few short runs, as make check has them\n"
    "  -v  tells what happens\n";

enum { SAMPLED = 200, LARGE = 2000 }; /* more nodes: see sim_shape() */
enum { REFRESH_S = 1800 };            /* as in mesh.conf */

struct options {
	uint32_t nodes, routes, refresh_s;
	uint64_t seed;
	unsigned count; /* of seeds, of rounds */
	int64_t seconds;
	unsigned faults;
	bool measure, once, gossip_only, json, quick, verbose;
};

struct outcome {
	uint64_t hash;
	struct sim_counters n;
	double cpu_seconds;
};

/* Large networks don't take memory that others need. */
static void
need_memory(uint32_t nodes)
{
	double need = (double)SIM_PAIR_BYTES * nodes * nodes / (1 << 20);
	unsigned long long kib = 0;
	char line[128];
	FILE *f;

	if (nodes <= LARGE || (f = fopen("/proc/meminfo", "re")) == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL && sscanf(line, "MemAvailable: %llu", &kib) != 1)
		;
	fclose(f);
	if ((double)kib / 1024 >= need)
		return;
	fprintf(stderr, "sim: %u nodes take some %.0f MiB of memory; %llu are available\n", nodes, need,
	    kib / 1024);
	exit(2);
}

static struct sim_shape
shape_of(const struct options *o, uint32_t nodes, bool gossip_only)
{
	struct sim_shape shape = sim_shape(nodes, gossip_only);

	if (o->routes != 0 && o->routes < shape.nodes)
		shape.routes = o->routes;
	if (o->refresh_s != 0)
		shape.refresh_s = o->refresh_s;
	if (shape.alternatives > shape.routes)
		shape.alternatives = shape.routes;
	return shape;
}

static struct outcome
run_once(const struct options *o, uint32_t nodes, uint64_t seed)
{
	clock_t began = clock();
	struct sim_shape shape = shape_of(o, nodes, false);
	struct sim *s = sim_new(&shape, seed, o->faults, o->verbose);
	int64_t seconds = o->seconds != 0 ? o->seconds : nodes > SAMPLED ? 30 : 60;
	struct outcome out;

	s->progress = !o->verbose && s->sampled;
	if (s->sampled)
		warm_start(s);
	else
		node_start_all(s);
	if (!sim_run_until_converged(s, MEASURE_CONVERGED_US))
		sim_fail(s, "not converged after the start");
	fault_rounds(s, seconds * SIM_SECOND);
	sim_progress_end(s);
	out = (struct outcome){s->hash, s->n, (double)(clock() - began) / CLOCKS_PER_SEC};
	sim_free(s);
	return out;
}

static void
run_faults(const struct options *o, uint32_t nodes, unsigned seeds)
{
	need_memory(nodes);
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

/* As large networks are: it starts as it is after a long time, and some compute paths. */
static void
run_sampled(const struct options *o, uint32_t nodes)
{
	struct options some = *o;

	some.routes = 8;
	some.refresh_s = REFRESH_S;
	run_faults(&some, nodes, 1);
}

/* What is measured without -n. */
static const struct size {
	uint32_t nodes;
	bool gossip_only;
	unsigned rounds;
} sizes[] = {{10, false, 50}, {100, false, 20}, {1000, false, 2}, {50, true, 20}, {1000, true, 3}};

enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static void
run_figures(const struct options *o)
{
	struct size one = {o->nodes, o->gossip_only, o->nodes > LARGE ? 1 : 10};
	const struct size *list = o->nodes != 0 ? &one : sizes;
	size_t count = o->nodes != 0 ? 1 : SIZES;
	struct figures f[SIZES];

	for (size_t i = 0; i < count; i++) {
		struct sim_shape shape = shape_of(o, list[i].nodes, list[i].gossip_only);

		if (o->refresh_s == 0)
			shape.refresh_s = REFRESH_S;
		need_memory(list[i].nodes);
		measure(
		    &f[i], &shape, o->seed, o->count != 0 ? o->count : list[i].rounds, !o->once, o->verbose);
	}
	if (o->json)
		report_json(f, count);
	else
		report_table(f, count);
	for (size_t i = 0; i < count; i++)
		figures_fini(&f[i]);
}

static int
parse(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt(argc, argv, "n:r:s:c:i:t:f:m1gjqv")) != -1) {
		switch (c) {
		case 'n':
			o->nodes = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'r':
			o->routes = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'i':
			o->refresh_s = (uint32_t)strtoul(optarg, NULL, 10);
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
		case '1':
			o->once = true;
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
	struct options o = {.seed = 1, .faults = FAULT_ALL};

	if (parse(argc, argv, &o) != 0) {
		fputs(usage, stderr);
		return 2;
	}
	/* Tables of members and databases grow: in place, and without leaving holes. */
	mallopt(M_MMAP_THRESHOLD, 64 * 1024);
	if (o.measure) {
		run_figures(&o);
	} else if (o.nodes != 0) {
		run_faults(&o, o.nodes, o.count != 0 ? o.count : 1);
	} else {
		run_faults(&o, 3, o.quick ? 5 : 20);
		run_faults(&o, 10, o.quick ? 10 : 40);
		run_faults(&o, 50, o.quick ? 4 : 8);
		run_sampled(&o, 60);
		if (!o.quick) {
			run_faults(&o, 200, 1);
			run_faults(&o, 1000, 1);
			run_figures(&o);
		}
	}
	return 0;
}
