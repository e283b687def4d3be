/*
 * discovery: DiscoverNodes of the API: nodes and where they can be dialled, by what they offer.
 *
 * routerd knows all nodes of the mesh, so any node can be asked.
 */
#ifndef GATEWAYD_DISCOVERY_H
#define GATEWAYD_DISCOVERY_H

struct call_ops;

extern const struct call_ops discovery_ops;

#endif
