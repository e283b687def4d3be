/*
 * router: the client of routerd (edge consensus_router): who this node is, signatures for LSAs, and the
 * directory of nodes, which is written to the store as well.
 */
#ifndef CONSENSUSD_ROUTER_H
#define CONSENSUSD_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct channel;
struct engine;
struct router;

struct router *router_new(struct engine *e) MUST_USE;
void router_free(struct router *r);
const struct channel_conf *router_channel_conf(struct router *r);
void router_attach(struct router *r, struct channel *ch);
/* While the store loads: where a node could be dialled before the last restart. */
void router_load_node(struct router *r, uint64_t node, const char *addresses);
/* The store is ready for the first time: says who we are, and writes the nodes that are known. */
void router_loaded(struct router *r);
/* Which nodes may not be in the mesh any more, in any order: it keeps a copy, and routerd is told, now and
 * each time that it connects.  They have status "evicted".  ERR_NOMEM, ERR_LIMIT (IDSET_MAX_COUNT), ERR_RANGE
 * (the id 0): as before. */
int router_evicted(struct router *r, const uint64_t *nodes, size_t count) MUST_USE;
/* What the configuration that all nodes share says for routerd is another one (shared.h). */
void router_shared(struct router *r);
bool router_up(const struct router *r);
/* Whether routerd has told which nodes there are since this process began. */
bool router_knows_nodes(const struct router *r);

#endif
