/*
 * sandbox_table: the system calls that every daemon may make, with the reason for each.
 *
 * A row that is added here is added to all four daemons: what one of them needs belongs in its own
 * table.  The tests run the daemons inside, so a row that is missing kills one of them there.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/os/sandbox.h"

#define INT_BITS UINT32_MAX /* of an int argument the upper half of the register means nothing */

const struct sandbox_call sandbox_common[] = {
    /* memory: never executable */
    SANDBOX_CALL("brk", "malloc"),
    SANDBOX_CALL_IF("mmap", 2, PROT_EXEC, 0, "malloc of large blocks"),
    SANDBOX_CALL("munmap", "free of large blocks"),
    SANDBOX_CALL("mremap", "realloc of large blocks"),
    SANDBOX_CALL_IF("mprotect", 2, PROT_EXEC, 0, "malloc growing a heap"),
    SANDBOX_CALL("madvise", "malloc returning pages"),

    /* the loop */
    SANDBOX_CALL("epoll_wait", "libevent waits here"),
    SANDBOX_CALL("epoll_ctl", "descriptors come and go"),
    SANDBOX_CALL("timerfd_settime", "libevent's precise timers"),
    SANDBOX_CALL("poll", "the log asks whether standard error takes a line; libwebsockets waits here"),
    SANDBOX_CALL("clock_gettime", "where the vDSO has no clock"),
    SANDBOX_CALL("restart_syscall", "waiting goes on after SIGSTOP and SIGCONT"),
    SANDBOX_CALL("rt_sigreturn", "signal handlers of libraries return"),
    SANDBOX_CALL("futex", "locks inside libraries"),

    /* descriptors */
    SANDBOX_CALL("read", "signalfd, configuration file"),
    SANDBOX_CALL("write", "the log"),
    SANDBOX_CALL("close", "connections end"),
    SANDBOX_CALL_IF("openat", 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY,
	"SIGHUP reads the configuration again; Landlock says which files"),
    SANDBOX_CALL("newfstatat", "fstat of that file"),

    /* sibling daemons and the service manager */
    SANDBOX_CALL_IF("socket", 0, INT_BITS, AF_UNIX, "connecting to siblings again"),
    SANDBOX_CALL("connect", "the same"),
    SANDBOX_CALL("accept4", "siblings connect again"),
    SANDBOX_CALL_IF("getsockopt", 1, INT_BITS, SOL_SOCKET, "SO_PEERCRED: who is at the other end"),
    SANDBOX_CALL("recvmsg", "channels"),
    SANDBOX_CALL("sendmsg", "channels"),
    SANDBOX_CALL("sendto", "sd_notify"),
    SANDBOX_CALL("getpid", "header of imsg"),
    SANDBOX_CALL("geteuid", "channels trust our own user"),
    SANDBOX_CALL("getrandom", "jitter, keys, nonces"),

    /* the end */
    SANDBOX_CALL("exit_group", "the process ends"),
    SANDBOX_CALL("munlock", "keys are unlocked when they are wiped"),
    SANDBOX_CALL("rt_sigprocmask", "abort(3) after a failed MUST()"),
    SANDBOX_CALL("gettid", "the same"),
    SANDBOX_CALL_IF("tgkill", 2, INT_BITS, SIGABRT, "the same"),
    {.name = NULL},
};

#ifdef MESH_SANITIZED
const struct sandbox_call sandbox_sanitizer[] = {
    SANDBOX_CALL("sigaltstack", "the run time removes its signal stack at the end"),
    SANDBOX_CALL("rt_sigaction", "reports reset the handlers"),
    SANDBOX_CALL("sched_yield", "its locks"),
    SANDBOX_CALL("prctl", "it asks whether it may be traced"),
    SANDBOX_CALL("getrlimit", "stack bounds"),
    SANDBOX_CALL("prlimit64", "stack bounds"),
    SANDBOX_PROBE("readlink", "names of modules in reports"),
    SANDBOX_PROBE("stat", "symbolizer"),
    {.name = NULL},
};
#endif
