/*
 * waiters: which publish calls wait for which seq of a stream to be as far as its policy asks for.
 *
 * New messages wait in order of their seq, which is cheap; repeated publishes of older ones wait in a
 * tree beside.  A call is a number that the owner gave (a handle that goes stale when the call ends),
 * so a call that ended needs no removal here.
 */
#ifndef CONSENSUSD_CORE_WAITERS_H
#define CONSENSUSD_CORE_WAITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/tree.h>

#include "common/base/id.h"
#include "common/base/must.h"

struct waiter {
	uint64_t seq;
	uint64_t call;
	struct ulid message_id;
};

struct waiter_node {
	RB_ENTRY(waiter_node) entry;
	struct waiter w;
	uint64_t order; /* among those with the same seq: as they came */
};

RB_HEAD(waiter_tree, waiter_node);

struct waiters {
	struct waiter *ring;
	size_t cap, head, count; /* of the ring */
	struct waiter_tree tree;
	size_t tree_count;
	uint64_t next_order;
};

void waiters_init(struct waiters *w);
void waiters_fini(struct waiters *w);
/* ERR_FULL above WAITERS_MAX, ERR_NOMEM. */
int waiters_add(struct waiters *w, const struct waiter *one) MUST_USE;
/* Takes out one waiter with seq <= upto, lowest seq first; false if there is none. */
bool waiters_pop(struct waiters *w, uint64_t upto, struct waiter *out);
/* Takes out one waiter with seq >= from (those whose messages could not be kept); false if none. */
bool waiters_pop_from(struct waiters *w, uint64_t from, struct waiter *out);
/* The lowest seq that the call waits for; 0: none.  Looks at all of them. */
uint64_t waiters_first_of(const struct waiters *w, uint64_t call);
size_t waiters_count(const struct waiters *w);

#endif
