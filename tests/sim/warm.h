/*
 * warm: networks as they are after a long time.
 *
 * Thousands of nodes that start at once flood for hours of processor time.  Here all start knowing each
 * other: databases have everybody's LSA, members what everybody says of itself, and nothing of it is news.
 * Ages of LSAs, and what is done from time to time, are spread over their intervals.
 */
#ifndef TESTS_SIM_WARM_H
#define TESTS_SIM_WARM_H

#include "tests/sim/sim.h"

/* Starts all nodes. */
void warm_start(struct sim *s);
/* Nodes that started together: their refreshes are spread over the interval as if they had not. */
void warm_spread(struct sim *s);

#endif
