/*
 * pg_server: a private PostgreSQL server for one test or benchmark: in a temporary directory, on a
 * Unix socket only, run by an unprivileged user, gone with its directory at the end.
 */
#ifndef TESTS_PG_SERVER_H
#define TESTS_PG_SERVER_H

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <postgresql/libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/must.h"

enum { PG_START_SECONDS = 60, PG_PATH_BYTES = 512 };

struct pg_server {
	char dir[64];
	char bin[PG_PATH_BYTES]; /* where initdb and postgres are */
	char conninfo[128];
	pid_t pid; /* of the postmaster; 0: not running */
};

static inline double
pg_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline void
pg_pause_ms(long ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

/* PostgreSQL refuses to run as root. */
static inline void
pg_become_unprivileged(void)
{
	const struct passwd *pw;

	if (geteuid() != 0)
		return;
	pw = getpwnam("postgres");
	if (pw == NULL)
		pw = getpwnam("nobody");
	MUST(pw != NULL && setgroups(0, NULL) == 0 && setgid(pw->pw_gid) == 0 && setuid(pw->pw_uid) == 0);
}

static inline bool
pg_find_bin(struct pg_server *s)
{
	glob_t g;
	bool found = glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &g) == 0 && g.gl_pathc > 0;

	if (found) {
		snprintf(s->bin, sizeof(s->bin), "%s", g.gl_pathv[g.gl_pathc - 1]);
		*strrchr(s->bin, '/') = '\0';
	}
	globfree(&g);
	return found;
}

/* Runs a program as the server's user, its output in DIR/log. */
static inline pid_t
pg_spawn(const struct pg_server *s, const char *program, char *const argv[])
{
	char path[PG_PATH_BYTES + 32], log[80];
	pid_t pid;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", s->bin, program);
	snprintf(log, sizeof(log), "%s/log", s->dir);
	pid = fork();
	MUST(pid != -1);
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pg_become_unprivileged();
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd == -1 || chdir(s->dir) == -1)
		_exit(126);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	/* By it they find their own directory, and each other. */
	setenv("PATH", s->bin, 1);
	execv(path, argv);
	_exit(127);
}

static inline void
pg_show_log(const struct pg_server *s)
{
	char command[128];

	snprintf(command, sizeof(command), "tail -20 %s/log >&2", s->dir);
	(void)!system(command);
}

/* Starts the server and waits until it takes connections; extra: one more setting, or NULL. */
static inline void
pg_server_start(struct pg_server *s, const char *extra)
{
	char data[80], sockets[128];
	char *argv[] = {(char[]){"postgres"}, (char[]){"-D"}, data, (char[]){"-c"},
	    (char[]){"listen_addresses="}, (char[]){"-c"}, sockets, (char[]){"-c"},
	    (char[]){"max_wal_size=4GB"}, (char[]){"-c"}, (char[]){"shared_buffers=128MB"},
	    extra != NULL ? (char[]){"-c"} : NULL, (char *)(uintptr_t)extra, NULL};
	double deadline = pg_seconds() + PG_START_SECONDS;

	snprintf(data, sizeof(data), "%s/data", s->dir);
	snprintf(sockets, sizeof(sockets), "unix_socket_directories=%s", s->dir);
	s->pid = pg_spawn(s, "postgres", argv);
	while (PQping(s->conninfo) != PQPING_OK) {
		/* After a crash it refuses to start as long as an old backend lives. */
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
			s->pid = pg_spawn(s, "postgres", argv);
		if (pg_seconds() > deadline)
			pg_show_log(s);
		MUST(pg_seconds() < deadline);
		pg_pause_ms(5);
	}
}

/* A new cluster, not started. */
static inline void
pg_server_init(struct pg_server *s)
{
	char data[80];
	char *argv[] = {(char[]){"initdb"}, (char[]){"-D"}, data, (char[]){"-U"}, (char[]){"mesh"},
	    (char[]){"-A"}, (char[]){"trust"}, (char[]){"-E"}, (char[]){"UTF8"}, (char[]){"--no-locale"},
	    (char[]){"-N"}, NULL};
	int status;
	pid_t pid;

	*s = (struct pg_server){.dir = "/tmp/mesh-pg-XXXXXX"};
	MUST(pg_find_bin(s) && mkdtemp(s->dir) != NULL);
	/* Its user has to get in; what is inside is its own. */
	MUST(chmod(s->dir, geteuid() == 0 ? 0777 : 0700) == 0);
	snprintf(data, sizeof(data), "%s/data", s->dir);
	snprintf(s->conninfo, sizeof(s->conninfo), "host=%s user=mesh dbname=postgres", s->dir);
	pid = pg_spawn(s, "initdb", argv);
	MUST(waitpid(pid, &status, 0) == pid);
	if (status != 0)
		pg_show_log(s);
	MUST(status == 0);
}

/* Stops it: SIGINT aborts transactions in an orderly way, SIGQUIT is a crash. */
static inline void
pg_server_stop(struct pg_server *s, int sig)
{
	if (s->pid == 0)
		return;
	kill(s->pid, sig);
	MUST(waitpid(s->pid, NULL, 0) == s->pid);
	s->pid = 0;
}

/* SIGKILL for the postmaster, and then for what it had started, as far as it still runs. */
static inline void
pg_server_kill(struct pg_server *s)
{
	char path[64], children[4096] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", s->pid, s->pid);
	f = fopen(path, "r");
	if (f != NULL) {
		children[fread(children, 1, sizeof(children) - 1, f)] = '\0';
		fclose(f);
	}
	pg_server_stop(s, SIGKILL);
	for (char *p = children, *end; (errno = 0, strtol(p, &end, 10)) > 0; p = end)
		kill((pid_t)strtol(p, NULL, 10), SIGKILL);
}

static inline void
pg_server_fini(struct pg_server *s)
{
	char command[128];

	pg_server_stop(s, SIGINT);
	snprintf(command, sizeof(command), "rm -rf %s", s->dir);
	MUST(strncmp(s->dir, "/tmp/mesh-pg-", 13) == 0);
	(void)!system(command);
}

#endif
