/*
 * redis_server: a Redis server of a test's own, on a Unix socket in a temporary directory.
 */
#ifndef TESTS_UNIT_CONSENSUSD_REDIS_SERVER_H
#define TESTS_UNIT_CONSENSUSD_REDIS_SERVER_H

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct redis_server {
	char dir[32], path[64];
	pid_t pid; /* 0: it does not run */
};

static inline void
redis_server_init(struct redis_server *r)
{
	*r = (struct redis_server){.dir = "/tmp/mesh-redis-XXXXXX"};
	assert_non_null(mkdtemp(r->dir));
	assert_int_equal(chmod(r->dir, geteuid() == 0 ? 0777 : 0700), 0);
	snprintf(r->path, sizeof(r->path), "%.*s/redis.sock", (int)sizeof(r->dir) - 1, r->dir);
}

static inline void
redis_server_become_unprivileged(void)
{
	const struct passwd *pw = getpwnam("nobody");

	if (geteuid() == 0 &&
	    (pw == NULL || setgroups(0, NULL) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0))
		_exit(126);
}

/* Returns at once: whoever connects tries again until it is there. */
static inline void
redis_server_start(struct redis_server *r)
{
	int fd;

	r->pid = fork();
	assert_int_not_equal(r->pid, -1);
	if (r->pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	redis_server_become_unprivileged();
	fd = open("/dev/null", O_WRONLY);
	dup2(fd, STDOUT_FILENO);
	execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", r->path, "--dir", r->dir,
	    "--save", "", "--appendonly", "no", (char *)NULL);
	_exit(127);
}

static inline void
redis_server_kill(struct redis_server *r)
{
	if (r->pid == 0)
		return;
	kill(r->pid, SIGKILL);
	assert_int_equal(waitpid(r->pid, NULL, 0), r->pid);
	r->pid = 0;
}

static inline void
redis_server_fini(struct redis_server *r)
{
	redis_server_kill(r);
	unlink(r->path);
	assert_int_equal(rmdir(r->dir), 0);
}

/* The first line of what redis-cli says, as a number. */
static inline long
redis_server_cli(const struct redis_server *r, int db, const char *command)
{
	char line[1024], out[256] = "";
	FILE *f;

	snprintf(line, sizeof(line), "redis-cli -n %d -s %s %s", db, r->path, command);
	f = popen(line, "r");
	assert_non_null(f);
	(void)!fgets(out, sizeof(out), f);
	pclose(f);
	return strtol(out, NULL, 10);
}

#endif
