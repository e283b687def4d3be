/*
 * grpc_timeout: the grpc-timeout header, 1-8 digits and a unit of H M S m u n (gRPC over HTTP/2).
 */
#ifndef GATEWAYD_CORE_GRPC_TIMEOUT_H
#define GATEWAYD_CORE_GRPC_TIMEOUT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

/* The time in microseconds (nanoseconds are rounded up); ERR_FORMAT if text is anything else. */
int grpc_timeout_parse(const char *text, size_t len, int64_t *out_us) MUST_USE;

#endif
