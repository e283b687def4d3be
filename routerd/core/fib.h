/*
 * fib: the routes as transportd has them, or will have with the next whole FIB.
 *
 * For each destination and profile of costs there are up to ROUTE_PATHS_MAX paths, the one to prefer
 * first; a path's weight is its share of the traffic, in proportion to 1/cost.  A path's id is derived
 * from its hops: the same path has the same id after a restart.
 *
 * Each computation of all paths goes fib_begin(), fib_set() or fib_keep() for each destination, fib_end(),
 * which tells what is gone; one of a few fib_turn(), fib_set().
 *
 * Destinations whose alternatives have to be computed wait in two queues; a route is in one at most.
 */
#ifndef ROUTERD_CORE_FIB_H
#define ROUTERD_CORE_FIB_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/cost.h"
#include "routerd/core/spf.h"

enum {
	FIB_WEIGHT_MAX = 1000,
	/* Weights follow costs when one of them is off by more: measurements everywhere in the mesh would
	 * make transportd's whole table change all the time. */
	FIB_WEIGHT_SLACK_PERCENT = 5,
};

struct fib_path {
	uint32_t path_id; /* never 0 */
	uint32_t weight;  /* 1 to FIB_WEIGHT_MAX, which the cheapest has */
	struct spf_path path;
};

/* The paths of one profile. */
struct fib_paths {
	uint64_t version; /* of the FIB when they last changed */
	uint32_t count, cap;
	struct fib_path path[];
};

enum fib_queue { FIB_IDLE, FIB_URGENT, FIB_BACKGROUND };

struct fib_route {
	RB_ENTRY(fib_route) link;
	TAILQ_ENTRY(fib_route) queued;
	uint64_t destination;
	uint8_t queue;                              /* enum fib_queue */
	bool fresh;                                 /* since fib_begin() */
	bool used;                                  /* data is sent to it: it is first in queues */
	struct fib_paths *paths[COST_PROFILES_MAX]; /* by profile; NULL: none yet */
};

RB_HEAD(fib_tree, fib_route);
TAILQ_HEAD(fib_route_list, fib_route);

struct fib {
	struct fib_tree tree;
	struct fib_route_list urgent, background;
	size_t count;
	size_t paths;     /* of all routes and profiles */
	size_t waiting;   /* routes in queues */
	uint64_t version; /* raised by each computation that changes something */
	bool raised;      /* since fib_begin() or fib_turn() */
};

enum fib_change {
	FIB_SAME, /* or with costs that make little difference: they are noted here only */
	FIB_ADDED,
	FIB_COST,         /* the same paths with other weights */
	FIB_ALTERNATIVES, /* the same first path, others behind it */
	FIB_CHANGED,      /* another first path */
};

void fib_init(struct fib *f);
void fib_fini(struct fib *f);
void fib_begin(struct fib *f);
void fib_turn(struct fib *f);
/* The route to a destination, a new one if there is none: it has no paths.  NULL when memory is out. */
struct fib_route *fib_add(struct fib *f, uint64_t destination) MUST_USE;
/* The route stays as it is. */
void fib_keep(struct fib_route *r);
/* Sets the paths of a profile, at least one.  ERR_NOMEM: the old ones stay; not if there are no more than
 * before. */
int fib_set(struct fib *f, struct fib_route *r, size_t profile, const struct spf_path *paths, size_t count,
    enum fib_change *change) MUST_USE;
/* Calls fn for each route that was neither set nor kept, and removes it. */
void fib_end(struct fib *f, void (*fn)(void *arg, const struct fib_route *gone), void *arg);

const struct fib_route *fib_get(struct fib *f, uint64_t destination);
/* The same, to be changed. */
struct fib_route *fib_find(struct fib *f, uint64_t destination);
/* The first at or after this destination; NULL at the end. */
const struct fib_route *fib_from(struct fib *f, uint64_t destination);
const struct fib_route *fib_next(struct fib *f, const struct fib_route *r);

/* Puts the route at the end of a queue, one that is used before all others.  One that waits in the background
 * may become urgent; otherwise it keeps its place. */
void fib_queue(struct fib *f, struct fib_route *r, enum fib_queue queue);
/* All routes that are in no queue wait in the background, used ones before others. */
void fib_queue_all(struct fib *f);
void fib_unqueue(struct fib *f, struct fib_route *r);
/* The first urgent one, else the first of the others, or NULL. */
struct fib_route *fib_waiting(struct fib *f);

#endif
