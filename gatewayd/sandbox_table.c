/*
 * sandbox_table: see sandbox_table.h.
 *
 * Listening sockets are bound before: nothing here makes a TCP socket, binds or connects one.  A client's
 * socket comes from accept4 and is used with read and write, which every daemon has.
 */
#include "gatewayd/sandbox_table.h"

const struct sandbox_call sandbox_table[] = {
    SANDBOX_CALL("shutdown", "a connection says its last word, then waits for the client to close"),
    SANDBOX_CALL("lseek", "closing a certificate or token file that was read (SIGHUP)"),
    {.name = NULL},
};
