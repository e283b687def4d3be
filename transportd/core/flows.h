/*
 * flows: the streams and tenants that frames on one link belong to, and how many bytes each has queued.
 *
 * A stream stays known when nothing of it waits, so that it keeps its lane; the one idle for longest
 * gives way when LINK_FLOWS_MAX are known.  If none is idle, further streams are the crowd: they
 * are told apart by a few bits of a hash, each of which has a lane and a quota like a stream, so that
 * the frames of one stream stay in order there too.
 */
#ifndef TRANSPORTD_CORE_FLOWS_H
#define TRANSPORTD_CORE_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/tree.h"
#include "transportd/core/frameq.h"
#include "transportd/core/keytab.h"

enum { FLOW_NO_LANE = 255, FLOWS_CROWD = 64 };

struct flow;

/* Frames that take turns with others of a lane. */
struct turn {
	TAILQ_ENTRY(turn) entry; /* in the lane's round, or among the idle ones */
	struct frameq q;
	struct flow *flow; /* whose frames they are; NULL: of many, each record says of whom */
	uint32_t deficit;
	bool served; /* has got its quantum for this round */
};

TAILQ_HEAD(turns, turn);

/* Bytes that wait on all lanes for a stream, or for a part of the crowd. */
struct account {
	size_t bytes;
	struct flow *flow; /* NULL: crowd */
	uint8_t lane;      /* pinned to; of the crowd: only while bytes wait */
};

struct tenant {
	struct keytab_node node;
	size_t bytes;
};

struct flow {
	struct keytab_node node;
	struct account account;
	struct tenant *tenant; /* while bytes wait */
	struct turn turn;
};

struct flows {
	struct keytab known, tenants;
	struct turns idle; /* the one idle for longest first */
	struct flow *last; /* the one looked up last: frames of a stream come in runs */
	struct tenant *spare;
	struct account crowd[FLOWS_CROWD];
};

void flows_init(struct flows *fl, uint64_t seed);
/* Frees what waits in the streams' own turns too. */
void flows_fini(struct flows *fl, struct frameq_pool *pool);

/* The stream of a node of `known`. */
struct flow *flows_of(struct keytab_node *n);
/* NULL: not known. */
struct flow *flows_get(struct flows *fl, uint64_t src, uint32_t id) MUST_USE;
/* Makes a stream known that is not; it has no lane yet.  *out is NULL if there is no room. ERR_NOMEM. */
int flows_add(struct flows *fl, uint64_t src, uint32_t id, struct flow **out) MUST_USE;
/* What a stream that is not known is counted on. */
struct account *flows_crowd(struct flows *fl, uint64_t src, uint32_t id);
/* Whatever is pinned to a lane is pinned to the other. */
void flows_move(struct flows *fl, uint8_t from, uint8_t to);

/* The tenant of a stream (f: if it is known); NULL: nothing of it waits. */
struct tenant *flows_tenant(const struct flows *fl, const struct flow *f, uint64_t src, uint32_t id);
/* A new one, to be counted on or dropped.  NULL: no memory. */
struct tenant *flows_tenant_add(struct flows *fl, uint64_t src, uint32_t id) MUST_USE;
/* Forgets a tenant of which nothing waits. */
void flows_tenant_drop(struct flows *fl, struct tenant *t);

/* Bytes come and go. */
void flows_count(struct flows *fl, struct account *a, struct tenant *t, size_t bytes);
void flows_uncount(struct flows *fl, struct account *a, struct tenant *t, size_t bytes);

size_t flows_memory(const struct flows *fl);

#endif
