/* ping_guard: see ping_guard.h. */
#include "gatewayd/core/ping_guard.h"

void
ping_guard_sent(struct ping_guard *g)
{
	g->seen = false;
	g->strikes = 0;
}

bool
ping_guard_ping(struct ping_guard *g, struct mono now)
{
	bool early = g->seen && mono_before(now, mono_add_ms(g->last, PING_GUARD_INTERVAL_MS));

	g->last = now;
	g->seen = true;
	if (early)
		g->strikes++;
	return g->strikes > PING_GUARD_STRIKES_MAX;
}
