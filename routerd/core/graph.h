/*
 * graph: the topology as arrays, for path computation.
 *
 * Vertices are the nodes of the database in ascending order of their ids; an edge is there only if
 * both its ends list each other (two-way check), and is directed because costs are.  Of this node it
 * takes the links as they are now, not as it last advertised them.
 *
 * There is a cost of each edge for each profile of costs; graph_select() says which is in the edges.
 *
 * An edge with the weight LSA_WEIGHT_NEVER is for traffic of its two ends: it is on a path only as the
 * first or as the last edge.  A node with no other edges than such is not for transit at all, as one
 * with the overload bit of IS-IS (RFC 3787 section 4): its edges are for traffic from itself.
 */
#ifndef ROUTERD_CORE_GRAPH_H
#define ROUTERD_CORE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/cost.h"

struct lsdb;
struct lsdb_entry;
struct lsa_adj;

enum { GRAPH_NONE = UINT32_MAX };

enum graph_use {
	GRAPH_TRANSIT, /* for all */
	GRAPH_ENDS,    /* as the first or the last edge of a path */
	GRAPH_FIRST,   /* as the first one */
};

struct graph_edge {
	uint32_t to, cost; /* cost by the profile that is selected */
	uint8_t use;       /* enum graph_use */
};

struct graph {
	size_t vertex_count, edge_count;
	size_t vertex_cap, edge_cap;
	uint32_t root;   /* this node's vertex */
	uint64_t *ids;   /* ascending */
	uint32_t *first; /* edges of v: first[v] to first[v + 1] - 1, ascending by to */
	struct graph_edge *edges;
	uint32_t *costs; /* of edge i by profile p: costs[p * edge_cap + i] */
	size_t selected; /* the profile whose costs are in edges */
	const struct cost_profiles *profiles;
	bool limited;                      /* some edges are not for all */
	const struct lsdb_entry **entries; /* while it is built */
	uint32_t *slots; /* hash table of vertices; twice as many as there are vertices, or more */
	size_t slot_count;
	uint64_t seed; /* of the hash: who chooses node ids can't make them collide */
};

/* profiles: borrowed for the life of the graph. */
void graph_init(struct graph *g, uint64_t seed, const struct cost_profiles *profiles);
void graph_fini(struct graph *g);

/* Builds the graph anew: self with its adjacencies (ascending) and the database.  ERR_NOMEM: the graph
 * is empty. */
int graph_build(
    struct graph *g, struct lsdb *db, uint64_t self, const struct lsa_adj *adj, size_t adj_count) MUST_USE;
/* The vertex of a node, or GRAPH_NONE. */
uint32_t graph_find(const struct graph *g, uint64_t node);

/* The edge between two vertices, or GRAPH_NONE. */
uint32_t graph_edge(const struct graph *g, uint32_t from, uint32_t to);
/* Puts the costs of a profile into the edges. */
void graph_select(struct graph *g, size_t profile);
uint32_t graph_cost(const struct graph *g, size_t profile, uint32_t edge);
/* The link between a and b is damped, in both directions, if it is there. */
void graph_damp(struct graph *g, uint64_t a, uint64_t b);
/* May an edge be on a path from the root to the vertex dst? */
static inline bool
graph_usable(const struct graph *g, uint32_t from, const struct graph_edge *e, uint32_t dst)
{
	return e->use == GRAPH_TRANSIT || from == g->root || (e->use == GRAPH_ENDS && e->to == dst);
}

/* What a path of nodes, the first neighbour of the root first, costs by a profile: false if it is none. */
bool graph_path_cost(
    const struct graph *g, size_t profile, const uint64_t *hops, uint32_t count, uint32_t *cost);

/* Calls fn for each edge of fresh that is dearer, by some profile, in old, or was for less traffic: then
 * opened is true.  Edges that only one of them has do not count. */
void graph_cheaper(const struct graph *old, const struct graph *fresh,
    void (*fn)(void *arg, uint32_t from, uint32_t edge, bool opened), void *arg);

/* Calls fn for each link that only one of two graphs has: up is true if it is in b.  a < b. */
void graph_diff(const struct graph *old, const struct graph *fresh,
    void (*fn)(void *arg, uint64_t a, uint64_t b, bool up), void *arg);

#endif
