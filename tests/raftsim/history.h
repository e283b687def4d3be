/*
 * history: what clients did and saw, and whether it could have happened one after the other.
 *
 * The values that are written are all different, so the history of a register can be checked without a
 * search (Gibbons and Korach, "Testing shared memories", 1997, section 4.2: zones of values).  The checker
 * knows nothing of logs or terms.
 */
#ifndef TESTS_RAFTSIM_HISTORY_H
#define TESTS_RAFTSIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct operation {
	bool read, done; /* one that is not done may have had its effect, or may have it later */
	uint32_t reg;
	uint64_t value; /* 0: that of the beginning */
	int64_t began, ended;
};

struct history {
	struct operation *ops;
	size_t count, cap;
};

void history_fini(struct history *h);
size_t history_begin(struct history *h, bool read, uint32_t reg, uint64_t value, int64_t now);
void history_end(struct history *h, size_t op, uint64_t value, int64_t now);
/* NULL: it is linearizable; otherwise why not. */
const char *history_check(const struct history *h, uint32_t registers);

#endif
