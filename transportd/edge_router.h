/*
 * edge_router: routerd's channel: links up to it, the FIB and link-state frames down from it.
 */
#ifndef TRANSPORTD_EDGE_ROUTER_H
#define TRANSPORTD_EDGE_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct channel;
struct channel_conf;
struct link;
struct path;
struct transport;

struct edge_router {
	struct channel *ch; /* NULL: routerd is away */
};

void router_conf(struct transport *t, struct channel_conf *out);

/* A link is up, or its measurements have changed. */
void router_link(struct transport *t, struct link *l);
/* Where this node can be dialled has changed. */
void router_addresses(struct transport *t);
void router_link_down(struct transport *t, uint64_t node, const char *reason);
/* Client data is sent to a node, or was not for PATH_IDLE_MS. */
void router_used(struct transport *t, uint64_t destination, bool used);
/* The state of a path has changed.  False: it can't be told now. */
bool router_path(struct transport *t, const struct path *p) MUST_USE;
/* One that was told to be slow or suspect is about to be forgotten. */
void router_path_forgotten(struct transport *t, const struct path *p);
/* A link-state frame of a neighbour, as it came. */
void router_frame(struct transport *t, uint64_t neighbour, const uint8_t *raw, size_t size);

#endif
