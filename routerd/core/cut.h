/*
 * cut: which relays and links no path from the root can avoid.
 *
 * Cut vertices and bridges by one depth-first search (Hopcroft and Tarjan 1973).  A link is there in both
 * directions, so what is true of links is true of paths: by Menger's theorem a vertex that has neither
 * a cut vertex nor a bridge before it has two paths that share nothing, one without a bridge has two
 * that share no link.
 */
#ifndef ROUTERD_CORE_CUT_H
#define ROUTERD_CORE_CUT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct graph;

struct cut_node {
	uint32_t order, low; /* of the search, from 1; 0: not reached */
	uint32_t parent, next_edge;
	uint32_t vertices, bridges; /* strictly between the root and this; on the way to this */
};

struct cut {
	struct cut_node *nodes;
	uint32_t *visited; /* vertices in the order of the search */
	size_t cap;
};

void cut_init(struct cut *c);
void cut_fini(struct cut *c);
/* ERR_NOMEM. */
int cut_run(struct cut *c, const struct graph *g) MUST_USE;

#endif
