/*
 * sandbox: each test puts a forked child into a sandbox, where it tries something; the parent looks at
 * how the child ended.  So what is tested is the kernel's answer, not our tables.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "common/os/sandbox.h"

#define KILLED (-SIGSYS)

static char dir[] = "/tmp/test_sandbox.XXXXXX";

static const struct sandbox_call calls[] = {
    SANDBOX_PROBE("uname", "test"),
    SANDBOX_CALL_IF("openat", 2, O_ACCMODE, O_WRONLY, "test"),
    SANDBOX_CALL_IF("socket", 0, UINT32_MAX, AF_INET, "test"),
    SANDBOX_CALL("bind", "test"),
    SANDBOX_CALL("unlink", "test"),
    SANDBOX_CALL("pipe2", "test"),
    {.name = NULL},
};

static int
enter(struct sandbox *s)
{
	if (sandbox_drop(NULL) != 0)
		return -1;
	return sandbox_enter(s);
}

/* Exit status of a child that runs fn in the sandbox; minus the signal that killed it. */
static int
in_sandbox(struct sandbox s, int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid != -1);
	if (pid == 0)
		_exit(enter(&s) != 0 ? 99 : fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int
in_plain(int (*fn)(void))
{
	return in_sandbox((struct sandbox){.calls = calls}, fn);
}

static int
do_nothing(void)
{
	log_warn("a line from inside");
	return sandbox_entered() ? 7 : 1;
}

static int
do_forbidden(void)
{
	return (int)syscall(SYS_getppid);
}

static int
do_probe(void)
{
	struct utsname u;

	return uname(&u) == -1 ? errno : 0;
}

static int
do_exec_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static int
do_make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static int
do_exec(void)
{
	execl("/bin/true", "true", (char *)NULL);
	return 1;
}

static int
do_abort(void)
{
	abort();
}

static void
test_calls(void **state)
{
	(void)state;
	assert_int_equal(in_plain(do_nothing), 7);
	assert_int_equal(in_plain(do_forbidden), KILLED);
	assert_int_equal(in_plain(do_probe), EACCES);
	assert_int_equal(in_plain(do_exec_memory), KILLED);
	assert_int_equal(in_plain(do_make_executable), KILLED);
	assert_int_equal(in_plain(do_exec), KILLED);
	assert_int_equal(in_plain(do_abort), -SIGABRT);
}

/* Developers' mode names the call and ends the process all the same. */
static void
test_trap(void **state)
{
	(void)state;
	assert_int_equal(
	    in_sandbox((struct sandbox){.calls = calls, .trap = true}, do_forbidden), 128 + SIGSYS);
}

static int
open_status(const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, flags, 0600) == -1 ? errno : 0;
}

static int
do_read(void)
{
	return open_status("read/file", O_RDONLY);
}

static int
do_read_elsewhere(void)
{
	return open("/etc/passwd", O_RDONLY) == -1 ? errno : 0;
}

static int
do_write_in_read(void)
{
	return open_status("read/file", O_WRONLY);
}

static int
do_create(void)
{
	return open_status("write/new", O_WRONLY | O_CREAT | O_TRUNC);
}

static int
do_unlink(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/write/new", dir);
	return unlink(path) == -1 ? errno : 0;
}

static int
do_read_write(void)
{
	return open_status("read/file", O_RDWR);
}

static void
test_files(void **state)
{
	char read_dir[64], write_dir[64], one_file[64];
	struct sandbox s = {.calls = calls}, f = {.calls = calls};

	(void)state;
	snprintf(read_dir, sizeof(read_dir), "%s/read", dir);
	snprintf(write_dir, sizeof(write_dir), "%s/write", dir);
	snprintf(one_file, sizeof(one_file), "%s/read/file", dir);
	assert_int_equal(sandbox_allow_path(&s, read_dir, SANDBOX_READ), 0);
	assert_int_equal(sandbox_allow_path(&s, write_dir, SANDBOX_WRITE), 0);
	assert_int_equal(in_sandbox(s, do_read), 0);
	assert_int_equal(in_sandbox(s, do_read_elsewhere), EACCES);
	assert_int_equal(in_sandbox(s, do_write_in_read), EACCES);
	assert_int_equal(in_sandbox(s, do_create), 0);
	assert_int_equal(in_sandbox(s, do_unlink), 0);
	assert_int_equal(in_sandbox(s, do_read_write), KILLED); /* no table allows O_RDWR */
	assert_int_equal(in_plain(do_read), EACCES);
	assert_int_equal(sandbox_allow_path(&f, one_file, SANDBOX_READ | SANDBOX_WRITE), 0);
	assert_int_equal(in_sandbox(f, do_read), 0);
}

static int
tcp_status(bool listening)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(listening ? 0 : 9)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int r;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd == -1)
		return 1;
	r = listening ? bind(fd, (struct sockaddr *)&sin, sizeof(sin))
		      : connect(fd, (struct sockaddr *)&sin, sizeof(sin));
	return r == -1 ? errno : 0;
}

static int
do_connect(void)
{
	return tcp_status(false);
}

static int
do_bind(void)
{
	return tcp_status(true);
}

static int
do_inet6(void)
{
	return socket(AF_INET6, SOCK_STREAM, 0);
}

static bool
landlock_has_tcp(void)
{
	return syscall(444, NULL, 0, 1) >= 4;
}

static void
test_network(void **state)
{
	const struct sandbox open = {.calls = calls, .tcp_bind = true, .tcp_connect = true};

	(void)state;
	assert_int_equal(in_sandbox(open, do_connect), ECONNREFUSED);
	assert_int_equal(in_sandbox(open, do_bind), 0);
	assert_int_equal(in_sandbox(open, do_inet6), KILLED);
	if (!landlock_has_tcp())
		skip();
	assert_int_equal(in_plain(do_connect), EACCES);
	assert_int_equal(in_plain(do_bind), EACCES);
}

/* --- the drop --- */

static bool
status_has(const char *wanted)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	bool found = false;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		found = found || strncmp(line, wanted, strlen(wanted)) == 0;
	if (f != NULL)
		fclose(f);
	return found;
}

static int
dropped_state(void)
{
	struct rlimit core;

	if (!status_has("CapEff:\t0000000000000000") || !status_has("CapPrm:\t0000000000000000") ||
	    !status_has("CapInh:\t0000000000000000") || !status_has("CapAmb:\t0000000000000000"))
		return 1;
	if (!status_has("NoNewPrivs:\t1"))
		return 2;
	if (prctl(PR_GET_DUMPABLE) != 0)
		return 3;
	if (getrlimit(RLIMIT_CORE, &core) == -1 || core.rlim_max != 0)
		return 4;
	return 0;
}

static int
drop_status(const char *user, uid_t uid)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int r = sandbox_drop(user);

		if (r != 0)
			_exit(r == ERR_NOENT ? 50 : 51);
		if (getuid() != uid || geteuid() != uid || (uid != 0 && setuid(0) == 0))
			_exit(52);
		/* PR_SET_DUMPABLE closes /proc/self to an unprivileged process: look at it before. */
		prctl(PR_SET_DUMPABLE, 1);
		status = dropped_state();
		_exit(status == 3 ? 0 : status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 60;
}

static void
test_drop_keeps_user(void **state)
{
	(void)state;
	assert_int_equal(drop_status(NULL, getuid()), 0);
}

static void
test_drop_switches_user(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(drop_status("nobody", 65534), 0);
	assert_int_equal(drop_status("no-such-user", 0), 50);
}

static int
do_dumpable(void)
{
	struct rlimit core;

	if (prctl(PR_GET_DUMPABLE) != 0)
		return 1;
	return getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 ? 0 : 2;
}

static void
test_drop_forbids_dumps(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(sandbox_drop(NULL) != 0 ? 9 : do_dumpable());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* --- refusals --- */

static int
do_unreachable(void)
{
	return 1;
}

static void
test_refuses(void **state)
{
	static const struct sandbox_call wrong[] = {SANDBOX_CALL("no_such_call", "test"), {.name = NULL}};
	struct sandbox s = {.calls = calls};

	(void)state;
	assert_int_equal(in_sandbox((struct sandbox){.calls = wrong}, do_unreachable), 99);
	assert_int_equal(sandbox_allow_path(&s, "/nonexistent/path", SANDBOX_READ), 0);
	assert_int_equal(in_sandbox(s, do_unreachable), 99);
	while (s.path_count < SANDBOX_PATHS_MAX)
		assert_int_equal(sandbox_allow_path(&s, "/tmp", SANDBOX_READ), 0);
	assert_int_equal(sandbox_allow_path(&s, "/tmp", SANDBOX_READ), ERR_FULL);
}

/* The common table is short, each row has a reason, and what would undo it all is not in it. */
static void
test_table(void **state)
{
	static const char *const never[] = {"execve", "execveat", "ptrace", "clone", "fork", "bpf", "mount",
	    "setuid", "init_module", "keyctl", "unshare", "process_vm_writev", "io_uring_setup", "open"};
	size_t n = 0;

	(void)state;
	for (const struct sandbox_call *c = sandbox_common; c->name != NULL; c++) {
		assert_true(strlen(c->reason) > 3);
		for (size_t i = 0; i < COUNT(never); i++)
			assert_string_not_equal(c->name, never[i]);
		n++;
	}
	assert_true(n <= 40);
}

static int
setup(void **state)
{
	char path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/read", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/write", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/read/file", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	return 0;
}

static int
teardown(void **state)
{
	static const char *const names[] = {"read/file", "write/new", "read", "write", ""};
	char path[64];

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		remove(path);
	}
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_calls),
	    cmocka_unit_test(test_trap),
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_network),
	    cmocka_unit_test(test_drop_keeps_user),
	    cmocka_unit_test(test_drop_switches_user),
	    cmocka_unit_test(test_drop_forbids_dumps),
	    cmocka_unit_test(test_refuses),
	    cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
