/*
 * share: an LSA that many nodes have is one object (lsa_body.h): without that, thousands of databases
 * would not fit into memory.
 */
#ifndef TESTS_SIM_SHARE_H
#define TESTS_SIM_SHARE_H

#include "tests/sim/sim.h"

struct lsa_body;
struct lsdb_entry;

void share_init(struct sim *s);
void share_fini(struct sim *s);
/* The node is about to put an LSA of this one into its database. */
void share_note(struct sim *s, uint32_t origin);
/* What the node has put there since the last time is shared with the other nodes'.  The same id with other
 * content breaks an invariant. */
void share_noted(struct sim_node *n);
/* The newest LSA of a node that any other has, borrowed; NULL: none yet. */
struct lsa_body *share_newest(const struct sim *s, uint32_t origin);
/* An LSA that is the newest from now on; it is taken over. */
void share_add(struct sim *s, uint32_t origin, struct lsa_body *body);

#endif
