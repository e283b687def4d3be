/* target: see target.h. */
#include "meshctl/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/os/conf.h"
#include "meshctl/command.h"
#include "meshctl/out.h"

static int
copy_path(const char *path, char out[TARGET_PATH_SIZE])
{
	if (snprintf(out, TARGET_PATH_SIZE, "%s", path) < TARGET_PATH_SIZE)
		return CODE_OK;
	out_error("%s: longer than the path of a Unix socket may be", path);
	return CODE_USAGE;
}

/* The socket in the runtime directory that mesh.conf names. */
static int
from_conf(const char *file, char out[TARGET_PATH_SIZE])
{
	struct conf *c = conf_load(file, NULL, stderr);
	char path[4096];
	int code;

	if (c == NULL) {
		out_error("%s: no node can be found with it; -s SOCKET names one directly", file);
		return CODE_FAILED;
	}
	snprintf(path, sizeof(path), "%s/gatewayd.sock", conf_str(c, "mesh", "runtime-dir"));
	code = copy_path(path, out);
	conf_free(c);
	return code;
}

int
target_find(const struct ctl *ctl, char out[TARGET_PATH_SIZE])
{
	const char *env = getenv("MESH_SOCKET");

	if (ctl->socket != NULL)
		return copy_path(ctl->socket, out);
	if (ctl->conf_path != NULL)
		return from_conf(ctl->conf_path, out);
	if (env != NULL && env[0] != '\0')
		return copy_path(env, out);
	if (access(TARGET_CONF_DEFAULT, R_OK) == 0)
		return from_conf(TARGET_CONF_DEFAULT, out);
	return copy_path("/run/mesh/gatewayd.sock", out);
}

static const char *
advice(int err)
{
	switch (err) {
	case ENOENT:
		return "is gatewayd running, and is it this node? -s SOCKET or -c mesh.conf name another";
	case ECONNREFUSED:
		return "gatewayd is not running: start it, or see its log for why it ended";
	case EACCES:
		return "this user may not talk to the node: try as root or as the node's user";
	default:
		return "the node cannot be reached";
	}
}

int
target_connect(const char *path, int quiet, int *fd)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (s < 0) {
		out_error("socket: %s", strerror(errno));
		return CODE_FAILED;
	}
	memcpy(to.sun_path, path, strlen(path) + 1);
	if (connect(s, (struct sockaddr *)&to, sizeof(to)) == 0) {
		*fd = s;
		return CODE_OK;
	}
	if (!quiet || errno == EACCES)
		out_error("%s: %s (%s)", path, strerror(errno), advice(errno));
	close(s);
	return CODE_UNREACHABLE;
}
