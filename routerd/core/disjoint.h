/*
 * disjoint: the two paths of least cost together that share no relay, or no link.
 *
 * Suurballe and Tarjan 1984, with the vertices on the shortest path split where relays count: what is
 * found need not contain the shortest path, which may block all others.
 */
#ifndef ROUTERD_CORE_DISJOINT_H
#define ROUTERD_CORE_DISJOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct search;
struct route;

struct disjoint_node {
	uint32_t on_path;    /* stamp: on the shortest path */
	uint32_t settled[2]; /* stamp: reached by a link of its own; from the next vertex of that path */
	uint32_t next;       /* of the second path; towards the root; GRAPH_NONE: none */
	uint32_t before;     /* on the shortest path, towards the destination */
	bool cancelled;      /* the second path came back by the shortest path's link from here */
};

struct disjoint {
	struct disjoint_node *nodes;
	size_t cap;
	uint32_t stamp;
};

void disjoint_init(struct disjoint *d);
void disjoint_fini(struct disjoint *d);
/* The pair (pair[0], pair[1]) from the root to dst; relays: no common one, else no common link.
 * *found is false if there is none, or if one of its paths has more than PATH_HOPS_MAX hops.  Uses the
 * search's memory.  ERR_NOMEM. */
int disjoint_pair(struct disjoint *d, struct search *s, uint32_t dst, bool relays, struct route *pair,
    bool *found) MUST_USE;

#endif
