/*
 * gunzip: gRPC's "gzip" message encoding, on zlib (no other file includes it).
 */
#ifndef GATEWAYD_GUNZIP_H
#define GATEWAYD_GUNZIP_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

/* Appends the plain bytes of one whole gzip stream to out.  ERR_LIMIT: more than out may hold; ERR_FORMAT:
 * broken, cut, or bytes left over; ERR_NOMEM. */
int gunzip(struct buf *out, const uint8_t *data, size_t len) MUST_USE;

#endif
