/*
 * way: how gossip gets to its destination where not every node has a FIB: with the fewest hops (or a few
 * more, where some links came back while others went), over links that an end of them has.  A link that has
 * died silently is on it until both ends have noticed.
 */
#ifndef TESTS_SIM_WAY_H
#define TESTS_SIM_WAY_H

#include "tests/sim/data.h"
#include "tests/sim/sim.h"

void way_init(struct sim *s);
void way_fini(struct sim *s);
/* An end of a link noticed that it is gone, or it is there again. */
void way_changed(struct sim *s);
struct data_way way_find(struct sim *s, uint32_t from, uint32_t to);

#endif
