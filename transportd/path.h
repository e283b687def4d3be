/*
 * path: what this node has on its way on each path, and what the far ends tell of it (core/pathwin.h).
 *
 * The paths that client data was sent on, and the others to the same destinations, as the FIB has them.
 * Which one is used, and whether the destination is held, is decided in reroute.h.
 */
#ifndef TRANSPORTD_PATH_H
#define TRANSPORTD_PATH_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "transportd/core/avoid.h"
#include "transportd/core/pathhealth.h"
#include "transportd/core/pathwin.h"

struct frame;
struct loop_timer;
struct spread;
struct transport;

enum { PATH_BUCKETS = 512 };

struct path {
	LIST_ENTRY(path) entry; /* of its destination */
	TAILQ_ENTRY(path) order;
	struct transport *t;
	struct path_dst *d;
	uint64_t first; /* neighbour */
	uint8_t class;  /* a class that it is installed for, client if it is for that */
	struct pathwin w;
	struct pathhealth health;
	int64_t credit; /* spread.h */
	uint32_t flow;  /* of the last frame: an ask travels behind it */
	struct mono used;
	bool carried;   /* client data was sent on it */
	bool to_report; /* its state has changed since routerd was told */
	struct mono reported;
	struct loop_timer *timer;
	struct mono armed; /* what it is set to */
};

LIST_HEAD(path_siblings, path);
TAILQ_HEAD(path_list, path);

/* A destination with its paths: it has one at least. */
struct path_dst {
	LIST_ENTRY(path_dst) entry;
	LIST_ENTRY(path_dst) held_entry;
	uint64_t dst;
	struct path_siblings paths;
	bool held;           /* consensusd was told so: no path has room */
	struct mono used;    /* when client data was last sent to it */
	struct mono unheard; /* when it last said so */
};

LIST_HEAD(path_bucket, path_dst);

struct paths {
	struct path_bucket buckets[PATH_BUCKETS];
	struct path_bucket held;
	struct path_list all; /* the one unused for longest first */
	size_t count;
	struct pathrx *rx;
	struct spread *spread;
	struct avoid avoid;
};

int paths_init(struct paths *p) MUST_USE;
void paths_fini(struct paths *p);

/* NULL: nothing was sent to it. */
struct path_dst *path_dst_get(const struct paths *ps, uint64_t dst);
struct path *path_get(const struct path_dst *d, uint32_t path_id);
/* The path, new if it is not known; NULL if it is not in the FIB, or there is no memory. */
struct path *path_make(struct transport *t, uint64_t dst, uint32_t path_id);
/* Makes the paths of the FIB to a destination that data is sent to, so that they are known to work. */
void path_others(struct transport *t, uint64_t dst);
/* Was client data sent on it a short while ago? */
bool path_in_use(const struct path *p, struct mono now);
/* Sees to it that the path's timer goes off when it has to. */
void path_arm(struct path *p);

/* A frame of class client of ours was queued to dst. */
void path_sent(struct transport *t, uint64_t dst, const struct frame *f);
/* A frame of class client for this node arrived. */
void path_received(struct transport *t, const struct frame *f, size_t size);
/* A PATH_FEEDBACK frame for this node arrived. */
void path_feedback(struct transport *t, const struct frame *f, uint64_t from);
/* The configuration has changed. */
void paths_retune(struct transport *t);

#endif
