#include <stddef.h>
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
    "much or too old, some discard all, some have messages that fail at their application.  Of a third of\n"
    "the seeds the targets come and go while messages flow, and with them the group and its members.\n"
    "In seeds that are even the shipped routers of all nodes and of some relays say where frames go; links\n"
    "and relays fail, routers begin again, hang or have clocks that are wrong, and in half of these seeds "
    "what\n"
    "failed last does so for ever.  In others ways are modelled.\n"
    "  -n  so many targets, 1 to 3; otherwise by the seed\n";

enum { CALM_SECONDS = 120, RARE = 20 };

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

/* What is printed of the sums. */
static const struct {
	const char *name;
	size_t at;
} list[] = {
    {"steps", offsetof(struct sums, events)},
    {"frames", offsetof(struct sums, frames)},
    {"lost", offsetof(struct sums, lost)},
    {"messages", offsetof(struct sums, messages)},
    {"published again", offsetof(struct sums, repeated)},
    {"batches described", offsetof(struct sums, batches)},
    {"entries", offsetof(struct sums, entries)},
    {"waits for a description", offsetof(struct sums, waits)},
    {"crashes", offsetof(struct sums, crashes)},
    {"of applications", offsetof(struct sums, app_crashes)},
    {"of relays", offsetof(struct sums, relay_crashes)},
    {"terms", offsetof(struct sums, terms)},
    {"handed over", offsetof(struct sums, transfers)},
    {"snapshots", offsetof(struct sums, snapshots)},
    {"restored", offsetof(struct sums, restores)},
    {"epochs", offsetof(struct sums, epochs)},
    {"read back", offsetof(struct sums, reads)},
    {"sent again", offsetof(struct sums, resent)},
    {"short of memory", offsetof(struct sums, short_memory)},
    {"closed", offsetof(struct sums, closed)},
    {"given up", offsetof(struct sums, given_up)},
    {"gaps at targets", offsetof(struct sums, gaps)},
    {"publishers told that it is lost", offsetof(struct sums, told_lost)},
    {"asked again", offsetof(struct sums, asked_again)},
    {"not said yet", offsetof(struct sums, unsaid)},
    {"not known any more", offsetof(struct sums, unknown)},
    {"applied", offsetof(struct sums, applied)},
    {"discarded", offsetof(struct sums, discarded)},
    {"failed", offsetof(struct sums, nacks)},
    {"dead letters", offsetof(struct sums, letters)},
    {"waits for room for them", offsetof(struct sums, kept_out)},
    {"nodes that lost all", offsetof(struct sums, lost_disks)},
    {"replicas replaced", offsetof(struct sums, replaced)},
    {"targets refused", offsetof(struct sums, refusals)},
    {"delivered early", offsetof(struct sums, early)},
    {"rows spared", offsetof(struct sums, spared)},
    {"resumed beyond the tables", offsetof(struct sums, resumed)},
    {"targets added", offsetof(struct sums, added)},
    {"removed", offsetof(struct sums, removed)},
    {"added again", offsetof(struct sums, added_again)},
    {"before they had heard of it", offsetof(struct sums, unheard)},
    {"changes refused", offsetof(struct sums, changes_refused)},
    {"lost in a crash", offsetof(struct sums, changes_lost)},
    {"targets left", offsetof(struct sums, left)},
    {"began anew", offsetof(struct sums, anew)},
    {"had nothing to leave", offsetof(struct sums, not_here)},
    {"took a newer statement", offsetof(struct sums, adopted)},
    {"groups begun", offsetof(struct sums, groups_begun)},
    {"found again", offsetof(struct sums, groups_again)},
    {"members added", offsetof(struct sums, members_added)},
    {"made voters", offsetof(struct sums, voters)},
    {"let go", offsetof(struct sums, members_let_go)},
    {"replicas forgotten", offsetof(struct sums, groups_dropped)},
    {"begun in the place of lost ones", offsetof(struct sums, renewed)},
    {"begun again", offsetof(struct sums, begun_again)},
    {"incomplete and dropped", offsetof(struct sums, incomplete)},
    {"frames routed", offsetof(struct sums, routed)},
    {"over relays", offsetof(struct sums, relayed)},
    {"hops", offsetof(struct sums, hops)},
    {"without a route", offsetof(struct sums, no_route)},
    {"repaired by relays", offsetof(struct sums, repaired)},
    {"told by them", offsetof(struct sums, notices)},
    {"paths left", offsetof(struct sums, rerouted)},
    {"faults of the network", offsetof(struct sums, route_faults)},
    {"its steps", offsetof(struct sums, route_events)},
    {"frames of routers", offsetof(struct sums, link_states)},
    {"of members", offsetof(struct sums, gossip)},
    {"publishers told that it failed", offsetof(struct sums, told_failed)},
    {"waits for a quorum with dead letters", offsetof(struct sums, parked)},
    {"told before that was decided", offsetof(struct sums, undecided)},
    {"dead letters read for the source", offsetof(struct sums, letters_read)},
};

/* Not in each SIMKIT_MANY seeds, but in RARE times as many. */
static bool
is_rare(size_t i)
{
	static const size_t rare[] = {offsetof(struct sums, renewed), offsetof(struct sums, begun_again),
	    offsetof(struct sums, undecided)};

	for (size_t k = 0; k < sizeof(rare) / sizeof(rare[0]); k++)
		if (list[i].at == rare[k])
			return true;
	return false;
}

static uint64_t
value_of(const struct sums *s, size_t i)
{
	return *(const uint64_t *)(const void *)((const char *)s + list[i].at);
}

static void
report(const struct simkit_options *o, const void *sums, double seconds)
{
	const struct all *all = sums;
	const struct sums *s = &all->sums;
	printf("streamsim: %llu seeds from %llu:", (unsigned long long)o->count, (unsigned long long)o->seed);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		printf("%s %s: %llu", i != 0 ? "," : "", list[i].name, (unsigned long long)value_of(s, i));
	printf("; all done %.1f s after the last fault at the latest; %.1f s\n",
	    (double)all->longest / WORLD_SECOND, seconds);
	/* What never happens proves nothing. */
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (o->count < SIMKIT_MANY * (is_rare(i) ? RARE : 1) || value_of(s, i) != 0)
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
