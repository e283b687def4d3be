/*
 * simkit: what the simulators of groups and of streams have in common: options, seeds that are run once, or
 * twice with the same result, and how a failure is told.
 */
#ifndef TESTS_SIMKIT_SIMKIT_H
#define TESTS_SIMKIT_SIMKIT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SIMKIT_MANY = 100, /* seeds in which everything happens that may */
	SIMKIT_US_IN_S = 1000000,
};

struct simkit_options {
	unsigned n; /* of whatever there are several; 0: by the seed */
	uint64_t seed, count;
	int64_t seconds; /* virtual, of faults */
	bool once, quiet, verbose;
};

struct simkit {
	const char *name;
	const char *usage; /* of the options, behind the first line */
	const char *n_name;
	unsigned n_max;
	int64_t seconds; /* unless -t says otherwise */
	/* One run: what became of it as a hash, and what happened into sums. */
	uint64_t (*run)(const struct simkit_options *o, uint64_t seed, void *sums);
	/* At the end.  Fails if something did not happen that should in so many seeds. */
	void (*report)(const struct simkit_options *o, const void *sums, double seconds);
	void *sums;
};

/* The program: returns its status, or ends it with 1 in a failure. */
int simkit_main(const struct simkit *k, int argc, char **argv);

/* Where in a run something happened. */
struct simkit_at {
	const char *name;
	uint64_t seed, steps;
	int64_t now_us;
};

/* The invariant does not hold: says so and ends the program with 1. */
void simkit_fail(const struct simkit_at *at, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0), noreturn));
void simkit_tell(const struct simkit_at *at, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
/* Something that happened at that time, into the hash of a run. */
uint64_t simkit_note(uint64_t hash, uint64_t what, int64_t now_us);

#endif
