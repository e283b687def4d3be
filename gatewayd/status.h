/*
 * status: answers that are put together out of what the siblings know.
 */
#ifndef GATEWAYD_STATUS_H
#define GATEWAYD_STATUS_H

#include "gatewayd/method.h"

extern const struct call_ops status_mesh_ops, status_node_ops, status_routes_ops, status_streams_ops,
    status_metrics_ops;

/* GetMeshStatus without its request: also the answer of the calls that change membership. */
void status_mesh_begin(struct call *c);

#endif
