/*
 * sync: getting everything that a neighbour's database has and ours has not.
 *
 * We ASK for its DIGEST from a node id on, REQUEST what is newer there, wait until that is here, and go
 * on behind the digest's range, to the end.  Each side does this for itself.  On a new adjacency it is
 * done before the adjacency is advertised, and repeated until it is answered; later it is done from
 * time to time as a check, which is given up after SYNC_CHECK_TRIES.
 */
#ifndef ROUTERD_CORE_SYNC_H
#define ROUTERD_CORE_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "routerd/core/linkstate.h"

struct lsdb;

struct sync {
	bool synced; /* what the neighbour had when the adjacency came up is here */
	bool active;
	uint64_t first;      /* the range being compared starts here */
	uint64_t last;       /* and ends here, once its digest has come */
	struct lsa_id *need; /* what is wanted of the range; DIGEST_IDS_MAX, or NULL */
	size_t need_count;
	struct mono due; /* to ask or request, again */
	unsigned tries;
	bool answer; /* the neighbour asked this: */
	struct linkstate_ask asked;
};

enum sync_result {
	SYNC_NOTHING,
	SYNC_FINISHED, /* the neighbour's whole database is here */
};

void sync_init(struct sync *s);
void sync_fini(struct sync *s);
/* Begins a comparison, unless one is going on. */
void sync_start(struct sync *s, struct mono now);
/* The neighbour asked for our digest: sync_write() will answer. */
void sync_asked(struct sync *s, const struct linkstate_ask *ask, struct mono now);
/* A digest came; ones that were not asked for are ignored. */
enum sync_result sync_digest(
    struct sync *s, const struct linkstate_msg *m, struct lsdb *db, struct mono now) MUST_USE;
/* LSAs came: crosses off what is here now, and goes on when that was all. */
enum sync_result sync_settle(struct sync *s, struct lsdb *db, struct mono now) MUST_USE;
/* This node's LSA will not be had: don't wait for it. */
void sync_refused(struct sync *s, uint64_t node);
/* Writes the answer, question or request that is due.  *given_up counts what SYNC_NEED_TRIES ended. */
enum sync_result sync_write(struct sync *s, struct lsdb *db, struct linkstate_writer *w, int64_t rto_us,
    struct mono now, uint64_t *given_up) MUST_USE;
struct mono sync_next(const struct sync *s);

#endif
