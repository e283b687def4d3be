/*
 * broadcast: what is sent to all nodes: how long to wait, and what became of it, in words and as exit_code.
 */
#ifndef MESHCTL_BROADCAST_H
#define MESHCTL_BROADCAST_H

#include <jansson.h>
#include <pb.h>
#include <stdbool.h>

#include "common/base/must.h"
#include "proto/mesh.pb.h"

struct args;
struct buf;
struct ctl;

/* A row for the lists of options of commands that wait. */
#define BROADCAST_OPTION_WAIT                                                                                \
	{                                                                                                    \
		"wait", 'w', "FOR",                                                                          \
		    "until it is committed (default), applied by a quorum or by all, or none: accepted"      \
	}

/* What --wait and --timeout say.  The node gets the time, meshctl waits some longer.  An exit_code; errors
 * are printed. */
int broadcast_wait(struct ctl *ctl, const struct args *a, mesh_v1_BroadcastWait *out) MUST_USE;

/* One call that needs consensus, as fetch_pb(); but a node or daemon that is away after the call began, or
 * that has no quorum, is CODE_UNCOMMITTED. */
int broadcast_call(const struct ctl *ctl, const char *method, const pb_msgdesc_t *fields, const void *request,
    json_t *(*make)(const struct buf *), json_t **out) MUST_USE;

/* What an update is called, and how it can be sent again. */
struct broadcast_update {
	const char *method;
	const pb_msgdesc_t *fields;
	const void *request;
	const char *update_id; /* NULL: it has none, and its index is the version of a node's update */
};

/* Sends an update and prints what became of it.  CODE_OK, CODE_PENDING, CODE_UNCOMMITTED or another
 * exit_code. */
int broadcast_send(const struct ctl *ctl, const struct broadcast_update *u) MUST_USE;

#endif
