#include <stdio.h>
#include <stdlib.h>

#include "tests/raftsim/world.h"
#include "tests/simkit/simkit.h"

static const char usage[] =
    "Simulates groups of the shipped Raft core in virtual time, and checks after each step that what must\n"
    "hold does.  Messages are lost, doubled, late, go one way only; hosts crash between any two steps that\n"
    "belong together, lose what was not synced, or everything, stand still, have slow disks, clocks that\n"
    "drift and too little memory; leadership is handed over, members change.\n"
    "  -n  so many voters in the beginning; otherwise 1 to 9, by the seed\n";

struct sums {
	uint64_t events, messages, crashes, lost, elections, changes, snapshots, restores, writes, reads;
	uint64_t crashes_at[POINTS];
	double hours;
};

static unsigned
voters_of(const struct simkit_options *o, uint64_t seed)
{
	/* What people use more often; in groups of one and two, memberships change in other ways. */
	static const unsigned voters[] = {3, 1, 5, 2, 3, 4, 7, 3, 9, 5, 2};

	return o->n != 0 ? o->n : voters[seed % (sizeof(voters) / sizeof(voters[0]))];
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
run_once(const struct simkit_options *o, uint64_t seed, void *sums)
{
	struct sums *sum = sums;
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
print(const struct simkit_options *o, const struct sums *s, double seconds)
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
check_sums(const struct simkit_options *o, const struct sums *s)
{
	bool all = s->elections != 0 && s->changes != 0 && s->restores != 0 && s->lost != 0;

	for (int p = 0; p < POINTS; p++)
		all = all && s->crashes_at[p] != 0;
	if (all || o->count < SIMKIT_MANY)
		return;
	fprintf(stderr, "raftsim: FAILED: something that should go wrong in so many seeds did not\n");
	exit(1);
}

static void
report(const struct simkit_options *o, const void *sums, double seconds)
{
	print(o, sums, seconds);
	check_sums(o, sums);
}

int
main(int argc, char **argv)
{
	struct sums sums = {0};
	const struct simkit k = {"raftsim", usage, "VOTERS", HOSTS_MAX - 2, 60, run_once, report, &sums};

	return simkit_main(&k, argc, argv);
}
