/*
 * sandbox: privilege drop, Landlock and seccomp, in this order, for every daemon.
 *
 * A daemon's sandbox is a reviewed table: one row per system call with a reason.  Calls that
 * libraries probe are answered EACCES; all others kill the process (SECCOMP_RET_KILL_PROCESS).
 * A sandbox that can't be had is an error, and the daemon refuses to start.
 */
#ifndef COMMON_OS_SANDBOX_H
#define COMMON_OS_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum sandbox_action { SANDBOX_ALLOW, SANDBOX_EACCES };

/* Argument rule: (args[arg] & mask) == value; SANDBOX_ANY: no rule.  Several rows of one call: any of
 * them.  For an int argument the mask is UINT32_MAX at most. */
enum { SANDBOX_ANY = -1 };

struct sandbox_call {
	const char *name; /* as libseccomp resolves it */
	enum sandbox_action action;
	int arg; /* argument number or SANDBOX_ANY */
	uint64_t mask, value;
	const char *reason;
};

#define SANDBOX_CALL(n, why)                                                                                 \
	{                                                                                                    \
		(n), SANDBOX_ALLOW, SANDBOX_ANY, 0, 0, (why)                                                 \
	}
#define SANDBOX_CALL_IF(n, a, m, v, why)                                                                     \
	{                                                                                                    \
		(n), SANDBOX_ALLOW, (a), (m), (v), (why)                                                     \
	}
#define SANDBOX_PROBE(n, why)                                                                                \
	{                                                                                                    \
		(n), SANDBOX_EACCES, SANDBOX_ANY, 0, 0, (why)                                                \
	}

/* Rows that every daemon needs (memory, event loop, clocks, exit, channels); ends with name NULL. */
extern const struct sandbox_call sandbox_common[];
#ifdef MESH_SANITIZED
/* Rows that the sanitizers' run time needs, in builds with it only. */
extern const struct sandbox_call sandbox_sanitizer[];
#endif

enum sandbox_access {
	SANDBOX_READ = 1,  /* files and directories below may be read */
	SANDBOX_WRITE = 2, /* files may be created, written, removed, renamed */
};

enum { SANDBOX_PATHS_MAX = 32, SANDBOX_PORTS_MAX = 16 };

struct sandbox_path {
	const char *path;
	unsigned access;
};

struct sandbox {
	const struct sandbox_call *calls; /* beside sandbox_common; ends with name NULL */
	struct sandbox_path paths[SANDBOX_PATHS_MAX];
	size_t path_count;
	bool tcp_bind, tcp_connect; /* false: Landlock denies it where the kernel can */
	bool trap;                  /* SIGSYS instead of kill: for developers (-T) */
};

/* Sets groups, gid and uid to user's (needs root), clears capabilities, sets no_new_privs, forbids core
 * dumps and ptrace.  user NULL or not root: skips the switch, does the rest.  0, ERR_NOENT, ERR_DENIED. */
int sandbox_drop(const char *user) MUST_USE;
/* Landlock, then seccomp.  ERR_UNAVAIL with a logged reason if either can't be had. */
int sandbox_enter(const struct sandbox *s) MUST_USE;
/* Adds a path (borrowed until sandbox_enter(), where it must exist); ERR_FULL. */
int sandbox_allow_path(struct sandbox *s, const char *path, unsigned access) MUST_USE;

/* The two layers that sandbox_enter() puts on, in this order; ERR_UNAVAIL with a logged reason. */
int sandbox_landlock(const struct sandbox *s) MUST_USE;
int sandbox_seccomp(const struct sandbox *s) MUST_USE;
/* Whether sandbox_enter() has succeeded. */
bool sandbox_entered(void);

#endif
