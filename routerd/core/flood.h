/*
 * flood: what one neighbour still has to be told: updates until it acknowledges them, and
 * acknowledgements of its own.
 *
 * An update is kept as the node's id: what goes out, also again, is the newest LSA of that node.
 */
#ifndef ROUTERD_CORE_FLOOD_H
#define ROUTERD_CORE_FLOOD_H

#include <bsd/sys/tree.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/mono.h"
#include "common/base/must.h"

struct linkstate_writer;
struct lsa_id;
struct lsdb;

struct flood_item {
	RB_ENTRY(flood_item) link;
	uint64_t node;
	struct mono due;
	int64_t rto_us; /* 0: not sent yet */
};

RB_HEAD(flood_tree, flood_item);

struct flood {
	struct flood_tree tree;
	size_t count;
	struct mono due;       /* nothing is due before this */
	struct mono items_due; /* nor any update before this */
	struct buf acks;       /* encoded ids */
};

void flood_init(struct flood *f);
void flood_fini(struct flood *f);
/* The neighbour shall have this node's LSA, now.  ERR_NOMEM. */
int flood_push(struct flood *f, uint64_t node, struct mono now) MUST_USE;
/* The neighbour has this LSA: no need to send it, nor an older one. */
void flood_has(struct flood *f, struct lsdb *db, const struct lsa_id *id);
/* Acknowledges an LSA; ERR_LIMIT or ERR_NOMEM: the neighbour will send it again. */
int flood_ack(struct flood *f, const struct lsa_id *id, struct mono now) MUST_USE;

/* Writes what is due; how many updates were written, and how many of them again. */
struct flood_written {
	uint32_t updates, again;
};
struct flood_written flood_write(
    struct flood *f, struct lsdb *db, struct linkstate_writer *w, int64_t rto_us, struct mono now);

#endif
