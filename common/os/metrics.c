/* metrics: see metrics.h. */
#include "common/os/metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* The registry is one per process, as what it counts is. */
static struct metric *registry[METRICS_MAX];
static size_t registry_count;

enum { METRIC_LINE_MAX_BYTES = 512 };

void
metrics_add(struct metric *m)
{
	MUST(registry_count < METRICS_MAX);
	MUST(m->bound_count <= METRIC_BUCKETS_MAX);
	/* Lines of one name have to stand together in the text format. */
	for (size_t i = 0; i + 1 < registry_count; i++)
		MUST(strcmp(registry[i]->name, m->name) != 0 ||
		     strcmp(registry[registry_count - 1]->name, m->name) == 0);
	registry[registry_count++] = m;
}

void
metric_observe(struct metric *m, double v)
{
	size_t i = 0;

	while (i < m->bound_count && v > m->bounds[i])
		i++;
	m->buckets[i]++;
	m->sum += v;
}

void
metric_move(struct metric *to, struct metric *from)
{
	for (size_t i = 0; i <= METRIC_BUCKETS_MAX; i++)
		to->buckets[i] += from->buckets[i];
	to->sum += from->sum;
	memset(from->buckets, 0, sizeof(from->buckets));
	from->sum = 0;
}

static int __attribute__((format(printf, 2, 3))) put_line(struct buf *out, const char *fmt, ...)
{
	char line[METRIC_LINE_MAX_BYTES];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		return ERR_LIMIT;
	return buf_put_bytes(out, line, (size_t)n);
}

static const char *
kind_name(enum metric_kind k)
{
	return k == METRIC_COUNTER ? "counter" : k == METRIC_GAUGE ? "gauge" : "histogram";
}

static const char *
comma(const struct metric *m)
{
	return m->labels != NULL ? "," : "";
}

static const char *
labels(const struct metric *m)
{
	return m->labels != NULL ? m->labels : "";
}

static int
put_histogram(struct buf *out, const struct metric *m, const char *daemon)
{
	unsigned long long sum = 0;
	int r = 0;

	for (size_t i = 0; i < m->bound_count && r == 0; i++) {
		sum += m->buckets[i];
		r = put_line(out, "%s_bucket{daemon=\"%s\"%s%s,le=\"%g\"} %llu\n", m->name, daemon, comma(m),
		    labels(m), m->bounds[i], sum);
	}
	sum += m->buckets[m->bound_count];
	if (r == 0)
		r = put_line(out, "%s_bucket{daemon=\"%s\"%s%s,le=\"+Inf\"} %llu\n", m->name, daemon,
		    comma(m), labels(m), sum);
	if (r == 0)
		r = put_line(
		    out, "%s_sum{daemon=\"%s\"%s%s} %.17g\n", m->name, daemon, comma(m), labels(m), m->sum);
	if (r == 0)
		r = put_line(
		    out, "%s_count{daemon=\"%s\"%s%s} %llu\n", m->name, daemon, comma(m), labels(m), sum);
	return r;
}

int
metric_print(struct buf *out, const struct metric *m, bool first, const char *daemon)
{
	int r = 0;

	if (first)
		r = put_line(
		    out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, kind_name(m->kind));
	if (r != 0)
		return r;
	if (m->kind == METRIC_HISTOGRAM)
		return put_histogram(out, m, daemon);
	return put_line(
	    out, "%s{daemon=\"%s\"%s%s} %lld\n", m->name, daemon, comma(m), labels(m), (long long)m->value);
}

int
metrics_print(struct buf *out, const char *daemon)
{
	const char *last = "";
	int r = 0;

	for (size_t i = 0; i < registry_count && r == 0; i++) {
		const struct metric *m = registry[i];

		r = metric_print(out, m, strcmp(last, m->name) != 0, daemon);
		last = m->name;
	}
	return r;
}
