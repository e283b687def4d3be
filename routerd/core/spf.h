/*
 * spf: shortest paths from this node to all others (Dijkstra 1959, binary heap).
 *
 * Ties go to fewer hops, then to the smaller predecessor, so that the same topology gives the same
 * paths everywhere and always.  A path longer than PATH_HOPS_MAX can't be used: such a node gets the
 * cheapest of the paths with the fewest hops, if that is short enough.
 */
#ifndef ROUTERD_CORE_SPF_H
#define ROUTERD_CORE_SPF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/limits.h"

struct graph;

struct spf_label {
	uint64_t dist;
	uint32_t hops;
	uint32_t parent; /* vertex; GRAPH_NONE for the root and what can't be reached */
};

/* Labels of vertices: as they are passed, and as they are arrived at.  The two differ where the last edge is
 * not for transit: graph.h. */
struct spf_tree {
	struct spf_label *pass, *arrive;
};

struct spf {
	size_t cap;             /* vertices that the arrays hold */
	struct spf_tree best;   /* by cost */
	struct spf_tree fewest; /* by hops, then cost; computed only when a best path is too long */
	uint32_t *heap, *place; /* vertices by label; where each is, GRAPH_NONE: not in the heap */
	size_t heap_count;
	bool has_fewest;
};

struct spf_path {
	uint32_t cost, hop_count;
	uint64_t hops[PATH_HOPS_MAX]; /* from the first neighbour to the destination */
};

void spf_init(struct spf *s);
void spf_fini(struct spf *s);
/* Computes all paths from the graph's root, by the costs in its edges.  ERR_NOMEM. */
int spf_run(struct spf *s, const struct graph *g) MUST_USE;
/* What paths to a vertex cost at least; UINT64_MAX: there is none. */
uint64_t spf_dist(const struct spf *s, uint32_t vertex);
/* The path to a vertex; false if there is none, or it is the root. */
bool spf_path(const struct spf *s, const struct graph *g, uint32_t vertex, struct spf_path *out);

#endif
