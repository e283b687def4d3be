#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/streamsim/world.h"

static const char usage[] =
    "usage: streamsim [-n TARGETS] [-s SEED] [-c SEEDS] [-t SECONDS] [-1] [-q] [-v]\n"
    "\n"
    "Simulates a stream from its source to its targets with the group that fixes its order, from the "
    "shipped\n"
    "cores in virtual time, and checks after each step that what must hold does.  Frames are lost, doubled, "
    "late\n"
    "and take several ways; nodes crash and lose what was not committed, commit slowly and have too little\n"
    "memory, and one comes back with nothing; relays and applications fail; leadership wanders; publishers\n"
    "repeat what was not answered, and what was.  Streams have policies: some give up what is too much or "
    "too\n"
    "old, some discard all, some have messages that fail at their application.\n"
    "  -n  so many targets, 1 to 3; otherwise by the seed\n"
    "  -s  the first seed, of -c seeds\n"
    "  -t  virtual seconds of faults in each run, before all is well again: 20\n"
    "  -1  each seed once; otherwise twice, and both runs must do the same\n"
    "  -q  prints the sum only\n"
    "  -v  tells what happens\n"
    "A failure names its seed: -1 -v -c 1 -s SEED, with the same -n and -t, shows what led to it.\n";

enum { CALM_SECONDS = 120, MANY = 100 };

struct options {
	unsigned targets;
	uint64_t seed, count;
	int64_t seconds;
	bool once, quiet, verbose;
};

static uint64_t
run_once(const struct options *o, uint64_t seed, struct sums *sum, int64_t *longest)
{
	unsigned targets = o->targets != 0 ? o->targets : 1 + (unsigned)(seed % ROWS_TARGETS_MAX);
	struct world *w = world_new(seed, targets, o->verbose);
	uint64_t hash;

	world_run(w, o->seconds * WORLD_SECOND, false);
	fault_end(w);
	world_run(w, (o->seconds + CALM_SECONDS) * WORLD_SECOND, true);
	check_end(w);
	if (w->now - o->seconds * WORLD_SECOND > *longest)
		*longest = w->now - o->seconds * WORLD_SECOND;
	hash = w->hash;
	world_free(w, sum);
	return hash;
}

static void
print(const struct options *o, const struct sums *s, int64_t longest, double seconds)
{
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
	};

	printf("streamsim: %llu seeds from %llu:", (unsigned long long)o->count, (unsigned long long)o->seed);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		printf("%s %s: %llu", i != 0 ? "," : "", list[i].name, (unsigned long long)list[i].value);
	printf("; all done %.1f s after the last fault at the latest; %.1f s\n",
	    (double)longest / WORLD_SECOND, seconds);
	/* What never happens proves nothing. */
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (o->count < MANY || list[i].value != 0)
			continue;
		fprintf(
		    stderr, "streamsim: FAILED: in so many seeds there was nothing of: %s\n", list[i].name);
		exit(1);
	}
}

static void
run_all(const struct options *o)
{
	struct sums sum = {0};
	int64_t longest = 0;
	clock_t began = clock();

	for (uint64_t seed = o->seed; seed < o->seed + o->count; seed++) {
		uint64_t hash = run_once(o, seed, &sum, &longest);

		if (!o->once && run_once(o, seed, &sum, &longest) != hash) {
			fprintf(stderr, "streamsim: FAILED: seed %llu: two runs differ\n",
			    (unsigned long long)seed);
			exit(1);
		}
		if (!o->quiet)
			printf("streamsim: seed %llu: %016llx\n", (unsigned long long)seed,
			    (unsigned long long)hash);
	}
	print(o, &sum, longest, (double)(clock() - began) / CLOCKS_PER_SEC);
}

int
main(int argc, char **argv)
{
	struct options o = {.seed = 1, .count = 20, .seconds = 20};
	int c;

	while ((c = getopt(argc, argv, "n:s:c:t:1qvh")) != -1) {
		switch (c) {
		case 'n':
			o.targets = (unsigned)strtoul(optarg, NULL, 10);
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
	if (o.targets > ROWS_TARGETS_MAX || optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	run_all(&o);
	return 0;
}
