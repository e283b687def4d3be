/*
 * topology: AddLink, DropLink, EstablishFullLinks, LeaveMesh and SendUserEvent of the API.
 *
 * routerd knows the nodes: their names, and where they can be dialled.  transportd takes wishes about this
 * node's links, by node id; routerd those for full links, which travel through the mesh.
 */
#ifndef GATEWAYD_TOPOLOGY_H
#define GATEWAYD_TOPOLOGY_H

#include <stdbool.h>

struct call;
struct call_ops;

extern const struct call_ops topology_add_ops, topology_drop_ops, topology_full_ops, topology_event_ops;

/* The second half of LeaveMesh: consensusd has left the control group, or was no member. */
void topology_leave_begin(struct call *c);

/* Is the request for this mesh (empty: any)?  False: the call has ended. */
bool topology_mesh_is_ours(struct call *c, const char *mesh_id);

#endif
