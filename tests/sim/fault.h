/*
 * fault: what goes wrong, from the seed.
 */
#ifndef TESTS_SIM_FAULT_H
#define TESTS_SIM_FAULT_H

#include "tests/sim/sim.h"

enum { FAULT_LETTERS = 9 };

/* "lodxpcrsk", each for one kind, "all", "none".  False: another letter. */
bool fault_parse(const char *letters, unsigned *out);
void fault_letters(unsigned faults, char out[FAULT_LETTERS + 1]);

/* Rounds for so many us: several faults at once and after each other, then a calm network, until all
 * has settled and is checked. */
void fault_rounds(struct sim *s, int64_t us);

/* One fault, or something that is broken is not any more. */
void fault_disturb(struct sim *s);
void fault_mend(struct sim *s);
/* No frame is lost, late or taken slowly any more; and (calm) nothing at all is wrong. */
void fault_frames_pass(struct sim *s);
void fault_calm(struct sim *s);

/* Nodes around a random one, count of them: side[i] tells whether i is among them. */
void fault_region(struct sim *s, uint32_t count, bool *side);
/* Cuts or heals all links between the two sides. */
void fault_divide(struct sim *s, const bool *side, bool pass);

#endif
