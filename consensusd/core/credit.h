/*
 * credit: how much a target grants to a source, by what it can take.
 *
 * The window is halved again and again while the backlog fills from a half of what it may be to all of it,
 * and while this node is under pressure: its database is behind, or it has no time left.  What still goes
 * goes in smaller pieces then, and queues stay short.
 */
#ifndef CONSENSUSD_CORE_CREDIT_H
#define CONSENSUSD_CORE_CREDIT_H

#include <stddef.h>
#include <stdint.h>

enum {
	CREDIT_FILL_STEPS = 4, /* halvings between a half of the backlog and all of it */
	CREDIT_PRESSURE_STEPS = 5,
	/* A flush that waits longer makes pressure; one that has waited so long, all that there can be. */
	CREDIT_LAG_MIN_MS = 250,
	CREDIT_LAG_MAX_MS = 2000,
	/* A process that has no more time than this left, of a thousand, makes pressure: up to so much.  That
	 * it has much to do is no fault, and small pieces cost more. */
	CREDIT_BUSY_MIN_PERMILLE = 900,
	CREDIT_BUSY_MAX_PRESSURE = 400,
};

/* 0..1000 from how old the oldest flush is that is not durable, and how busy the process is. */
uint32_t credit_pressure(int64_t store_lag_ms, uint32_t busy_permille);
/* What is granted, above zero unless the backlog is full; at least FLOW_CWND_MIN_BYTES, or window_bytes. */
size_t credit_window(
    size_t window_bytes, size_t fill_bytes, size_t backlog_bytes, uint32_t pressure_permille);

#endif
