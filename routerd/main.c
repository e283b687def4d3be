/* routerd: link state and paths of a mesh node; see routerd(8). */
#include "common/os/daemon.h"
#include "routerd/routerd.h"

/* No files, no network: what every daemon may do is almost enough. */
static const struct sandbox_call calls[] = {
    SANDBOX_CALL("sysinfo", "the machine's load average, which other members are told"),
    SANDBOX_CALL("sched_getaffinity", "the number of processors that share it"),
    {.name = NULL},
};

static const struct daemon_def def = {
    .name = "routerd",
    .summary = "computes the paths of a mesh node from the link state of all nodes",
    .calls = calls,
    .start = routerd_start,
    .configure = routerd_configure,
    .fini = routerd_fini,
};

int
main(int argc, char **argv)
{
	return daemon_main(&def, argc, argv);
}
