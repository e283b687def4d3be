/* meters: see meters.h. */
#include "consensusd/meters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/metrics.h"
#include "consensusd/engine.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"

enum { LINE_BYTES = 256 };

#define PROCESSED "mesh_tenant_processed_seconds"
static const double processed_bounds[] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600};

enum role { SOURCE, TARGET, ROLES };

static const char *const role_names[ROLES] = {"source", "target"};

/* What there is now. */
struct level {
	uint64_t streams, backlog_bytes, lag_messages;
	int64_t oldest_us;
};

struct tenant {
	UT_hash_handle hh;
	char name[TENANT_TEXT_SIZE];
	struct meter_sum total[ROLES];
	struct meter meter[ROLES];
	struct level level[ROLES];
	struct metric processed, processed_new; /* what is not in a series yet */
	char labels[TENANT_TEXT_SIZE + 16];
};

struct meters {
	struct engine *engine;
	struct meter_sum other[ROLES], other_tenants[ROLES];
	struct metric other_processed;
	struct tenant *tenants;
	struct tenant *recent; /* the one that was looked up last, or NULL */
};

/* A line of a table that is printed family by family. */
struct row {
	const char *stream, *tenant; /* stream NULL: of a tenant */
	enum role role;
	struct meter_sum sum;
	struct level level;
};

/* One that may be shown. */
struct candidate {
	struct source *source; /* or else */
	struct sink *sink;     /* or else */
	struct tenant *tenant;
	uint64_t bytes;
};

struct rows {
	struct row *all;
	size_t count, cap;
};

static void
processed_init(struct metric *h, const char *labels)
{
	*h = (struct metric){.name = PROCESSED,
	    .help = "Time from the publishing of a message until all targets have processed it",
	    .labels = labels,
	    .kind = METRIC_HISTOGRAM,
	    .bounds = processed_bounds,
	    .bound_count = sizeof(processed_bounds) / sizeof(processed_bounds[0])};
}

struct meters *
meters_new(struct engine *e)
{
	struct meters *m = mem_calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->engine = e;
	processed_init(&m->other_processed, "tenant=\"other\"");
	return m;
}

static void
tenant_free(struct meters *m, struct tenant *t)
{
	HASH_DEL(m->tenants, t);
	if (m->recent == t)
		m->recent = NULL;
	mem_free(t);
}

void
meters_free(struct meters *m)
{
	if (m == NULL)
		return;
	while (m->tenants != NULL)
		tenant_free(m, m->tenants);
	mem_free(m);
}

/* --- counting --- */

static void
sum_add(struct meter_sum *a, const struct meter_sum *b)
{
	a->messages += b->messages;
	a->bytes += b->bytes;
	a->again += b->again;
}

/* What is new of total goes to the meter's series, or to the other one; it is *delta. */
static void
take(struct meter *m, const struct meter_sum *total, struct meter_sum *other, struct meter_sum *delta)
{
	*delta = (struct meter_sum){
	    total->messages - m->seen.messages, total->bytes - m->seen.bytes, total->again - m->seen.again};
	m->seen = *total;
	sum_add(m->shown ? &m->own : other, delta);
}

static struct tenant *
tenant_of(struct meters *m, const char *name)
{
	struct tenant *t = m->recent;

	if (t != NULL && strcmp(t->name, name) == 0)
		return t;
	HASH_FIND_STR(m->tenants, name, t);
	if (t == NULL && (t = mem_calloc(1, sizeof(*t))) != NULL) {
		snprintf(t->name, sizeof(t->name), "%s", name);
		snprintf(t->labels, sizeof(t->labels), "tenant=\"%s\"", t->name);
		processed_init(&t->processed, t->labels);
		processed_init(&t->processed_new, t->labels);
		HASH_ADD_STR(m->tenants, name, t);
		if (!HASH_ADDED(t)) {
			mem_free(t);
			return NULL;
		}
	}
	m->recent = t;
	return t;
}

static void
count(struct meters *m, struct meter *meter, enum role role, const char *name, const struct meter_sum *total,
    const struct level *level)
{
	struct tenant *t = tenant_of(m, name);
	struct meter_sum delta;

	take(meter, total, &m->other[role], &delta);
	if (t == NULL) {
		sum_add(&m->other_tenants[role], &delta);
		return;
	}
	sum_add(&t->total[role], &delta);
	t->level[role].streams += level->streams;
	t->level[role].backlog_bytes += level->backlog_bytes;
	t->level[role].lag_messages += level->lag_messages;
	if (level->oldest_us > t->level[role].oldest_us)
		t->level[role].oldest_us = level->oldest_us;
}

static int64_t
age_us(const struct ages *a, uint64_t processed)
{
	struct mono since = ages_after(a, processed);

	return mono_is_never(since) ? 0 : mono_diff_us(clock_mono(), since);
}

static struct meter_sum
source_sum(const struct source *s)
{
	struct meter_sum sum = {s->in.total.messages, s->in.total.bytes, 0};

	for (size_t i = 0; i < s->stream->flow_count; i++)
		sum.again += s->flows[i].flow->retransmits;
	return sum;
}

static struct level
source_level(const struct source *s)
{
	return (struct level){1, s->stream->ledger.total_bytes,
	    s->stream->next_seq - 1 - s->stream->committed_seq, age_us(&s->ages, s->stream->committed_seq)};
}

static struct meter_sum
sink_sum(const struct sink *s)
{
	return (struct meter_sum){s->in.total.messages, s->in.total.bytes, s->target->duplicates};
}

static struct level
sink_level(const struct sink *s)
{
	const struct target *t = s->target;

	return (struct level){1, t->ledger.total_bytes, t->expected_seq - 1 - t->processed_seq,
	    age_us(&s->ages, t->processed_seq)};
}

void
meters_source_gone(struct meters *m, struct source *s)
{
	const struct level none = {0};
	struct meter_sum sum = source_sum(s);

	count(m, &s->meter, SOURCE, s->row.tenant_id, &sum, &none);
}

void
meters_sink_gone(struct meters *m, struct sink *s)
{
	const struct level none = {0};
	struct meter_sum sum = sink_sum(s);

	count(m, &s->meter, TARGET, s->row.tenant_id, &sum, &none);
}

/* --- how long messages take --- */

void
meters_published(struct source *s, uint64_t seq)
{
	if (s->probe.seq == 0)
		s->probe = (struct meter_probe){seq, clock_mono()};
}

void
meters_committed(struct meters *m, struct source *s)
{
	const struct stream *st = s->stream;
	struct tenant *t;

	if (s->probe.seq == 0)
		return;
	if (s->probe.seq > st->committed_seq && s->probe.seq < st->next_seq)
		return;
	/* Not what was given up, or never became durable. */
	if (s->probe.seq > st->skipped_seq && s->probe.seq < st->next_seq &&
	    (t = tenant_of(m, s->row.tenant_id)) != NULL)
		metric_observe(&t->processed_new, (double)mono_diff_us(clock_mono(), s->probe.at) / 1e6);
	s->probe.seq = 0;
}

/* --- who has labels of its own --- */

static int
compare(const void *x, const void *y)
{
	const struct candidate *a = x, *b = y;

	return (a->bytes < b->bytes) - (a->bytes > b->bytes);
}

static void
set_shown(const struct candidate *c, bool shown)
{
	if (c->source != NULL)
		c->source->meter.shown = shown;
	else if (c->sink != NULL)
		c->sink->meter.shown = shown;
	else
		c->tenant->meter[SOURCE].shown = c->tenant->meter[TARGET].shown = shown;
}

static void
choose(struct candidate *all, size_t n, size_t max)
{
	if (n > max)
		qsort(all, n, sizeof(*all), compare);
	for (size_t i = 0; i < n; i++)
		set_shown(&all[i], i < max);
}

/* Streams; false: no memory. */
static bool
choose_streams(struct engine *e)
{
	struct candidate *all = mem_calloc(engine_stream_count(e) + 1, sizeof(*all));
	struct source *s, *s_next;
	struct sink *k, *k_next;
	size_t n = 0;

	if (all == NULL)
		return false;
	HASH_ITER (hh, e->sources, s, s_next)
		all[n++] = (struct candidate){.source = s, .bytes = s->in.total.bytes};
	HASH_ITER (hh, e->sinks, k, k_next)
		all[n++] = (struct candidate){.sink = k, .bytes = k->in.total.bytes};
	choose(all, n, e->metrics_streams);
	mem_free(all);
	return true;
}

static bool
choose_tenants(struct meters *m)
{
	struct candidate *all = mem_calloc(HASH_COUNT(m->tenants) + 1, sizeof(*all));
	struct tenant *t, *next;
	size_t n = 0;

	if (all == NULL)
		return false;
	HASH_ITER (hh, m->tenants, t, next)
		all[n++] =
		    (struct candidate){.tenant = t, .bytes = t->total[SOURCE].bytes + t->total[TARGET].bytes};
	choose(all, n, m->engine->metrics_tenants);
	mem_free(all);
	return true;
}

/* --- rows --- */

static void
row_add(struct rows *r, const struct row *row)
{
	if (r->count < r->cap)
		r->all[r->count++] = *row;
}

static void
level_add(struct level *a, const struct level *b)
{
	a->streams += b->streams;
	a->backlog_bytes += b->backlog_bytes;
	a->lag_messages += b->lag_messages;
	if (b->oldest_us > a->oldest_us)
		a->oldest_us = b->oldest_us;
}

static void
stream_rows(struct meters *m, struct rows *r)
{
	struct engine *e = m->engine;
	struct level rest[ROLES] = {{0}};
	struct source *s, *s_next;
	struct sink *k, *k_next;

	HASH_ITER (hh, e->sources, s, s_next) {
		struct row row = {s->id_text, s->row.tenant_id, SOURCE, source_sum(s), source_level(s)};

		count(m, &s->meter, SOURCE, row.tenant, &row.sum, &row.level);
		row.sum = s->meter.own;
		if (s->meter.shown)
			row_add(r, &row);
		else
			level_add(&rest[SOURCE], &row.level);
	}
	HASH_ITER (hh, e->sinks, k, k_next) {
		struct row row = {k->id_text, k->row.tenant_id, TARGET, sink_sum(k), sink_level(k)};

		count(m, &k->meter, TARGET, row.tenant, &row.sum, &row.level);
		row.sum = k->meter.own;
		if (k->meter.shown)
			row_add(r, &row);
		else
			level_add(&rest[TARGET], &row.level);
	}
	for (enum role i = SOURCE; i < ROLES; i++)
		row_add(r, &(struct row){"other", "other", i, m->other[i], rest[i]});
}

/* Tenants without streams are forgotten, but for those that are shown. */
static void
tenant_rows(struct meters *m, struct rows *r)
{
	struct level rest[ROLES] = {{0}};
	struct tenant *t, *next;

	HASH_ITER (hh, m->tenants, t, next) {
		bool shown = t->meter[SOURCE].shown;

		for (enum role i = SOURCE; i < ROLES; i++) {
			struct meter_sum delta;

			take(&t->meter[i], &t->total[i], &m->other_tenants[i], &delta);
			if (shown)
				row_add(r, &(struct row){NULL, t->name, i, t->meter[i].own, t->level[i]});
			else
				level_add(&rest[i], &t->level[i]);
		}
		metric_move(shown ? &t->processed : &m->other_processed, &t->processed_new);
		if (!shown && t->level[SOURCE].streams + t->level[TARGET].streams == 0)
			tenant_free(m, t);
		else
			memset(t->level, 0, sizeof(t->level));
	}
	for (enum role i = SOURCE; i < ROLES; i++)
		row_add(r, &(struct row){NULL, "other", i, m->other_tenants[i], rest[i]});
}

/* --- printing --- */

enum field { MESSAGES, BYTES, AGAIN, STREAMS, BACKLOG, LAG, OLDEST };

struct family {
	const char *name, *type, *help;
	enum field field;
};

static const struct family stream_families[] = {
    {"mesh_stream_messages_total", "counter", "Messages of a stream: published, or received at a target",
	MESSAGES},
    {"mesh_stream_bytes_total", "counter", "Bytes of a stream, sealed: published, or received at a target",
	BYTES},
    {"mesh_stream_repeated_batches_total", "counter", "Batches of a stream sent again, or received again",
	AGAIN},
    {"mesh_stream_backlog_bytes", "gauge", "Bytes of a stream that are kept here", BACKLOG},
    {"mesh_stream_lag_messages", "gauge", "Messages of a stream that are not processed", LAG},
    {"mesh_stream_oldest_seconds", "gauge", "For how long the oldest message of a stream has waited", OLDEST},
};

static const struct family tenant_families[] = {
    {"mesh_tenant_messages_total", "counter", "Messages of a tenant: published, or received at a target",
	MESSAGES},
    {"mesh_tenant_bytes_total", "counter", "Bytes of a tenant, sealed: published, or received at a target",
	BYTES},
    {"mesh_tenant_repeated_batches_total", "counter", "Batches of a tenant sent again, or received again",
	AGAIN},
    {"mesh_tenant_streams", "gauge", "Open streams of a tenant", STREAMS},
    {"mesh_tenant_backlog_bytes", "gauge", "Bytes of a tenant that are kept here", BACKLOG},
    {"mesh_tenant_lag_messages", "gauge", "Messages of a tenant that are not processed", LAG},
    {"mesh_tenant_oldest_seconds", "gauge", "For how long the oldest message of a tenant has waited", OLDEST},
};

static void
value_text(const struct row *r, enum field field, char *out, size_t size)
{
	const uint64_t values[] = {[MESSAGES] = r->sum.messages,
	    [BYTES] = r->sum.bytes,
	    [AGAIN] = r->sum.again,
	    [STREAMS] = r->level.streams,
	    [BACKLOG] = r->level.backlog_bytes,
	    [LAG] = r->level.lag_messages};

	if (field == OLDEST)
		snprintf(out, size, "%.3f", (double)r->level.oldest_us / 1e6);
	else
		snprintf(out, size, "%llu", (unsigned long long)values[field]);
}

/* Names of tenants and ids of streams need no quoting. */
static int
put_row(struct buf *out, const struct family *f, const struct row *r)
{
	char line[LINE_BYTES], value[32];
	int n;

	value_text(r, f->field, value, sizeof(value));
	if (r->stream != NULL)
		n = snprintf(line, sizeof(line),
		    "%s{daemon=\"consensusd\",stream=\"%s\",tenant=\"%s\",role=\"%s\"} %s\n", f->name,
		    r->stream, r->tenant, role_names[r->role], value);
	else
		n = snprintf(line, sizeof(line), "%s{daemon=\"consensusd\",tenant=\"%s\",role=\"%s\"} %s\n",
		    f->name, r->tenant, role_names[r->role], value);
	return n > 0 && (size_t)n < sizeof(line) ? buf_put_bytes(out, line, (size_t)n) : ERR_LIMIT;
}

static int
put_families(struct buf *out, const struct family *families, size_t count_, const struct rows *rows)
{
	char line[LINE_BYTES];
	int err = 0;

	for (size_t i = 0; i < count_ && err == 0; i++) {
		const struct family *f = &families[i];
		int n = snprintf(
		    line, sizeof(line), "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, f->type);

		err = n > 0 && (size_t)n < sizeof(line) ? buf_put_bytes(out, line, (size_t)n) : ERR_LIMIT;
		for (size_t k = 0; k < rows->count && err == 0; k++)
			err = put_row(out, f, &rows->all[k]);
	}
	return err;
}

static int
put_processed(struct meters *m, struct buf *out)
{
	struct tenant *t, *next;
	int err = metric_print(out, &m->other_processed, true, "consensusd");

	HASH_ITER (hh, m->tenants, t, next)
		if (err == 0 && t->meter[SOURCE].shown)
			err = metric_print(out, &t->processed, false, "consensusd");
	return err;
}

static int
print(struct meters *m, struct buf *out, struct rows *r)
{
	int err;

	stream_rows(m, r);
	err = put_families(out, stream_families, sizeof(stream_families) / sizeof(stream_families[0]), r);
	if (err != 0)
		return err;
	r->count = 0;
	if (!choose_tenants(m))
		return ERR_NOMEM;
	tenant_rows(m, r);
	err = put_families(out, tenant_families, sizeof(tenant_families) / sizeof(tenant_families[0]), r);
	return err != 0 ? err : put_processed(m, out);
}

int
meters_print(struct meters *m, struct buf *out)
{
	struct engine *e = m->engine;
	size_t streams = engine_stream_count(e), tenants;
	struct rows r = {0};
	int err;

	if (streams > e->metrics_streams)
		streams = e->metrics_streams;
	/* Each stream may bring a tenant that was not known. */
	tenants = HASH_COUNT(m->tenants) + engine_stream_count(e);
	if (tenants > e->metrics_tenants)
		tenants = e->metrics_tenants;
	r.cap = (streams > ROLES * tenants ? streams : ROLES * tenants) + ROLES;
	r.all = mem_calloc(r.cap, sizeof(*r.all));
	if (r.all == NULL || !choose_streams(e))
		err = ERR_NOMEM;
	else
		err = print(m, out, &r);
	mem_free(r.all);
	return err;
}
