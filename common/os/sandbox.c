/* sandbox: dropping privileges, and putting the layers on in their order; see sandbox.h. */
#include "common/os/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/os/log.h"

static bool entered;

bool
sandbox_entered(void)
{
	return entered;
}

static int
fail(const char *what)
{
	log_error("dropping privileges: %s: %s", what, strerror(errno));
	return ERR_DENIED;
}

/* Needs CAP_SETPCAP, so it comes before the switch.  Where even root lacks that, no_new_privs alone
 * keeps execve(2) from granting anything. */
static void
bounding_set_drop(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) != -1; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == -1)
			return;
}

static int
user_switch(const char *user)
{
	const struct passwd *pw;

	errno = 0;
	pw = getpwnam(user);
	if (pw == NULL) {
		log_error(
		    "user '%s' does not exist: create it, or name another with `user` in mesh.conf", user);
		return ERR_NOENT;
	}
	if (initgroups(pw->pw_name, pw->pw_gid) == -1)
		return fail("initgroups");
	if (setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) == -1)
		return fail("setresgid");
	if (setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) == -1)
		return fail("setresuid");
	if (pw->pw_uid != 0 && setresuid(0, 0, 0) == 0) {
		log_error("dropping privileges: root could be had back");
		return ERR_DENIED;
	}
	return 0;
}

static int
capabilities_clear(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1 && errno != EINVAL)
		return fail("ambient capabilities");
	if (syscall(SYS_capset, &head, none) == -1)
		return fail("capset");
	return 0;
}

int
sandbox_drop(const char *user)
{
	const struct rlimit none = {0, 0};
	int r = 0;

	if (geteuid() == 0) {
		bounding_set_drop();
		if (user != NULL)
			r = user_switch(user);
	}
	if (r == 0)
		r = capabilities_clear();
	if (r != 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return fail("no_new_privs");
	/* Keys are in memory: no core files, no ptrace(2) by others with our uid. */
	if (setrlimit(RLIMIT_CORE, &none) == -1)
		return fail("RLIMIT_CORE");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		return fail("PR_SET_DUMPABLE");
	return 0;
}

int
sandbox_allow_path(struct sandbox *s, const char *path, unsigned access)
{
	if (s->path_count == SANDBOX_PATHS_MAX)
		return ERR_FULL;
	s->paths[s->path_count++] = (struct sandbox_path){.path = path, .access = access};
	return 0;
}

int
sandbox_enter(const struct sandbox *s)
{
	int r = sandbox_landlock(s);

	if (r == 0)
		r = sandbox_seccomp(s);
	entered = r == 0;
	return r;
}

#ifdef MESH_SANITIZED
/* The leak checker attaches to its own process with ptrace(2), which PR_SET_DUMPABLE forbids; it works in
 * the unit tests, which run outside of the sandbox. */
int __lsan_is_turned_off(void);

int
__lsan_is_turned_off(void)
{
	return entered;
}
#endif
