/*
 * path: what this node has on its way on each path, and what the far ends tell of it (core/pathwin.h).
 *
 * A destination whose path has a full window is held: consensusd sends it no more until the far end has
 * made room.
 */
#ifndef TRANSPORTD_PATH_H
#define TRANSPORTD_PATH_H

#include <bsd/sys/queue.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "transportd/core/pathwin.h"

struct frame;
struct loop_timer;
struct transport;

enum { PATH_BUCKETS = 512 };

struct path {
	LIST_ENTRY(path) entry;
	TAILQ_ENTRY(path) order;
	struct transport *t;
	uint64_t dst;
	struct pathwin w;
	uint32_t flow; /* of the last frame: an ask travels behind it */
	bool held;
	struct mono used;
	struct loop_timer *timer;
	struct mono armed; /* what it is set to */
};

LIST_HEAD(path_bucket, path);
TAILQ_HEAD(path_list, path);

struct paths {
	struct path_bucket buckets[PATH_BUCKETS];
	struct path_list all; /* the one unused for longest first */
	size_t count;
	struct pathrx *rx;
};

int paths_init(struct paths *p) MUST_USE;
void paths_fini(struct paths *p);

/* A frame of class client of ours was queued to dst. */
void path_sent(struct transport *t, uint64_t dst, const struct frame *f);
/* A frame of class client for this node arrived. */
void path_received(struct transport *t, const struct frame *f, size_t size);
/* A PATH_FEEDBACK frame for this node arrived. */
void path_feedback(struct transport *t, const struct frame *f);
/* consensusd has restarted: it holds nothing. */
void paths_reset(struct transport *t);
/* The configuration has changed. */
void paths_retune(struct transport *t);

#endif
