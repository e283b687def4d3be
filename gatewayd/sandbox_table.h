/*
 * sandbox_table: the system calls of gatewayd beside those of every daemon.
 */
#ifndef GATEWAYD_SANDBOX_TABLE_H
#define GATEWAYD_SANDBOX_TABLE_H

#include "common/os/sandbox.h"

extern const struct sandbox_call sandbox_table[];

#endif
