/*
 * sandbox_calls: the system calls of transportd beside those that every daemon may make.
 */
#ifndef TRANSPORTD_SANDBOX_CALLS_H
#define TRANSPORTD_SANDBOX_CALLS_H

#include "common/os/sandbox.h"

extern const struct sandbox_call transportd_calls[];

#endif
