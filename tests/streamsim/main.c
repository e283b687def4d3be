#include <stdio.h>
#include <stdlib.h>

#include "tests/simkit/simkit.h"
#include "tests/streamsim/world.h"

static const char usage[] =
    "Simulates a stream from its source to its targets with the group that fixes its order, from the "
    "shipped\n"
    "cores in virtual time, and checks after each step that what must hold does.  Frames are lost, doubled,\n"
    "late and take several ways; nodes crash and lose what was not committed, commit slowly and have too\n"
    "little memory, and one comes back with nothing; relays and applications fail; leadership wanders;\n"
    "publishers repeat what was not answered, and what was.  Streams have policies: some give up what is "
    "too\n"
    "much or too old, some discard all, some have messages that fail at their application.\n"
    "In seeds that are even the shipped routers of all nodes and of some relays say where frames go; links\n"
    "and relays fail, routers begin again, hang or have clocks that are wrong, and in half of these seeds "
    "what\n"
    "failed last does so for ever.  In others ways are modelled.\n"
    "  -n  so many targets, 1 to 3; otherwise by the seed\n";

enum { CALM_SECONDS = 120 };

struct all {
	struct sums sums;
	int64_t longest; /* until all was done */
};

static uint64_t
run_once(const struct simkit_options *o, uint64_t seed, void *sums)
{
	struct all *all = sums;
	unsigned targets = o->n != 0 ? o->n : 1 + (unsigned)(seed % ROWS_TARGETS_MAX);
	struct world *w = world_new(seed, targets, o->verbose);
	uint64_t hash;

	world_run(w, o->seconds * WORLD_SECOND, false);
	fault_end(w);
	world_run(w, (o->seconds + CALM_SECONDS) * WORLD_SECOND, true);
	check_end(w);
	if (w->now - o->seconds * WORLD_SECOND > all->longest)
		all->longest = w->now - o->seconds * WORLD_SECOND;
	routing_end(w);
	hash = w->hash;
	world_free(w, &all->sums);
	return hash;
}

static void
report(const struct simkit_options *o, const void *sums, double seconds)
{
	const struct all *all = sums;
	const struct sums *s = &all->sums;
	struct {
		const char *name;
		uint64_t value;
	} list[] = {
	    {"steps", s->events},
	    {"frames", s->frames},
	    {"lost", s->lost},
	    {"messages", s->messages},
	    {"published again", s->repeated},
	    {"batches described", s->batches},
	    {"entries", s->entries},
	    {"waits for a description", s->waits},
	    {"crashes", s->crashes},
	    {"of applications", s->app_crashes},
	    {"of relays", s->relay_crashes},
	    {"terms", s->terms},
	    {"handed over", s->transfers},
	    {"snapshots", s->snapshots},
	    {"restored", s->restores},
	    {"epochs", s->epochs},
	    {"read back", s->reads},
	    {"sent again", s->resent},
	    {"short of memory", s->short_memory},
	    {"closed", s->closed},
	    {"given up", s->given_up},
	    {"gaps at targets", s->gaps},
	    {"publishers told that it is lost", s->told_lost},
	    {"asked again", s->asked_again},
	    {"not said yet", s->unsaid},
	    {"not known any more", s->unknown},
	    {"applied", s->applied},
	    {"discarded", s->discarded},
	    {"failed", s->nacks},
	    {"dead letters", s->letters},
	    {"waits for room for them", s->kept_out},
	    {"nodes that lost all", s->lost_disks},
	    {"replicas replaced", s->replaced},
	    {"targets refused", s->refusals},
	    {"delivered early", s->early},
	    {"rows spared", s->spared},
	    {"resumed beyond the tables", s->resumed},
	    {"incomplete and dropped", s->incomplete},
	    {"frames routed", s->routed},
	    {"over relays", s->relayed},
	    {"hops", s->hops},
	    {"without a route", s->no_route},
	    {"repaired by relays", s->repaired},
	    {"told by them", s->notices},
	    {"paths left", s->rerouted},
	    {"faults of the network", s->route_faults},
	    {"its steps", s->route_events},
	    {"frames of routers", s->link_states},
	    {"of members", s->gossip},
	};

	printf("streamsim: %llu seeds from %llu:", (unsigned long long)o->count, (unsigned long long)o->seed);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		printf("%s %s: %llu", i != 0 ? "," : "", list[i].name, (unsigned long long)list[i].value);
	printf("; all done %.1f s after the last fault at the latest; %.1f s\n",
	    (double)all->longest / WORLD_SECOND, seconds);
	/* What never happens proves nothing. */
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (o->count < SIMKIT_MANY || list[i].value != 0)
			continue;
		fprintf(
		    stderr, "streamsim: FAILED: in so many seeds there was nothing of: %s\n", list[i].name);
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	struct all all = {0};
	const struct simkit k = {"streamsim", usage, "TARGETS", ROWS_TARGETS_MAX, 20, run_once, report, &all};

	return simkit_main(&k, argc, argv);
}
