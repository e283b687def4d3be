/*
 * report: database, routes and events as messages of the API (proto/mesh.proto).
 */
#ifndef ROUTERD_REPORT_H
#define ROUTERD_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/mesh.pb.h"
#include "proto/pb.h"
#include "routerd/core/router.h"
#include "routerd/core/swim.h"

struct pathstate;
struct routerd;

/* The addresses of a node as an entry of NodeInfo.metadata; must live as long as that. */
struct report_addresses {
	struct pb_list list;
	struct pb_slice entry;
	uint8_t mem[ADDRESSES_MAX * ADDRESS_SIZE + 32];
};

void report_node(
    struct routerd *d, const struct lsdb_entry *e, struct report_addresses *addresses, mesh_v1_NodeInfo *out);
void report_link(
    struct routerd *d, const struct lsdb_entry *e, const struct lsa_adj *adj, mesh_v1_LinkInfo *out);
void report_route(struct routerd *d, const struct fib_route *r, size_t profile, mesh_v1_RouteInfo *out);
/* False for what is no event of the API. */
bool report_event(struct routerd *d, enum router_event ev, uint64_t a, uint64_t b, mesh_v1_MeshEvent *out);
/* path_degraded, path_recovered, path_gone. */
void report_path(struct routerd *d, const struct pathstate *p, mesh_v1_MeshEvent *out);
bool report_member(struct routerd *d, enum swim_event ev, uint64_t node, mesh_v1_MeshEvent *out);
void report_user_event(struct routerd *d, const struct swim_user_event *ev, mesh_v1_MeshEvent *out);
/* The node's name, or its id where no name is known. */
void report_node_name(struct routerd *d, uint64_t node, char *out, size_t size);
/* This daemon's part. */
void report_status(struct routerd *d, mesh_v1_NodeStatus *out);

#endif
