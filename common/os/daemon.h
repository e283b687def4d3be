/*
 * daemon: the checklist that every main() of the suite runs, in this order:
 *
 *	options -> config (-n: check, print normalised, exit) -> open what needs rights -> drop to its
 *	user -> Landlock -> seccomp -> start -> READY=1 -> loop -> stop -> fini in reverse
 *
 * Options, the same four times: -c FILE (config), -n (check and print), -d (log to the terminal at
 * debug level), -T (seccomp traps instead of killing: developers only), -V (version), -h.
 * Signals: TERM and INT stop, HUP reloads the configuration, PIPE is ignored.
 */
#ifndef COMMON_OS_DAEMON_H
#define COMMON_OS_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/must.h"
#include "common/os/loop.h"
#include "common/os/sandbox.h"

struct channel;
struct channel_conf;
struct channel_server;
struct conf;
struct edge;

enum {
	DAEMON_OK = 0,
	DAEMON_FAILED = 1, /* exit status: something went wrong, and the log says what */
	DAEMON_USAGE = 2,  /* options or configuration */
	DAEMON_USERS_MAX = 8,
	DAEMON_CONF_DIRS_MAX = 8,
};

/* Whom a section of mesh.conf runs as; looked up before the sandbox. */
struct daemon_user {
	const char *section;
	uid_t uid; /* (uid_t)-1: there is no such user */
	gid_t gid; /* its primary group */
};

struct daemon {
	const struct daemon_def *def;
	char *conf_path; /* absolute */
	/* The current one; replaced after a successful reload, and then gone: copy what you keep. */
	struct conf *conf;
	struct loop *loop;
	struct sandbox sandbox; /* open() adds paths */
	int listen_fd;          /* bound <runtime-dir>/<name>.sock; the daemon takes it over (sets -1) */
	char runtime_dir[96];
	struct daemon_user users[DAEMON_USERS_MAX];
	size_t user_count;
	/* Directories of the configuration's files: readable in the sandbox, for reloading. */
	char *conf_dirs[DAEMON_CONF_DIRS_MAX];
	size_t conf_dir_count;
	bool debug;    /* -d: the configuration's log level is ignored */
	bool stopping; /* asked to: nothing is configured any more */
	/* What daemon_overlay_set() was given last. */
	uint8_t *overlay;
	size_t overlay_len;
	struct loop_defer overlay_defer;
	void *ctx; /* the daemon's one context struct */
};

struct daemon_def {
	const char *name;    /* "transportd": section of mesh.conf, socket name, log name */
	const char *summary; /* one line for -h */
	const struct sandbox_call *calls;
	bool tcp_bind, tcp_connect;
	/* Makes the loop, before open; NULL: libevent.  transportd gives libwebsockets' loop. */
	struct loop *(*loop_new)(struct daemon *d);
	/* Before the drop: ports, keys, database sockets, child processes (which find TERM, INT and HUP
	 * blocked and PIPE ignored).  0 or an error (already logged). */
	int (*open)(struct daemon *d);
	/* In the sandbox, before the loop: channels, timers. */
	int (*start)(struct daemon *d);
	/* New configuration was read and checked; apply what can change.  d->conf is still the old one. */
	void (*configure)(struct daemon *d, const struct conf *fresh);
	/* After that, if it was HUP and not an overlay: read keys, certificates and tokens again. */
	void (*reload)(struct daemon *d, const struct conf *fresh);
	/* Asked to stop: begin an orderly end and call loop_stop() when done (NULL: stop at once). */
	void (*stop)(struct daemon *d);
	/* After the loop, in the sandbox; also called when open or start failed part way.  The loop is freed
	 * after it. */
	void (*fini)(struct daemon *d);
	/* Pets the watchdog only while this says true (NULL: always). */
	bool (*healthy)(struct daemon *d);
};

/* Runs the checklist; the process's exit status (0 ok, 1 runtime error, 2 usage or config). */
int daemon_main(const struct daemon_def *def, int argc, char **argv);

/* <runtime-dir>/<name>.sock of a sibling, into out. */
void daemon_socket_path(const struct daemon *d, const char *name, char *out, size_t size);
/* The uids of the daemons named (their `user` directives), for channel_server_allow. */
int daemon_allow_users(
    const struct daemon *d, struct channel_server *s, const char *const *sections) MUST_USE;

/* The same for one edge: of these users only the section's may speak it. */
int daemon_allow_edge(
    const struct daemon *d, struct channel_server *s, const struct edge *edge, const char *section) MUST_USE;
/* The uid of a section's user, (uid_t)-1 if there is none. */
uid_t daemon_user(const struct daemon *d, const char *section);
/* channel_connect() to a sibling, whose user is then the only one trusted at the other end (beside root
 * and our own).  NULL as there. */
struct channel *daemon_connect(
    const struct daemon *d, const char *sibling, const struct channel_conf *conf) MUST_USE;

/*
 * What the configuration that all nodes share says for the daemon's section (conf_overlay.h); copied.  If it
 * is another one than before the daemon is configured anew at the end of this turn of the loop, by reading
 * the configuration's files again.  If these are wrong the overlay waits for the next HUP.  Errors of
 * conf_overlay_valid(); ERR_NOMEM.
 */
int daemon_overlay_set(struct daemon *d, const uint8_t *body, size_t len) MUST_USE;

/* Version of the suite, from the build. */
extern const char mesh_version[];

#endif
