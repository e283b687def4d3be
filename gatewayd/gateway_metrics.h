/*
 * gateway_metrics: the counters of gatewayd (mesh-metrics(7)).
 */
#ifndef GATEWAYD_GATEWAY_METRICS_H
#define GATEWAYD_GATEWAY_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gatewayd/core/grpc_status.h"

enum gateway_refusal {
	REFUSED_FULL,     /* connections-max */
	REFUSED_TLS,      /* handshake failed, or no ALPN h2 */
	REFUSED_TIMEOUT,  /* handshake took too long */
	REFUSED_PROTOCOL, /* HTTP/2 was violated */
	REFUSED_PINGS,    /* too_many_pings */
	REFUSED_SILENT,   /* no answer to a keepalive ping */
	REFUSED_COUNT,
};

/* Registers all of them; once. */
void gateway_metrics_init(void);
/* A call ended.  Streaming calls are left out of the histogram of durations. */
void gateway_metrics_call(enum grpc_status status, int64_t duration_us, bool streaming);
void gateway_metrics_received(size_t bytes);
void gateway_metrics_sent(size_t bytes);
void gateway_metrics_refused(enum gateway_refusal why);
void gateway_metrics_unauthenticated(void);
/* What is now: set before printing. */
void gateway_metrics_now(size_t connections, size_t calls, size_t memory_bytes);
void gateway_metrics_accepted(void);

#endif
