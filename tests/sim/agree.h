/*
 * agree: do the databases of nodes that can reach each other say the same about who has links with whom, and
 * does no node say that it has a link which does not work?
 *
 * Asked where not every node has a FIB that could be looked at.  A sum over its database is kept up to date
 * for each node, so that it costs little to know.
 */
#ifndef TESTS_SIM_AGREE_H
#define TESTS_SIM_AGREE_H

#include "tests/sim/sim.h"

struct lsa;

/* The node is about to put this LSA into its database; own: it made it. */
void agree_lsa(struct sim_node *n, const struct lsa *lsa, bool own);
/* It has just found out whom it can reach by its database. */
void agree_reached(struct sim_node *n);
/* Its database is gone. */
void agree_gone(struct sim_node *n);
/* The link, or one of its ends, works or not. */
void agree_link(struct sim *s, struct sim_link *l);
/* All nodes have the database that all have: it says what they said of themselves. */
void agree_warm(struct sim *s);
/* Also: does each node that computes no paths know whom it can reach by that database? */
bool agree_all(struct sim *s);

#endif
