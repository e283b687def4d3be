/*
 * ping_guard: clients that ping too often (gRPC keepalive, "too_many_pings").
 *
 * A ping is allowed when PING_GUARD_INTERVAL_MS have passed since the one before, or when HEADERS or
 * DATA were sent to the client in between (its bandwidth estimate pings then).  Each other one is a
 * strike; what is sent forgives all strikes.
 */
#ifndef GATEWAYD_CORE_PING_GUARD_H
#define GATEWAYD_CORE_PING_GUARD_H

#include <stdbool.h>

#include "common/base/mono.h"

enum {
	PING_GUARD_INTERVAL_MS = 9000, /* 10 s, less what a client's clock and the network may shift */
	PING_GUARD_STRIKES_MAX = 2,    /* one more ends the connection */
};

struct ping_guard {
	struct mono last;
	bool seen;
	unsigned strikes;
};

/* HEADERS or DATA were sent. */
void ping_guard_sent(struct ping_guard *g);
/* A ping came.  True: it is one too many, the connection ends. */
bool ping_guard_ping(struct ping_guard *g, struct mono now);

#endif
