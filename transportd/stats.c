#include "transportd/stats.h"

static struct metric metrics[STAT_COUNT] = {
#define X(id, kind, name, labels, help) [STAT_##id] = METRIC_##kind##_INIT(name, help, labels),
    STATS_LIST(X)
#undef X
};

static const double rtt_bounds[] = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1};

static struct metric rtt = {
    .name = "mesh_link_rtt_seconds",
    .help = "Round-trip times of heartbeats.",
    .kind = METRIC_HISTOGRAM,
    .bounds = rtt_bounds,
    .bound_count = sizeof(rtt_bounds) / sizeof(rtt_bounds[0]),
};

void
stats_init(void)
{
	for (unsigned i = 0; i < STAT_COUNT; i++)
		metrics_add(&metrics[i]);
	metrics_add(&rtt);
}

void
stat_inc(enum stat s)
{
	metric_inc(&metrics[s]);
}

void
stat_add(enum stat s, int64_t n)
{
	metric_add(&metrics[s], n);
}

void
stat_set(enum stat s, int64_t value)
{
	metric_set(&metrics[s], value);
}

int64_t
stat_get(enum stat s)
{
	return metrics[s].value;
}

void
stat_rtt(uint32_t rtt_us)
{
	metric_observe(&rtt, rtt_us / 1e6);
}
