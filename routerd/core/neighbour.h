/*
 * neighbour: the nodes that this one has a link to, and what routerd does with each.
 *
 * An adjacency is advertised once the neighbour's database is here (sync).  What is advertised are the
 * measurements of then; they follow the real ones only when these have moved enough.
 */
#ifndef ROUTERD_CORE_NEIGHBOUR_H
#define ROUTERD_CORE_NEIGHBOUR_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "routerd/core/flood.h"
#include "routerd/core/lsa.h"
#include "routerd/core/sync.h"

struct neighbour {
	RB_ENTRY(neighbour) link;
	uint64_t id;
	uint64_t since_unix_ms;  /* of the link: tells one link from the next */
	struct lsa_adj measured; /* as transportd says */
	struct lsa_adj advertised;
	bool seen;                /* in the snapshot of links that is being received */
	uint32_t forged;          /* bad signatures in the window */
	struct mono forged_until; /* end of the window */
	struct mono resend_at;    /* it gets the whole database: what it was to get could not be noted */
	struct sync sync;
	struct flood flood;
};

RB_HEAD(neighbour_tree, neighbour);

struct neighbour_table {
	struct neighbour_tree tree;
	size_t count;
};

void neighbour_table_init(struct neighbour_table *t);
void neighbour_table_fini(struct neighbour_table *t);
struct neighbour *neighbour_get(struct neighbour_table *t, uint64_t id);
/* A new neighbour; NULL when memory is out. */
struct neighbour *neighbour_add(struct neighbour_table *t, uint64_t id) MUST_USE;
void neighbour_del(struct neighbour_table *t, struct neighbour *n);
/* In ascending order of ids; NULL at the end. */
struct neighbour *neighbour_first(struct neighbour_table *t);
struct neighbour *neighbour_next(struct neighbour_table *t, struct neighbour *n);

/* The adjacencies to advertise, ascending; if there are more than LSA_ADJ_MAX, those of least cost.
 * How many; *left_out counts the others. */
size_t neighbour_table_adj(struct neighbour_table *t, struct lsa_adj out[LSA_ADJ_MAX], size_t *left_out);
bool neighbour_table_synced(struct neighbour_table *t);

/* Has it moved enough to be worth an LSA? */
bool neighbour_moved(const struct neighbour *n);
/* So far that paths should know it soon, however often there were LSAs about measurements. */
bool neighbour_leapt(const struct neighbour *n);
/* Smoothed round trip time. */
int64_t neighbour_rtt_us(const struct neighbour *n);

/* A bad signature came from it; counts. */
void neighbour_forged(struct neighbour *n, struct mono now);
/* Are its updates to be ignored? */
bool neighbour_quarantined(const struct neighbour *n, struct mono now);

#endif
