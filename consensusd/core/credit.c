/* credit: see credit.h. */
#include "consensusd/core/credit.h"

#include "consensusd/core/limits.h"

/* Where value is between low and high, of 1000. */
static uint32_t
part(int64_t value, int64_t low, int64_t high)
{
	if (value <= low)
		return 0;
	return value >= high ? 1000 : (uint32_t)((value - low) * 1000 / (high - low));
}

uint32_t
credit_pressure(int64_t store_lag_ms, uint32_t busy_permille)
{
	uint32_t lag = part(store_lag_ms, CREDIT_LAG_MIN_MS, CREDIT_LAG_MAX_MS);
	uint32_t busy = part(busy_permille, CREDIT_BUSY_MIN_PERMILLE, 1000) * CREDIT_BUSY_MAX_PRESSURE / 1000;

	return lag > busy ? lag : busy;
}

static unsigned
fill_steps(size_t fill, size_t backlog)
{
	size_t half = backlog / 2, step = half / CREDIT_FILL_STEPS;

	if (fill <= half || step == 0)
		return 0;
	return (unsigned)((fill - half - 1) / step) + 1;
}

size_t
credit_window(size_t window_bytes, size_t fill_bytes, size_t backlog_bytes, uint32_t pressure_permille)
{
	unsigned steps = fill_steps(fill_bytes, backlog_bytes);
	unsigned pressed = (pressure_permille * CREDIT_PRESSURE_STEPS + 500) / 1000;
	size_t low = window_bytes < FLOW_CWND_MIN_BYTES ? window_bytes : FLOW_CWND_MIN_BYTES, window;

	if (fill_bytes > backlog_bytes)
		return 0;
	if (pressed > steps)
		steps = pressed;
	window = steps < sizeof(size_t) * 8 ? window_bytes >> steps : 0;
	return window > low ? window : low;
}
