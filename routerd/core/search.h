/*
 * search: the cheapest path from the root to a vertex under restrictions, found backwards (A*).
 *
 * All searches of a graph share the root.  Walking from the destination towards it, the distances of
 * one shortest-path tree are the exact rest of an unrestricted path, for all destinations: the bound of
 * A* (Hart, Nilsson and Raphael 1968) costs one tree for the graph, not one for each destination, and
 * leaves little to look at.
 *
 * The result is exact, also under the limit of PATH_HOPS_MAX hops: where that gets in the way, a
 * vertex may have several labels, the dearer ones with fewer hops.
 */
#ifndef ROUTERD_CORE_SEARCH_H
#define ROUTERD_CORE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/cut.h"
#include "routerd/core/graph.h"
#include "routerd/core/labels.h"
#include "routerd/core/route.h"
#include "routerd/core/spf.h"

enum search_spare {
	SEARCH_SPARE_NONE,
	SEARCH_SPARE_MOST,  /* what the spared routes use is used only if it must be, and little of it */
	SEARCH_SPARE_LINKS, /* their links not at all; their relays if it must be */
};

struct search_query {
	const struct route *prefix; /* the result begins as prefix->v[0] to prefix->v[spur] … */
	uint32_t spur;
	const uint32_t *not_next; /* … and does not go on to these */
	size_t not_next_count;
	enum search_spare spare;
	uint64_t weight_max; /* without sharing */
	size_t labels_max;   /* effort after which it gives up; SIZE_MAX: never */
};

struct search_edge {
	uint32_t from, cost;
	uint8_t use; /* enum graph_use */
};

struct search_node {
	uint64_t bound;      /* weight of the tree's path from the root; ROUTE_ANY: none that can be used */
	uint64_t arrive;     /* the same, when it ends here: as bound, or less */
	uint64_t best;       /* key of the last label that was kept; best_hops: its hops */
	uint64_t must_share; /* with any route that comes by here: cut vertices, bridges */
	uint32_t stamp;      /* of the search that wrote best and settled_hops */
	uint32_t spared;     /* stamp of the spared set */
	uint8_t min_hops, settled_hops, best_hops;
};

struct search {
	const struct graph *g;
	struct spf spf;
	struct cut cut;
	struct labels labels;
	size_t vertex_cap, edge_cap;
	struct search_node *nodes;
	struct search_edge *in; /* into v: g->first[v] to g->first[v + 1] - 1, ascending by from */
	uint32_t *queue;
	uint32_t stamp, spared_stamp;
	struct {
		uint32_t a, b;
	} links[ROUTE_LIST_MAX * PATH_HOPS_MAX]; /* spared; links[0] is the first of the first route */
	size_t link_count;
	bool first_is_bridge;
	bool pareto;        /* several labels for a vertex */
	uint64_t cut_short; /* least key of a label that had too many hops */
};

void search_init(struct search *s);
void search_fini(struct search *s);
/* Takes a graph, which must stay as it is as long as it is searched.  ERR_NOMEM: it can't be searched. */
int search_begin(struct search *s, const struct graph *g) MUST_USE;

/* Bytes allocated at the moment. */
size_t search_bytes(const struct search *s);

/* May a path of the root have this edge, at its end or not? */
static inline bool
search_usable(const struct search *s, const struct search_edge *e, bool at_end)
{
	return e->use == GRAPH_TRANSIT || e->from == s->g->root || (e->use == GRAPH_ENDS && at_end);
}

void search_spare_none(struct search *s);
void search_spare(struct search *s, const struct route *r);
/* The same with all its relays, but of its links only the bridges, which no route can spare, and those of
 * the set: bit i is the link of r->v[i] and r->v[i + 1]. */
void search_spare_some(struct search *s, const struct route *r, uint32_t links);
/* The bridges among a route's links, as such a set. */
uint32_t search_bridges(const struct search *s, const struct route *r);

/* Where the prefix is more than the destination, nothing can be spared.  out->hops is 0 if there is no such
 * path.  ERR_NOMEM. */
int search_run(struct search *s, const struct search_query *q, struct route *out) MUST_USE;

/* Appends a vertex to a route; false: it has too many hops.  There must be a link. */
bool search_extend(const struct search *s, struct route *r, uint32_t v);

#endif
