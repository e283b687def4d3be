/*
 * fib: the forwarding table that routerd fills.
 *
 * Per destination and traffic class up to FIB_PATHS_MAX paths, best first.  A snapshot is collected
 * beside the table in use and takes its place in one step; diffs change the table in use.  The table
 * stays in use while routerd is away.
 */
#ifndef TRANSPORTD_CORE_FIB_H
#define TRANSPORTD_CORE_FIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/frame.h"
#include "common/base/must.h"
#include "transportd/core/limits.h"

enum { FIB_HOPS_MAX = FRAME_VISIT_MAX + 1 };

struct fib_path {
	uint32_t path_id;
	uint32_t weight;
	uint32_t cost;
	uint8_t hop_count;           /* 1 to FIB_HOPS_MAX */
	uint64_t hops[FIB_HOPS_MAX]; /* from the first neighbour to the destination, both included */
};

/* The paths of one destination, shared by the classes that have the same. */
struct fib_paths {
	uint32_t refs;
	uint32_t count;
	uint64_t version;
	struct fib_path path[];
};

struct fib;

struct fib *fib_new(void) MUST_USE;
void fib_free(struct fib *f);

/* Begins a snapshot (a half one that was begun before is forgotten).  ERR_NOMEM. */
int fib_begin(struct fib *f) MUST_USE;
/* Puts the snapshot in use; ERR_STATE if none was begun. */
int fib_end(struct fib *f, uint64_t version) MUST_USE;
/* Forgets a half snapshot: routerd went away. */
void fib_abort(struct fib *f);

/*
 * Sets the paths to dst for the classes in class_mask, into the snapshot if one was begun, else into
 * the table in use.  Copies.  ERR_RANGE (dst 0, mask, path count, hops: each non-zero, the last one
 * dst), ERR_FULL (FIB_ROUTES_MAX), ERR_NOMEM.
 */
int fib_set(struct fib *f, uint64_t dst, uint32_t class_mask, uint64_t version, const struct fib_path *paths,
    size_t count) MUST_USE;
/* Removes dst from all classes; no matter if it is not there. */
void fib_del(struct fib *f, uint64_t dst);

/* Paths to dst, best first; NULL if there are none.  Borrowed until the next change. */
const struct fib_paths *fib_get(const struct fib *f, uint64_t dst, uint8_t class);
/* The path of that id; NULL: it is not among them. */
const struct fib_path *fib_paths_find(const struct fib_paths *p, uint32_t path_id);

size_t fib_count(const struct fib *f); /* destinations */
uint64_t fib_version(const struct fib *f);
/* Calls fn for each destination of the table in use with its paths of the class. */
void fib_each(const struct fib *f, uint8_t class,
    void (*fn)(void *arg, uint64_t dst, const struct fib_paths *p), void *arg);

#endif
