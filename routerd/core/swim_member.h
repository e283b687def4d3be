/*
 * swim_member: the table of members, this node among them.
 *
 * By node id in one list, and in the order in which they are probed in another: that is shuffled at each
 * round, and a new member comes in at a random place (SWIM, section 4.3).  Both lists, and those of members
 * that are not alive, have numbers: members lie in blocks, and stay where they are.
 */
#ifndef ROUTERD_CORE_SWIM_MEMBER_H
#define ROUTERD_CORE_SWIM_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"

struct rng;
struct swim_broadcasts;
struct swim_meta_body;
struct swim_suspicion;

enum swim_link { SWIM_LINK_UNKNOWN, SWIM_LINK_NONE, SWIM_LINK_SOME };

/* There are thousands: what only few need is elsewhere. */
struct swim_member {
	uint64_t node, incarnation;
	struct swim_meta_body *meta; /* NULL: not known */
	union {
		struct swim_suspicion *suspicion; /* of a suspect */
		struct mono since;                /* another state's; see swim_member_since() */
	} u;
	uint32_t before, after; /* in the list of suspects, or of dead and left ones; SWIM_NOBODY: none */
	uint32_t place;         /* in order */
	uint32_t seq;           /* of its LSA, as listed: the low half, with the order of RFC 1982 */
	uint32_t told_ms;       /* when it was last told that it is not held for alive: the low half */
	uint32_t rtt_us : 24;   /* 0: not known */
	uint32_t state : 2;     /* enum swim_state */
	uint32_t linked : 2;    /* enum swim_link */
	uint32_t listed : 1, neighbour : 1;
	uint32_t goodbye : 1; /* it said so, and still has links */
	/* Its state follows from its links alone: known to all who see them, and not gossiped. */
	uint32_t by_links : 1;
	struct mono seen_at; /* the last sign of life; MONO_ZERO: none yet */
};

#define SWIM_NOBODY UINT32_MAX
enum { SWIM_BLOCK = 64 }; /* members of a block */

struct swim_members {
	struct swim_member **blocks;
	size_t block_count, block_cap;
	uint32_t unused; /* list of places in blocks that are free, by after */
	uint32_t *sorted, *order;
	size_t count, cap, max;
	size_t cursor, near_cursor; /* in order: who is probed next, of all and of neighbours */
	uint32_t suspects, ended;   /* the first of each list */
};

void swim_members_init(struct swim_members *t, size_t max);
void swim_members_fini(struct swim_members *t, struct swim_broadcasts *q);

struct swim_member *swim_members_get(const struct swim_members *t, uint64_t node);
/* The one with this number; NULL for SWIM_NOBODY. */
struct swim_member *swim_members_nth(const struct swim_members *t, uint32_t number);
/* The one at this index, in the order of node ids. */
struct swim_member *swim_members_sorted(const struct swim_members *t, size_t index);
/* The index of the first at or after this node id; count if there is none. */
size_t swim_members_at(const struct swim_members *t, uint64_t node);
/* A new member that is alive; ERR_FULL, ERR_NOMEM. */
int swim_members_add(struct swim_members *t, uint64_t node, struct rng *rng, struct mono now,
    struct swim_member **out) MUST_USE;
void swim_members_del(struct swim_members *t, struct swim_broadcasts *q, struct swim_member *m);

/* suspicion, of a suspect only, is taken over; a suspicion that there was ends. */
void swim_members_set_state(struct swim_members *t, struct swim_member *m, uint8_t state,
    struct swim_suspicion *suspicion, struct mono now);

/* The next in the order of probes that may be probed; NULL if there is none. */
struct swim_member *swim_members_next(
    struct swim_members *t, struct rng *rng, const struct swim_member *self);
/* Likewise among neighbours. */
struct swim_member *swim_members_near(struct swim_members *t, const struct swim_member *self);
/* Up to want different random members that are thought to be there, without two; how many. */
size_t swim_members_random(struct swim_members *t, struct rng *rng, const struct swim_member *but,
    const struct swim_member *nor, size_t want, struct swim_member **out);

/* Thought to be there, as far as is known: alive or suspect, and not without links. */
bool swim_member_there(const struct swim_member *m);
/* NULL: it is no suspect. */
struct swim_suspicion *swim_member_suspicion(const struct swim_member *m);
/* When its state changed. */
struct mono swim_member_since(const struct swim_member *m);
/* It gave a sign of life. */
void swim_member_heard(struct swim_member *m, struct mono now);
/* 0 if it has said nothing. */
uint64_t swim_member_meta_version(const struct swim_member *m);
/* The state that is told to others. */
uint8_t swim_member_told_state(const struct swim_member *m);
/* Equal for equal tables: over what digests say. */
uint64_t swim_members_sum(const struct swim_members *t);

#endif
