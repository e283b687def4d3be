/*
 * graph: the topology as arrays, for path computation.
 *
 * Vertices are the nodes of the database in ascending order of their ids; an edge is there only if
 * both its ends list each other (two-way check), and is directed because costs are.  Of this node it
 * takes the links as they are now, not as it last advertised them.
 */
#ifndef ROUTERD_CORE_GRAPH_H
#define ROUTERD_CORE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct lsdb;
struct lsdb_entry;
struct lsa_adj;

enum { GRAPH_NONE = UINT32_MAX };

struct graph_edge {
	uint32_t to, cost;
};

struct graph {
	size_t vertex_count, edge_count;
	size_t vertex_cap, edge_cap;
	uint32_t root;   /* this node's vertex */
	uint64_t *ids;   /* ascending */
	uint32_t *first; /* edges of v: first[v] to first[v + 1] - 1, ascending by to */
	struct graph_edge *edges;
	const struct lsdb_entry **entries; /* while it is built */
	uint32_t *slots; /* hash table of vertices; twice as many as there are vertices, or more */
	size_t slot_count;
	uint64_t seed; /* of the hash: who chooses node ids can't make them collide */
};

void graph_init(struct graph *g, uint64_t seed);
void graph_fini(struct graph *g);

/* Builds the graph anew: self with its adjacencies (ascending) and the database.  ERR_NOMEM: the graph
 * is empty. */
int graph_build(
    struct graph *g, struct lsdb *db, uint64_t self, const struct lsa_adj *adj, size_t adj_count) MUST_USE;
/* The vertex of a node, or GRAPH_NONE. */
uint32_t graph_find(const struct graph *g, uint64_t node);

/* Calls fn for each link that only one of two graphs has: up is true if it is in b.  a < b. */
void graph_diff(const struct graph *old, const struct graph *fresh,
    void (*fn)(void *arg, uint64_t a, uint64_t b, bool up), void *arg);

#endif
