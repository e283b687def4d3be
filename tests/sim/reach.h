/*
 * reach: what stands for path computation at nodes that are not of the sample.
 */
#ifndef TESTS_SIM_REACH_H
#define TESTS_SIM_REACH_H

#include "tests/sim/sim.h"

void reach_init(struct sim *s);
void reach_fini(struct sim *s);

#endif
