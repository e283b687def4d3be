/*
 * router_measure: what the topology tells about each node: how well it is connected, and how far it is.
 */
#ifndef CONSENSUSD_ROUTER_MEASURE_H
#define CONSENSUSD_ROUTER_MEASURE_H

#include <stddef.h>

struct engine;
struct store_link;

/* Sets links, rtt_us, hops and path_us of all nodes.  Without memory hops and path_us are not known. */
void router_measure(struct engine *e, const struct store_link *links, size_t count);

#endif
