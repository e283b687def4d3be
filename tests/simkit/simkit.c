/* simkit: see simkit.h. */
#include "tests/simkit/simkit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { COUNT = 20 }; /* seeds */

/* --- the program --- */

static void
print_usage(const struct simkit *k, FILE *to)
{
	fprintf(to, "usage: %s [-n %s] [-s SEED] [-c SEEDS] [-t SECONDS] [-1] [-q] [-v]\n\n%s", k->name,
	    k->n_name, k->usage);
	fprintf(to,
	    "  -s  the first seed, of -c seeds\n"
	    "  -t  virtual seconds of faults in each run, before all is well again: %lld\n"
	    "  -1  each seed once; otherwise twice, and both runs must do the same\n"
	    "  -q  prints the sum only\n"
	    "  -v  tells what happens\n"
	    "A failure names its seed: -1 -v -c 1 -s SEED, with the same -n and -t, shows what led to it.\n",
	    (long long)k->seconds);
}

static void
run_all(const struct simkit *k, const struct simkit_options *o)
{
	clock_t began = clock();

	for (uint64_t seed = o->seed; seed < o->seed + o->count; seed++) {
		uint64_t hash = k->run(o, seed, k->sums);

		if (!o->once && k->run(o, seed, k->sums) != hash) {
			fprintf(stderr, "%s: FAILED: seed %llu: two runs differ\n", k->name,
			    (unsigned long long)seed);
			exit(1);
		}
		if (!o->quiet)
			printf("%s: seed %llu: %016llx\n", k->name, (unsigned long long)seed,
			    (unsigned long long)hash);
	}
	k->report(o, k->sums, (double)(clock() - began) / CLOCKS_PER_SEC);
}

/* False: there is no such option. */
static bool
take_option(struct simkit_options *o, int c, const char *arg)
{
	switch (c) {
	case 'n':
		o->n = (unsigned)strtoul(arg, NULL, 10);
		return true;
	case 's':
		o->seed = strtoull(arg, NULL, 10);
		return true;
	case 'c':
		o->count = strtoull(arg, NULL, 10);
		return true;
	case 't':
		o->seconds = strtoll(arg, NULL, 10);
		return true;
	case '1':
		o->once = true;
		return true;
	case 'q':
		o->quiet = true;
		return true;
	case 'v':
		o->verbose = true;
		return true;
	default:
		return false;
	}
}

int
simkit_main(const struct simkit *k, int argc, char **argv)
{
	struct simkit_options o = {.seed = 1, .count = COUNT, .seconds = k->seconds};
	int c;

	while ((c = getopt(argc, argv, "n:s:c:t:1qvh")) != -1) {
		if (take_option(&o, c, optarg))
			continue;
		print_usage(k, c == 'h' ? stdout : stderr);
		return c == 'h' ? 0 : 2;
	}
	if (o.n > k->n_max || optind != argc) {
		print_usage(k, stderr);
		return 2;
	}
	run_all(k, &o);
	return 0;
}

/* --- what a run tells --- */

static void __attribute__((format(printf, 4, 0)))
say(const struct simkit_at *at, FILE *to, const char *what, const char *fmt, va_list ap)
{
	fprintf(to, "%s: %sseed %llu at %.6f s, %llu steps: ", at->name, what, (unsigned long long)at->seed,
	    (double)at->now_us / SIMKIT_US_IN_S, (unsigned long long)at->steps);
	vfprintf(to, fmt, ap);
	fputc('\n', to);
}

void
simkit_fail(const struct simkit_at *at, const char *fmt, va_list ap)
{
	fflush(stdout);
	say(at, stderr, "FAILED: ", fmt, ap);
	exit(1);
}

void
simkit_tell(const struct simkit_at *at, const char *fmt, va_list ap)
{
	say(at, stdout, "", fmt, ap);
}

uint64_t
simkit_note(uint64_t hash, uint64_t what, int64_t now_us)
{
	return (hash ^ what ^ (uint64_t)now_us) * 0x100000001b3u;
}
