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

enum { REPORT_METADATA_MAX = 2 };

/* Entries of a map<string, string>; must live as long as the message that they are set in. */
struct report_metadata {
	struct pb_list list;
	struct pb_slice entries[REPORT_METADATA_MAX];
	size_t used; /* of mem */
	uint8_t mem[ADDRESSES_MAX * ADDRESS_SIZE + 64];
};

void report_metadata_init(struct report_metadata *m, pb_callback_t *field);
/* A short key; what does not fit is our own fault. */
void report_metadata_add(struct report_metadata *m, const char *key, const char *value);

void report_node(
    struct routerd *d, const struct lsdb_entry *e, struct report_metadata *metadata, mesh_v1_NodeInfo *out);
/* A node that may not be in the mesh any more, and is not in the database. */
void report_evicted(struct routerd *d, uint64_t node, mesh_v1_NodeInfo *out);
void report_link(struct routerd *d, const struct lsdb_entry *e, const struct lsa_adj *adj,
    struct report_metadata *metadata, mesh_v1_LinkInfo *out);
void report_route(struct routerd *d, const struct fib_route *r, size_t profile, mesh_v1_RouteInfo *out);
/* False for what is no event of the API. */
bool report_event(struct routerd *d, enum router_event ev, uint64_t a, uint64_t b, mesh_v1_MeshEvent *out);
/* path_degraded, path_recovered, path_gone. */
void report_path(struct routerd *d, const struct pathstate *p, mesh_v1_MeshEvent *out);
bool report_member(struct routerd *d, enum swim_event ev, uint64_t node, mesh_v1_MeshEvent *out);
void report_user_event(struct routerd *d, const struct swim_user_event *ev, mesh_v1_MeshEvent *out);
/* The node's name, or its id where no name is known. */
void report_node_name(struct routerd *d, uint64_t node, char *out, size_t size);

/* --- report_member.c --- */

void report_member_node(struct routerd *d, uint64_t node, mesh_v1_NodeInfo *out);
/* link: what the link-state database says of it; to: its other end. */
void report_member_link(
    struct routerd *d, uint64_t node, const mesh_v1_LinkInfo *link, uint64_t to, struct report_metadata *out);
/* Why this node can't tell how others are; NULL: it can. */
const char *report_sight(struct routerd *d);

/* This daemon's part. */
void report_status(struct routerd *d, mesh_v1_NodeStatus *out);

#endif
