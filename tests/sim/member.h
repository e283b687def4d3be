/*
 * member: the membership core of a node, beside its router, as routerd has them (routerd/members.c).
 *
 * Its payloads go to any node: hop by hop over the FIBs of the nodes in between, as data frames do, but
 * in one event.  If not every node has a FIB they take what a shortest path would (way.h).
 */
#ifndef TESTS_SIM_MEMBER_H
#define TESTS_SIM_MEMBER_H

#include "tests/sim/sim.h"

struct lsdb_entry;

void member_start(struct sim_node *n);
/* Without a router: another node is listed, of the start that it has now. */
void member_listed(struct sim_node *n, const struct sim_node *other);
void member_stop(struct sim_node *n);
/* The router tells of a node. */
void member_node(struct sim_node *n, const struct lsdb_entry *e);
void member_feed(struct sim_node *n, const struct sim_event *ev);
/* Does what is due. */
void member_step(struct sim_node *n);
struct mono member_next(struct sim_node *n);

/* Statements that members have still to gossip, all together. */
size_t member_waiting(struct sim *s);
/* In a quiet network: every node that can be reached is held for alive, and no other one is. */
void member_check(struct sim *s, struct sim_node *n);

#endif
