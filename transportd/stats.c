#include "transportd/stats.h"

#include "common/base/frame.h"
#include "transportd/core/goaway.h"

static struct metric metrics[STAT_COUNT] = {
#define X(id, kind, name, labels, help) [STAT_##id] = METRIC_##kind##_INIT(name, help, labels),
    STATS_LIST(X)
#undef X
};

#define ENDED_HELP "Connections that this node ended, by the reason that the peer was told."

/* By enum goaway_code; GOAWAY_NONE is none. */
static struct metric ended[GOAWAY_CODE_COUNT] = {
#define X(name, value, label, text)                                                                          \
	[value] = METRIC_COUNTER_INIT(                                                                       \
	    "mesh_connections_ended_total", (value) == 1 ? ENDED_HELP : "", "reason=\"" label "\""),
    GOAWAY_LIST(X)
#undef X
};

#define FRAMES_HELP "Bytes of frames queued to links or sent there, by type."

/* By enum frame_type; there are gaps. */
static struct metric frames[] = {
#define X(name, value, text)                                                                                 \
	[value] = METRIC_COUNTER_INIT(                                                                       \
	    "mesh_link_frame_bytes_total", (value) == 1 ? FRAMES_HELP : "", "type=\"" text "\""),
    FRAME_TYPE_LIST(X)
#undef X
};

/* Closer where it is decided whether control traffic waits too long (goal: 50 ms). */
static const double rtt_bounds[] = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.1, 0.25, 0.5, 1};

#define RTT(class, text)                                                                                     \
	{                                                                                                    \
		.name = "mesh_lane_rtt_seconds", .help = text, .kind = METRIC_HISTOGRAM,                     \
		.labels = "class=\"" class "\"", .bounds = rtt_bounds,                                       \
		.bound_count = sizeof(rtt_bounds) / sizeof(rtt_bounds[0]),                                   \
	}

/* By enum lane_class. */
static struct metric rtt[] = {
    RTT("control", "Round-trip times of heartbeats."),
    RTT("priority", ""),
    RTT("bulk", ""),
};

void
stats_init(void)
{
	for (unsigned i = 0; i < STAT_COUNT; i++)
		metrics_add(&metrics[i]);
	for (unsigned i = GOAWAY_NONE + 1; i < GOAWAY_CODE_COUNT; i++)
		metrics_add(&ended[i]);
	for (unsigned i = 0; i < sizeof(frames) / sizeof(frames[0]); i++)
		if (frames[i].name != NULL)
			metrics_add(&frames[i]);
	for (unsigned i = 0; i < sizeof(rtt) / sizeof(rtt[0]); i++)
		metrics_add(&rtt[i]);
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
stat_ended(uint16_t code)
{
	if (code > GOAWAY_NONE && code < GOAWAY_CODE_COUNT)
		metric_inc(&ended[code]);
}

void
stat_rtt(unsigned lane_class, uint32_t rtt_us)
{
	metric_observe(&rtt[lane_class], rtt_us / 1e6);
}

void
stat_frame(uint8_t type, size_t bytes)
{
	if (type < sizeof(frames) / sizeof(frames[0]))
		metric_add(&frames[type], (int64_t)bytes);
}
