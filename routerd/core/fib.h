/*
 * fib: the routes as transportd has them, or will have with the next whole FIB.
 *
 * Each path computation goes fib_begin(), fib_put() for each destination, fib_end(), which tells what
 * changed.  A path's id is derived from its hops: the same path has the same id after a restart.
 */
#ifndef ROUTERD_CORE_FIB_H
#define ROUTERD_CORE_FIB_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/spf.h"

struct fib_route {
	RB_ENTRY(fib_route) link;
	uint64_t destination;
	uint64_t version; /* of the FIB when it last changed */
	uint32_t path_id;
	bool fresh; /* put since fib_begin() */
	struct spf_path path;
};

RB_HEAD(fib_tree, fib_route);

struct fib {
	struct fib_tree tree;
	size_t count;
	uint64_t version; /* raised by each computation that changes something */
	bool raised;      /* since fib_begin() */
};

enum fib_change {
	FIB_SAME,
	FIB_ADDED,
	FIB_COST, /* the same hops, at another cost */
	FIB_CHANGED,
};

void fib_init(struct fib *f);
void fib_fini(struct fib *f);
void fib_begin(struct fib *f);
/* Puts a route.  *out is borrowed until fib_end().  ERR_NOMEM: the old route, if any, stays. */
int fib_put(struct fib *f, uint64_t destination, const struct spf_path *path, enum fib_change *change,
    struct fib_route **out) MUST_USE;
/* Calls fn for each route that was not put again, and removes it. */
void fib_end(struct fib *f, void (*fn)(void *arg, const struct fib_route *gone), void *arg);

const struct fib_route *fib_get(struct fib *f, uint64_t destination);
/* The first at or after this destination; NULL at the end. */
const struct fib_route *fib_from(struct fib *f, uint64_t destination);
const struct fib_route *fib_next(struct fib *f, const struct fib_route *r);

#endif
