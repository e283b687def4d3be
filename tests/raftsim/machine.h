/*
 * machine: the state machine of the simulated groups: registers, and for each client the last write of it
 * that was done, so that one that is proposed twice is done once.
 */
#ifndef TESTS_RAFTSIM_MACHINE_H
#define TESTS_RAFTSIM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

enum { MACHINE_REGISTERS = 3, MACHINE_CLIENTS = 8 };

struct machine {
	uint64_t reg[MACHINE_REGISTERS];
	uint64_t last_seq[MACHINE_CLIENTS];
	uint64_t hash; /* of all that was applied, in order */
	uint64_t done; /* writes */
};

/* The data of an entry. */
struct machine_write {
	uint64_t reg, value;
};

struct raft_entry;
void machine_apply(struct machine *m, const struct raft_entry *e);

#endif
