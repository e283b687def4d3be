#include "transportd/sandbox_calls.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/os/sandbox.h"

#define INT_BITS UINT32_MAX /* of an int argument the upper half of the register means nothing */

const struct sandbox_call transportd_calls[] = {
    SANDBOX_CALL_IF("socket", 0, INT_BITS, AF_INET, "dialling peers"),
    SANDBOX_CALL_IF("socket", 0, INT_BITS, AF_INET6, "dialling peers"),
    SANDBOX_CALL_IF("getsockopt", 1, INT_BITS, SOL_SOCKET, "did the connect succeed"),
    SANDBOX_CALL_IF("setsockopt", 1, INT_BITS, IPPROTO_TCP, "TCP_NODELAY, TCP_NOTSENT_LOWAT, TCP_CORK"),
    SANDBOX_CALL_IF("setsockopt", 1, INT_BITS, SOL_SOCKET, "libwebsockets: SO_KEEPALIVE"),
    SANDBOX_CALL_IF("fcntl", 1, INT_BITS, F_GETFL, "sockets become non-blocking"),
    SANDBOX_CALL_IF("fcntl", 1, INT_BITS, F_SETFL, "sockets become non-blocking"),
    SANDBOX_CALL_IF("fcntl", 1, INT_BITS, F_SETFD, "close on exec"),
    SANDBOX_CALL_IF("recvfrom", 4, UINT64_MAX, 0, "upgrade requests from a proxy that has ended TLS"),
    SANDBOX_CALL("lseek", "stdio, when certificates are read again on SIGHUP"),
    SANDBOX_CALL("shutdown", "the end of a connection"),
    SANDBOX_CALL("getsockname", "both ends of a connection, for the hello"),
    SANDBOX_CALL("getpeername", "both ends of a connection, for the hello"),
    SANDBOX_CALL_IF("getsockopt", 1, INT_BITS, IPPROTO_TCP, "TCP_INFO: does the peer's kernel answer"),
    {.name = NULL},
};
