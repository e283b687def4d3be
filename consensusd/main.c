/* consensusd: streams, keys and the durable state of a mesh node; see consensusd(8). */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/os/daemon.h"
#include "consensusd/consensusd.h"

#define ALL_BITS UINT64_MAX

/* Beside what every daemon may do: libpq over a Unix socket, and reading the keyring again. */
static const struct sandbox_call calls[] = {
    SANDBOX_CALL("recvfrom", "libpq reads"),
    SANDBOX_CALL("getsockname", "libpq, when it connects"),
    SANDBOX_CALL("getpeername", "the same"),
    SANDBOX_CALL_IF("setsockopt", 1, ALL_BITS, SOL_SOCKET, "the same: SO_NOSIGPIPE and keepalive"),
    SANDBOX_CALL_IF("fcntl", 1, ALL_BITS, 1, "F_GETFD"),
    SANDBOX_CALL_IF("fcntl", 1, ALL_BITS, 2, "F_SETFD: close-on-exec"),
    SANDBOX_CALL_IF("fcntl", 1, ALL_BITS, 3, "F_GETFL, also before a directory is read"),
    SANDBOX_CALL_IF("fcntl", 1, ALL_BITS, 4, "F_SETFL: not blocking"),
    SANDBOX_CALL("rt_sigaction", "libpq looks at SIGPIPE"),
    SANDBOX_CALL("getdents64", "the keyring's directory and the migrations are listed"),
    SANDBOX_CALL("lseek", "the same"),
    SANDBOX_CALL("pread64", "the witness of the database is read"),
    SANDBOX_CALL("pwrite64", "and written"),
    SANDBOX_CALL("fdatasync", "the same, when a vote was given"),
    SANDBOX_CALL("mlock", "keys are locked in memory when they are read again"),
    SANDBOX_PROBE("getuid", "libpq asks who we are"),
    SANDBOX_PROBE("ioctl", "the C library asks whether a file is a terminal"),
    SANDBOX_PROBE("access", "libpq looks for its files"),
    SANDBOX_PROBE("readlink", "the same"),
    {.name = NULL},
};

static const struct daemon_def def = {
    .name = "consensusd",
    .summary = "keeps the streams, keys and durable state of a mesh node",
    .calls = calls,
    .open = consensusd_open,
    .start = consensusd_start,
    .configure = consensusd_configure,
    .reload = consensusd_reload,
    .fini = consensusd_fini,
};

int
main(int argc, char **argv)
{
	return daemon_main(&def, argc, argv);
}
