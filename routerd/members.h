/*
 * members: the membership core in routerd: see members.c.
 */
#ifndef ROUTERD_MEMBERS_H
#define ROUTERD_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/swim.h"

struct conf;
struct lsdb_entry;
struct router_identity;
struct routerd;

int members_init(struct routerd *d, const struct conf *c) MUST_USE;
void members_configure(struct routerd *d, const struct conf *c);
/* Everything learnt is dropped. */
int members_reset(struct routerd *d) MUST_USE;
void members_fini(struct routerd *d);

/* Who this node is; errors as of swim_identity(). */
int members_identity(struct routerd *d, const struct router_identity *id) MUST_USE;
/* What this node can tell of others may have changed: transportd went away or came back, paths did. */
void members_sight(struct routerd *d);
/* What this node says of itself may have changed. */
void members_describe(struct routerd *d);
/* A node of the database is new, or something about it has changed. */
void members_node(struct routerd *d, const struct lsdb_entry *e);
/* Tells all members.  ERR_RANGE (name or size), ERR_STATE (this node is not known yet), ERR_FULL. */
int members_event(struct routerd *d, const char *name, const uint8_t *payload, size_t len) MUST_USE;
/* This node says goodbye. */
void members_leave(struct routerd *d);
/* A gossip payload came from a node. */
void members_feed(struct routerd *d, uint64_t from, const uint8_t *payload, size_t len);

/* False: it is no member. */
bool members_get(struct routerd *d, uint64_t node, struct swim_info *out);
const struct swim_counters *members_counters(struct routerd *d);
void members_show(struct routerd *d, struct swim_summary *out);

#endif
