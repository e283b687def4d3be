/*
 * pathstate: the paths that transportd has left: see pathstate.c.
 */
#ifndef ROUTERD_PATHSTATE_H
#define ROUTERD_PATHSTATE_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "proto/ipc.pb.h"

struct routerd;

struct pathstate {
	RB_ENTRY(pathstate) link;
	mesh_ipc_PathState said; /* as it was last told */
	uint64_t since_unix_ms;
	uint64_t via;  /* its first hop when it was left */
	uint32_t hops; /* 0: it was in the FIB no more */
	bool told;     /* watchers have heard that it was left */
};

RB_HEAD(pathstate_tree, pathstate);

int pathstate_init(struct routerd *d) MUST_USE;
void pathstate_fini(struct routerd *d);

/* What transportd tells of a path. */
void pathstate_told(struct routerd *d, const mesh_ipc_PathState *said);
/* transportd is gone; it tells again of the paths that it does not use. */
void pathstate_clear(struct routerd *d);
/* NULL: nothing is known against it. */
const struct pathstate *pathstate_get(struct routerd *d, uint64_t destination, uint32_t path_id);

/* "up", "slow", "suspect". */
const char *pathstate_name(mesh_ipc_PathStateCode state);

#endif
