/*
 * swim_member: the table of members, this node among them.
 *
 * By node id in one array, and in the order in which they are probed in another: that is shuffled at each
 * round, and a new member comes in at a random place (SWIM, section 4.3).
 */
#ifndef ROUTERD_CORE_SWIM_MEMBER_H
#define ROUTERD_CORE_SWIM_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "common/base/mono.h"
#include "common/base/must.h"

struct rng;
struct swim_broadcast;
struct swim_broadcasts;
struct swim_suspicion;

enum swim_link { SWIM_LINK_UNKNOWN, SWIM_LINK_NONE, SWIM_LINK_SOME };

struct swim_member {
	uint64_t node, incarnation, meta_version;
	uint64_t seq;   /* of its LSA, as listed */
	uint8_t state;  /* enum swim_state */
	uint8_t linked; /* enum swim_link */
	bool listed, neighbour;
	bool goodbye; /* it said so, and still has links */
	/* Its state follows from its links alone: known to all who see them, and not gossiped. */
	bool by_links;
	uint16_t meta_len;
	uint32_t rtt_us, place; /* place: in order */
	struct mono changed_at, heard_at, unlinked_at, told_at;
	struct mono seen_at; /* heard_at, but MONO_ZERO for a member that was never heard */
	uint8_t *meta;
	struct swim_suspicion *suspicion;        /* suspects have one */
	struct swim_broadcast *said, *said_meta; /* what waits to be gossiped about it */
	LIST_ENTRY(swim_member) ends;            /* in the list of suspects, or of dead and left ones */
};

LIST_HEAD(swim_member_list, swim_member);

struct swim_members {
	struct swim_member **sorted, **order;
	size_t count, cap, max;
	size_t cursor, near_cursor; /* in order: who is probed next, of all and of neighbours */
	struct swim_member_list suspects, ended;
};

void swim_members_init(struct swim_members *t, size_t max);
void swim_members_fini(struct swim_members *t, struct swim_broadcasts *q);

struct swim_member *swim_members_get(const struct swim_members *t, uint64_t node);
/* The index of the first at or after this node id; count if there is none. */
size_t swim_members_at(const struct swim_members *t, uint64_t node);
/* A new member that is alive; ERR_FULL, ERR_NOMEM. */
int swim_members_add(struct swim_members *t, uint64_t node, struct rng *rng, struct mono now,
    struct swim_member **out) MUST_USE;
void swim_members_del(struct swim_members *t, struct swim_broadcasts *q, struct swim_member *m);

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
/* The state that is told to others. */
uint8_t swim_member_told_state(const struct swim_member *m);
/* Equal for equal tables: over what digests say. */
uint64_t swim_members_sum(const struct swim_members *t);

#endif
