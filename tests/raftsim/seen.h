/*
 * seen: what the invariants remember, by term: who led, who voted for whom, which entries there are.
 */
#ifndef TESTS_RAFTSIM_SEEN_H
#define TESTS_RAFTSIM_SEEN_H

#include <stdint.h>

struct seen;

struct seen_entry {
	uint64_t hash, prev_term; /* 0: not known */
};

struct seen *seen_new(void);
void seen_free(struct seen *s);
/* Each is made, with zeros, when it is first asked for. */
uint64_t *seen_leader(struct seen *s, uint64_t term);
uint64_t *seen_vote(struct seen *s, uint64_t term, uint64_t voter);
/* How far the log of a replica went whose disk is gone. */
uint64_t *seen_lost(struct seen *s, uint64_t id);
struct seen_entry *seen_entry(struct seen *s, uint64_t term, uint64_t index);

#endif
