/* sandbox_seccomp: the system call filter (the only file that includes libseccomp's header). */
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "common/os/sandbox.h"

static int
row_add(scmp_filter_ctx f, const struct sandbox_call *c)
{
	uint32_t action = c->action == SANDBOX_ALLOW ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EACCES);
	int nr = seccomp_syscall_resolve_name(c->name);

	if (nr == __NR_SCMP_ERROR)
		return -ENOSYS;
	if (c->arg == SANDBOX_ANY)
		return seccomp_rule_add(f, action, nr, 0);
	return seccomp_rule_add(
	    f, action, nr, 1, SCMP_CMP((unsigned)c->arg, SCMP_CMP_MASKED_EQ, c->mask, c->value));
}

static int
table_add(scmp_filter_ctx f, const struct sandbox_call *calls)
{
	for (; calls != NULL && calls->name != NULL; calls++) {
		int r = row_add(f, calls);

		if (r != 0) {
			log_error("sandbox: system call %s: %s", calls->name, strerror(-r));
			return ERR_UNAVAIL;
		}
	}
	return 0;
}

/* Developers only: names the call, so that it can be argued about, and ends the process as the kill would. */
static void
on_sigsys(int sig, siginfo_t *info, void *context)
{
	char text[128];
	char *name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), info->si_syscall);
	int n = snprintf(text, sizeof(text), "sandbox: system call %s (%d) is not in the table\n",
	    name != NULL ? name : "?", info->si_syscall);

	(void)context;
	(void)!write(STDERR_FILENO, text, (size_t)n);
	_exit(128 + sig);
}

static void
trap_install(void)
{
	struct sigaction sa = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};

	sigemptyset(&sa.sa_mask);
	sigaction(SIGSYS, &sa, NULL);
	log_warn("sandbox: forbidden system calls trap instead of killing (-T): for developers only");
}

static int
filter_load(scmp_filter_ctx f, const struct sandbox *s)
{
	int e;

	if (table_add(f, sandbox_common) != 0 || table_add(f, s->calls) != 0)
		return ERR_UNAVAIL;
#ifdef MESH_SANITIZED
	if (table_add(f, sandbox_sanitizer) != 0)
		return ERR_UNAVAIL;
#endif
	/* A binary tree instead of a list; a library without the attribute makes the same filter, slower. */
	(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	e = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	if (e == 0)
		e = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (e == 0)
		e = seccomp_load(f);
	if (e == 0)
		return 0;
	log_error("sandbox: seccomp: %s; this kernel can't run the daemon safely "
		  "(CONFIG_SECCOMP_FILTER is needed)",
	    strerror(-e));
	return ERR_UNAVAIL;
}

int
sandbox_seccomp(const struct sandbox *s)
{
	scmp_filter_ctx f = seccomp_init(s->trap ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS);
	int r;

	if (f == NULL) {
		log_error("sandbox: seccomp: out of memory");
		return ERR_UNAVAIL;
	}
	if (s->trap)
		trap_install();
	r = filter_load(f, s);
	seccomp_release(f);
	return r;
}
