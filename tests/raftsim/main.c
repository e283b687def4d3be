#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/raftsim/world.h"

static const char usage[] =
    "usage: raftsim [-n VOTERS] [-s SEED] [-c SEEDS] [-t SECONDS] [-1] [-q] [-v]\n"
    "\n"
    "Simulates groups of the shipped Raft core in virtual time, and checks after each step that what must\n"
    "hold does.  Messages are lost, doubled, late, go one way only; hosts crash between any two steps that\n"
    "belong together, lose what was not synced, or everything, stand still, have slow disks, clocks that\n"
    "drift and too little memory; leadership is handed over, members change.\n"
    "  -n  so many voters in the beginning; otherwise 1 to 9, by the seed\n"
    "  -s  the first seed, of -c seeds\n"
    "  -t  virtual seconds of faults in each run, before all is well again: 60\n"
    "  -1  each seed once; otherwise twice, and both runs must do the same\n"
    "  -q  prints the sum only\n"
    "  -v  tells what happens\n"
    "A failure names its seed: -1 -v -c 1 -s SEED, with the same -n and -t, shows what led to it.\n";

struct options {
	unsigned voters;
	uint64_t seed, count;
	int64_t seconds;
	bool once, quiet, verbose;
};

struct sums {
	uint64_t events, messages, crashes, lost, elections, changes, snapshots, restores, writes, reads;
	uint64_t crashes_at[POINTS];
	double hours;
};

enum { MANY = 100 }; /* seeds in which everything happens that may */

static unsigned
voters_of(const struct options *o, uint64_t seed)
{
	/* What people use more often; in groups of one and two, memberships change in other ways. */
	static const unsigned voters[] = {3, 1, 5, 2, 3, 4, 7, 3, 9, 5, 2};

	return o->voters != 0 ? o->voters : voters[seed % (sizeof(voters) / sizeof(voters[0]))];
}

static void
add(struct sums *sum, const struct world *w)
{
	sum->events += w->events;
	sum->messages += w->messages;
	sum->crashes += w->crashes;
	sum->lost += w->lost_states;
	sum->elections += w->elections;
	sum->changes += w->changes;
	sum->snapshots += w->snapshots;
	sum->restores += w->restores;
	sum->writes += w->writes;
	sum->reads += w->reads;
	for (int p = 0; p < POINTS; p++)
		sum->crashes_at[p] += w->crashes_at[p];
	sum->hours += (double)w->now / WORLD_SECOND / 3600;
}

static uint64_t
run_once(const struct options *o, uint64_t seed, struct sums *sum)
{
	struct world *w = world_new(seed, voters_of(o, seed), o->verbose);
	uint64_t hash;

	w->events_before = sum->events;
	world_run(w, o->seconds * WORLD_SECOND);
	fault_end(w);
	world_run(w, w->now + 20 * (int64_t)WORLD_SECOND);
	check_end(w);
	hash = w->hash;
	add(sum, w);
	world_free(w);
	return hash;
}

static void
print(const struct options *o, const struct sums *s, double seconds)
{
	printf(
	    "raftsim: %llu seeds, %.1f simulated hours, %llu steps, %llu messages, %llu leaders elected, "
	    "%llu changes of members, %llu snapshots, %llu of them sent, %llu writes, %llu reads, %.1f s\n",
	    (unsigned long long)o->count, s->hours, (unsigned long long)s->events,
	    (unsigned long long)s->messages, (unsigned long long)s->elections, (unsigned long long)s->changes,
	    (unsigned long long)s->snapshots, (unsigned long long)s->restores, (unsigned long long)s->writes,
	    (unsigned long long)s->reads, seconds);
	printf("raftsim: %llu crashes, %llu with all state lost; aimed at", (unsigned long long)s->crashes,
	    (unsigned long long)s->lost);
	for (int p = 0; p < POINTS; p++)
		printf("%s %s: %llu", p != 0 ? "," : "", world_point_name(p),
		    (unsigned long long)s->crashes_at[p]);
	printf("\n");
}

/* A fault that never happens proves nothing. */
static void
check_sums(const struct options *o, const struct sums *s)
{
	bool all = s->elections != 0 && s->changes != 0 && s->restores != 0 && s->lost != 0;

	for (int p = 0; p < POINTS; p++)
		all = all && s->crashes_at[p] != 0;
	if (all || o->count < MANY)
		return;
	fprintf(stderr, "raftsim: FAILED: something that should go wrong in so many seeds did not\n");
	exit(1);
}

static void
run_all(const struct options *o)
{
	struct sums sum = {0};
	clock_t began = clock();

	for (uint64_t seed = o->seed; seed < o->seed + o->count; seed++) {
		uint64_t hash = run_once(o, seed, &sum);

		if (!o->once && run_once(o, seed, &sum) != hash) {
			fprintf(stderr, "raftsim: FAILED: seed %llu: two runs differ\n",
			    (unsigned long long)seed);
			exit(1);
		}
		if (!o->quiet)
			printf("raftsim: seed %llu: %016llx\n", (unsigned long long)seed,
			    (unsigned long long)hash);
	}
	print(o, &sum, (double)(clock() - began) / CLOCKS_PER_SEC);
	check_sums(o, &sum);
}

int
main(int argc, char **argv)
{
	struct options o = {.seed = 1, .count = 20, .seconds = 60};
	int c;

	while ((c = getopt(argc, argv, "n:s:c:t:1qvh")) != -1) {
		switch (c) {
		case 'n':
			o.voters = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 's':
			o.seed = strtoull(optarg, NULL, 10);
			break;
		case 'c':
			o.count = strtoull(optarg, NULL, 10);
			break;
		case 't':
			o.seconds = strtoll(optarg, NULL, 10);
			break;
		case '1':
			o.once = true;
			break;
		case 'q':
			o.quiet = true;
			break;
		case 'v':
			o.verbose = true;
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (o.voters > HOSTS_MAX - 2 || optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	run_all(&o);
	return 0;
}
