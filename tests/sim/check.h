/*
 * check: what must hold.
 *
 * At any time: every path that routerd installs is one of its own graph, without a loop (route.h); a
 * data frame is delivered once, where it was to go, within its ttl (data.h).
 * SIM_SETTLE_US after the last fault: each node has routes to all that it can reach, over links that
 * work, and no others (so: no dead node is held for reachable, no live one for dead); membership has
 * none that can be reached for dead, and all others, and after SIM_REFUTE_US suspects none, either;
 * databases of nodes that can reach each other hold the same LSAs, but for those that were made just now;
 * and no data frame is lost.
 *
 * In large networks (struct sim_shape): FIBs are checked of the nodes that compute paths, and databases and
 * members of a sample, others each time; but whether all databases agree, about who has links with whom, is
 * known of all (agree.h).
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "tests/sim/sim.h"

/* Has the network been as it should be for long enough? */
bool check_quiet(const struct sim *s);
/* Checks all of the above that does not depend on a quiet network, and the rest if it is quiet. */
void check_all(struct sim *s);

#endif
