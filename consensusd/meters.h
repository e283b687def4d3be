/*
 * meters: metrics of single streams and tenants, in a bounded number of time series.
 *
 * The streams that carried the most bytes since the daemon was started have labels of their own
 * (metrics-streams), those of all others are summed up as stream "other"; tenants likewise (metrics-tenants).
 * Who has labels of its own is decided when metrics are asked for.  What was counted meanwhile goes to the
 * series that a stream has then, so no counter ever falls, and none counts what another one did.
 */
#ifndef CONSENSUSD_METERS_H
#define CONSENSUSD_METERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"

struct buf;
struct engine;
struct meters;
struct sink;
struct source;

struct meter_sum {
	uint64_t messages, bytes, again;
};

/* Of a stream or a tenant; all zero before its first use. */
struct meter {
	struct meter_sum seen; /* of its total: went into a series */
	struct meter_sum own;  /* went into its own */
	bool shown;            /* has one */
};

/* The one message of a source's stream whose way is timed at a time. */
struct meter_probe {
	uint64_t seq; /* 0: none */
	struct mono at;
};

struct meters *meters_new(struct engine *e) MUST_USE;
void meters_free(struct meters *m);
/* A stream ends: what it has counted is not lost. */
void meters_source_gone(struct meters *m, struct source *s);
void meters_sink_gone(struct meters *m, struct sink *s);
/* Message seq was published; is timed if no other one is. */
void meters_published(struct source *s, uint64_t seq);
/* All targets have processed more, or what was pending was dropped. */
void meters_committed(struct meters *m, struct source *s);
/* Appends all of them, with HELP and TYPE, as metrics_print() does. */
int meters_print(struct meters *m, struct buf *out) MUST_USE;

#endif
