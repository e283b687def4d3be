/* gateway: see gateway.h. */
#include "gatewayd/gateway.h"

#include "common/base/err.h"
#include "common/os/conf.h"
#include "common/os/loop.h"
#include "gatewayd/conns.h"
#include "gatewayd/limits.h"

void
gateway_limits_read(struct gateway_limits *out, const struct conf *c)
{
	*out = (struct gateway_limits){
	    .message_max_bytes = (size_t)conf_int(c, "gatewayd", "message-max"),
	    .connections_max = (size_t)conf_int(c, "gatewayd", "connections-max"),
	    .calls_max = (uint32_t)conf_int(c, "gatewayd", "calls-max"),
	    .keepalive_us = conf_int(c, "gatewayd", "keepalive"),
	    .drain_us = conf_int(c, "gatewayd", "drain-timeout"),
	};
}

int
gateway_memory(struct gateway *gw, size_t *was, size_t now)
{
	if (now > *was && gw->memory_bytes + (now - *was) > MEMORY_MAX_BYTES)
		return ERR_LIMIT;
	gw->memory_bytes = gw->memory_bytes - *was + now;
	*was = now;
	return 0;
}

void
gateway_drain_check(struct gateway *gw)
{
	/* The timer ends what meshctl has open, then the loop. */
	if (gw->draining && conns_count(gw->conns) == 0)
		loop_timer_arm_ms(gw->drain_timer, 0);
}
