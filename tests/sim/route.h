/*
 * route: the FIB that a node's transportd was given.
 *
 * Keeps count of the paths that lead over each link, so that it costs nothing to know whether any node
 * still uses one that does not work.  How routerd's routes look is known here only.
 */
#ifndef TESTS_SIM_ROUTE_H
#define TESTS_SIM_ROUTE_H

#include <stdint.h>

#include "routerd/core/limits.h"

struct fib_paths;
struct fib_route;
struct sim;
struct sim_link;
struct sim_node;

enum { SIM_PATHS_MAX = 8 };

struct sim_path {
	uint16_t hop_count;
	uint16_t hop[PATH_HOPS_MAX]; /* nodes by index, the destination included */
};

struct sim_route {
	uint32_t path_count;
	struct sim_path path[]; /* best first */
};

void route_begin(struct sim_node *n);
void route_end(struct sim_node *n);
void route_set(struct sim_node *n, uint64_t destination, uint8_t class_mask, const struct fib_paths *paths);
void route_del(struct sim_node *n, uint32_t destination);
/* Forgets all: transportd is gone. */
void route_clear(struct sim_node *n);
/* What routerd has, or had for transportd, must be paths of its own graph; MUST hold at any time. */
void route_check(struct sim_node *n, const struct fib_route *r);

#endif
