/*
 * node_list: a few nodes in an array, each once: a stream's targets, those that left it.
 */
#ifndef CONSENSUSD_CORE_NODE_LIST_H
#define CONSENSUSD_CORE_NODE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the node is; count: it is not there. */
static inline size_t
node_list_at(const uint64_t *nodes, size_t count, uint64_t node)
{
	size_t i = 0;

	while (i < count && nodes[i] != node)
		i++;
	return i;
}

static inline bool
node_list_has(const uint64_t *nodes, size_t count, uint64_t node)
{
	return node_list_at(nodes, count, node) < count;
}

/* Takes the node out, if it is there; how many are left, in their order. */
static inline size_t
node_list_drop(uint64_t *nodes, size_t count, uint64_t node)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (nodes[i] != node)
			nodes[kept++] = nodes[i];
	return kept;
}

#endif
