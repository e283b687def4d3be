/*
 * egress: which streams have something for which node, in Redis, for people and tools.
 *
 * Per node that lacks something a sorted set queue:egress:{node} holds the ids of the streams, with their
 * priorities as scores: the EGRESS_STREAMS_MAX of the highest.  Written when the node goes away and every
 * EGRESS_MS while it lacks something, for EGRESS_TTL_S.  Nothing reads it here: after a start all streams are
 * loaded from the database before anything is sent, and source_sort_ready() puts them in order.
 *
 * Without Redis engine.egress is NULL; every call may be made all the same.
 */
#ifndef CONSENSUSD_EGRESS_H
#define CONSENSUSD_EGRESS_H

#include "common/base/must.h"

struct cache;
struct engine;
struct node;

/* The connection is borrowed.  ERR_NOMEM. */
int egress_open(struct engine *e, struct cache *cache) MUST_USE;
void egress_close(struct engine *e);
void egress_node_down(struct engine *e, const struct node *n);

#endif
