/*
 * gatewayd: the API of a node: gRPC for applications, the control socket for meshctl.
 */
#include "common/os/daemon.h"
#include "gatewayd/gateway.h"
#include "gatewayd/sandbox_table.h"

static const struct daemon_def gatewayd = {
    .name = "gatewayd",
    .summary = "the API of a mesh node: gRPC for applications, the control socket for meshctl",
    .calls = sandbox_table,
    .open = gateway_open,
    .start = gateway_start,
    .configure = gateway_configure,
    .reload = gateway_reload,
    .stop = gateway_stop,
    .fini = gateway_fini,
};

int
main(int argc, char **argv)
{
	return daemon_main(&gatewayd, argc, argv);
}
