/*
 * choice: which of the paths that there are a destination gets.
 *
 * The path in use stays the first one unless the best is cheaper by more than the hysteresis: measurements
 * alone do not move traffic to and fro.  It is followed by the alternatives.
 */
#ifndef ROUTERD_CORE_CHOICE_H
#define ROUTERD_CORE_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "routerd/core/fib.h"
#include "routerd/core/graph.h"

struct choice {
	const struct graph *graph;
	size_t profile;
	uint32_t hysteresis_percent;
	size_t count;
	struct spf_path paths[ROUTE_PATHS_MAX + 1]; /* one more than can be had: choice_cut() */
};

/* What became of the paths in use since they were chosen. */
enum choice_fate {
	CHOICE_SAME,
	CHOICE_COST, /* another cost */
	CHOICE_LOST, /* one of them is no path any more */
};

/* Starts with nothing chosen. */
void choice_init(struct choice *c, const struct graph *g, size_t profile, uint32_t hysteresis_percent);
/* The first path: that of old (NULL: none) if it still is one and good enough beside best, else best. */
void choice_first(struct choice *c, const struct fib_paths *old, const struct spf_path *best);
/* The other paths of old that still are some, in their order; and what became of all of them. */
enum choice_fate choice_survivors(struct choice *c, const struct fib_paths *old);
/* Alternatives, in their order, but for the one that is chosen already. */
void choice_add(struct choice *c, const struct spf_path *paths, size_t count);
/* Gives up the last paths beyond count. */
void choice_cut(struct choice *c, size_t count);

#endif
