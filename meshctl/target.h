/*
 * target: which node is meant: the control socket from -s, MESH_SOCKET, -c, or the system's mesh.conf.
 */
#ifndef MESHCTL_TARGET_H
#define MESHCTL_TARGET_H

#include <stddef.h>

#include "common/base/must.h"

struct ctl;

#define TARGET_CONF_DEFAULT "/etc/mesh/mesh.conf"

enum { TARGET_PATH_SIZE = 108 }; /* of a Unix socket */

/* The path of the control socket.  An exit_code; errors are printed. */
int target_find(const struct ctl *ctl, char out[TARGET_PATH_SIZE]) MUST_USE;

/* A connected descriptor into *fd.  An exit_code; with quiet, an unreachable node is not reported. */
int target_connect(const char *path, int quiet, int *fd) MUST_USE;

#endif
