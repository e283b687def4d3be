/*
 * tunnel: the answer of an HTTP proxy to CONNECT (RFC 9110 section 9.3.6), read byte by byte.
 *
 * Only the status counts; headers are skipped, up to a limit, to the empty line behind which the tunnel
 * begins.  Nothing is kept, so nothing a proxy sends can grow.  Pure.
 */
#ifndef TRANSPORTD_CORE_TUNNEL_H
#define TRANSPORTD_CORE_TUNNEL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

/*	name, text */
#define TUNNEL_STATES(X)                                                                                     \
	X(STATUS, "reading the status")                                                                      \
	X(REASON, "skipping the reason")                                                                     \
	X(LINE, "at the begin of a line")                                                                    \
	X(HEADER, "skipping a header")                                                                       \
	X(OPEN, "open")                                                                                      \
	X(REFUSED, "refused") /* status says why */                                                          \
	X(GARBAGE, "not an answer")

enum tunnel_state {
#define X(name, text) TUNNEL_##name,
	TUNNEL_STATES(X)
#undef X
};

struct tunnel {
	enum tunnel_state state;
	unsigned status; /* of HTTP, complete unless the state is STATUS */
	size_t seen;     /* bytes */
};

void tunnel_init(struct tunnel *t);
/* Reads on, up to the end of the answer; returns the bytes used: what is left belongs to the tunnel. */
size_t tunnel_feed(struct tunnel *t, const uint8_t *data, size_t len) MUST_USE;

#endif
