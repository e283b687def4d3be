/*
 * metrics: counters, gauges and histograms of one process, printed in Prometheus text format.
 *
 * A metric is a static object that registers itself in a fixed-size registry; labels are fixed at
 * registration, so cardinality is bounded by the code, never by input.
 */
#ifndef COMMON_OS_METRICS_H
#define COMMON_OS_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum { METRICS_MAX = 512, METRIC_BUCKETS_MAX = 16 };

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
	const char *name; /* mesh_<subsystem>_<what>_<unit>[_total] */
	const char *help;
	const char *labels; /* `kind="data"` or NULL; fixed text */
	enum metric_kind kind;
	int64_t value;        /* counter and gauge */
	const double *bounds; /* histogram: upper bounds, ascending */
	size_t bound_count;
	uint64_t buckets[METRIC_BUCKETS_MAX + 1];
	double sum;
};

#define METRIC_COUNTER_INIT(n, h, l)                                                                         \
	{                                                                                                    \
		.name = (n), .help = (h), .labels = (l), .kind = METRIC_COUNTER                              \
	}
#define METRIC_GAUGE_INIT(n, h, l)                                                                           \
	{                                                                                                    \
		.name = (n), .help = (h), .labels = (l), .kind = METRIC_GAUGE                                \
	}

/* Registers m (static storage) for printing; metrics of one name must be registered in a row. */
void metrics_add(struct metric *m);
static inline void
metric_inc(struct metric *m)
{
	m->value++;
}
static inline void
metric_add(struct metric *m, int64_t n)
{
	m->value += n;
}
static inline void
metric_set(struct metric *m, int64_t v)
{
	m->value = v;
}
void metric_observe(struct metric *m, double v);
/* What a histogram has counted goes to another one with the same bounds. */
void metric_move(struct metric *to, struct metric *from);
/* Appends one that need not be registered; first: with HELP and TYPE. */
int metric_print(struct buf *out, const struct metric *m, bool first, const char *daemon) MUST_USE;

/* Appends all metrics, with HELP and TYPE, each with a daemon="…" label. */
int metrics_print(struct buf *out, const char *daemon) MUST_USE;

#endif
