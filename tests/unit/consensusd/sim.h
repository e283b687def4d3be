/*
 * sim: one source and some targets of a stream in virtual time, over a network that loses, repeats and
 * reorders, with databases that commit late and nodes that crash at any moment.
 *
 * Everything follows from the seed.  Checks run at every step; a failure prints the seed.  The sim
 * allocates with malloc(), so that mem_fail_at() hits the cores only.
 */
#ifndef TESTS_UNIT_CONSENSUSD_SIM_H
#define TESTS_UNIT_CONSENSUSD_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_TARGETS_MAX = 4, SIM_MESSAGES_MAX = 4096 };

struct sim_conf {
	uint64_t seed;
	size_t targets;
	uint64_t messages;
	unsigned loss_percent, repeat_percent, crash_per_mille; /* while faults last */
	int64_t faults_us;       /* for so long */
	size_t memory_max;       /* of each node */
	uint32_t message_max;    /* bytes of the largest */
	unsigned long fail_at;   /* this allocation of the cores fails; 0: none */
};

struct sim_result {
	uint64_t trace; /* hash of everything that happened */
	uint64_t end_us; /* when all was done */
	uint64_t sent, lost, crashes, resent;
	unsigned long allocations; /* of the cores */
};

/* Runs until everything is done; fails the test (cmocka) if a check fails or it never is. */
struct sim_result sim_run(const struct sim_conf *conf);

#endif
