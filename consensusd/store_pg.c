/* store_pg: the writer of store.h: puts, flushes one at a time, and what follows a lost connection. */
#include "consensusd/store_pg.h"

#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "common/os/metrics.h"

static struct metric metric_flushes =
    METRIC_COUNTER_INIT("mesh_store_flushes_total", "Transactions committed", NULL);
static struct metric metric_rows =
    METRIC_COUNTER_INIT("mesh_store_rows_total", "Rows and marks written by them", NULL);
static struct metric metric_bytes =
    METRIC_COUNTER_INIT("mesh_store_bytes_total", "Bytes of memory that they held", NULL);
static struct metric metric_failures =
    METRIC_COUNTER_INIT("mesh_store_flush_failures_total", "Transactions that failed and were kept", NULL);
static struct metric metric_lost =
    METRIC_COUNTER_INIT("mesh_store_lost_total", "Times the database went away", NULL);
static struct metric metric_pending =
    METRIC_GAUGE_INIT("mesh_store_pending_bytes", "Bytes put and not durable yet", NULL);
static const double seconds_bounds[] = {.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .5, 1, 5};
static struct metric metric_seconds = {.name = "mesh_store_flush_seconds",
    .help = "From sending a transaction to its commit",
    .kind = METRIC_HISTOGRAM,
    .bounds = seconds_bounds,
    .bound_count = sizeof(seconds_bounds) / sizeof(seconds_bounds[0])};

static void
metrics_register(void)
{
	static bool done; /* the registry is one per process, too */

	if (done)
		return;
	done = true;
	metrics_add(&metric_flushes);
	metrics_add(&metric_rows);
	metrics_add(&metric_bytes);
	metrics_add(&metric_failures);
	metrics_add(&metric_lost);
	metrics_add(&metric_pending);
	metrics_add(&metric_seconds);
}

/* ---- ready or not ---- */

static void
trouble_set(struct store *s, const char *why)
{
	if (strcmp(s->error, why) != 0)
		log_warn("store: %s", why);
	snprintf(s->error, sizeof(s->error), "%s", why);
}

/* The database is away, as far as the user is concerned. */
static void
ready_end(struct store *s, const char *why)
{
	bool was_ready = s->ready;

	trouble_set(s, why);
	s->ready = false;
	store_reader_fail(s->reader);
	if (!was_ready)
		return;
	metric_inc(&metric_lost);
	s->cb.on_lost(s->cb.ctx, s->error);
}

static void
ready_begin(struct store *s)
{
	if (s->ready)
		return;
	s->ready = true;
	log_notice("store: the database is %s", s->was_ready ? "back" : "ready");
	s->was_ready = true;
	s->error[0] = '\0';
	s->cb.on_ready(s->cb.ctx);
}

static void
on_die(void *arg)
{
	struct store *s = arg;

	s->cb.on_fatal(s->cb.ctx, s->error);
}

void
store_fatal(struct store *s, const char *why)
{
	s->state = STORE_DEAD;
	s->ready = false;
	snprintf(s->error, sizeof(s->error), "%s", why);
	log_error("store: %s", why);
	loop_timer_disarm(s->timer);
	loop_defer_del(&s->kick);
	store_conn_stop(s->writer);
	store_reader_fail(s->reader);
	/* From the loop: the user ends the daemon, and we are deep in what it frees. */
	loop_defer_add(s->loop, &s->die);
}

void
store_down(struct store *s, const char *why)
{
	s->state = STORE_DOWN;
	loop_timer_disarm(s->timer);
	store_conn_retry(s->writer);
	ready_end(s, why);
}

/* ---- flushes ---- */

static void on_flushed(void *ctx, const struct pg_result *res);

static void
flush_send(struct store *s)
{
	struct store_flush *f = TAILQ_FIRST(&s->flushes);
	int err;

	MUST(f != NULL && f->number == s->confirmed + 1);
	s->sent = f;
	s->last_sent = f->number;
	s->sent_failed = false;
	s->sent_at = clock_mono();
	err = store_flush_send(
	    f, store_conn_pg(s->writer), &s->scratch, s->row_type, s->instance, s->incarnation);
	if (err != 0) {
		/* Half a pipeline was queued: only a new connection gets rid of it. */
		store_down(s, err_text(err));
		return;
	}
	loop_timer_arm_ms(s->timer, STORE_STALL_MS);
	store_conn_await(s->writer, on_flushed);
}

/* Sends the next flush, if there is one and nothing is on its way. */
static void
flush_next(struct store *s)
{
	if (s->state == STORE_UP && !store_conn_busy(s->writer) && !TAILQ_EMPTY(&s->flushes))
		flush_send(s);
}

static void
on_kick(void *arg)
{
	flush_next(arg);
}

void
store_kick(struct store *s, size_t bytes)
{
	s->bytes += bytes;
	metric_set(&metric_pending, (int64_t)s->bytes);
	loop_defer_add(s->loop, &s->kick);
}

void
store_confirm(struct store *s)
{
	struct store_flush *f = s->sent;

	MUST(f != NULL && f == TAILQ_FIRST(&s->flushes));
	TAILQ_REMOVE(&s->flushes, f, next);
	s->sent = NULL;
	s->confirmed = f->number;
	s->bytes -= f->bytes;
	metric_inc(&metric_flushes);
	metric_add(&metric_rows, (int64_t)f->rows);
	metric_add(&metric_bytes, (int64_t)f->bytes);
	metric_set(&metric_pending, (int64_t)s->bytes);
	if (f->rafts.groups != NULL)
		store_promises_confirm(s, f->number, f->rafts.promised);
	store_flush_free(f);
}

/* What contradicts what we know (22 data, 23 integrity) will not pass later either. */
static bool
is_contradiction(const struct pg_result *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	return state != NULL && (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0);
}

static void
flush_error(struct store *s, const struct pg_result *res)
{
	char text[STORE_CONN_TROUBLE_BYTES], why[STORE_WHY_BYTES];

	if (s->sent_failed)
		return; /* the first error is the cause */
	s->sent_failed = true;
	store_conn_trouble(s->writer, res, text);
	snprintf(why, sizeof(why), "writing failed: %s", text);
	if (is_contradiction(res))
		store_fatal(s, why);
	else
		trouble_set(s, why);
}

/* The transaction was rolled back as a whole: it is sent again later. */
static void
flush_failed(struct store *s)
{
	char why[STORE_WHY_BYTES];

	memcpy(why, s->error, sizeof(why));
	metric_inc(&metric_failures);
	s->state = STORE_RETRY;
	loop_timer_arm_ms(s->timer, backoff_next_ms(&s->retry, &s->rng));
	ready_end(s, why);
}

static void
flush_done(struct store *s)
{
	uint64_t number = s->sent->number;

	metric_observe(&metric_seconds, (double)mono_diff_us(clock_mono(), s->sent_at) / 1e6);
	loop_timer_disarm(s->timer);
	store_confirm(s);
	backoff_reset(&s->retry);
	/* The next flush is on its way while the user works on this one. */
	flush_next(s);
	s->cb.on_durable(s->cb.ctx, number);
	if (s->state == STORE_UP)
		ready_begin(s);
}

static void
on_flushed(void *ctx, const struct pg_result *res)
{
	struct store *s = ctx;

	if (res == NULL) {
		if (s->sent_failed)
			flush_failed(s);
		else
			flush_done(s);
		return;
	}
	switch (PQresultStatus(res)) {
	case PGRES_COMMAND_OK:
		/* Only the marker is an UPDATE. */
		if (strcmp(PQcmdStatus((PGresult *)(uintptr_t)res), "UPDATE 0") == 0)
			store_fatal(s, "flush_marker is not where the last flush left it: something else "
				       "writes to the database");
		break;
	case PGRES_PIPELINE_ABORTED:
		break;
	default:
		flush_error(s, res);
	}
}

static void
on_timer(void *arg)
{
	struct store *s = arg;

	if (s->state == STORE_RETRY) {
		s->state = STORE_UP;
		flush_next(s);
	} else if (s->state == STORE_UP) {
		ready_end(s, "PostgreSQL has not answered for some seconds");
	}
}

/* ---- the connection ---- */

static void
on_up(void *ctx)
{
	struct store *s = ctx;

	s->state = STORE_SETUP;
	store_setup_start(s);
}

static void
on_down(void *ctx, const char *why)
{
	struct store *s = ctx;
	char text[STORE_WHY_BYTES];

	s->state = STORE_DOWN;
	loop_timer_disarm(s->timer);
	snprintf(text, sizeof(text), "no connection to PostgreSQL: %s", why);
	ready_end(s, text);
}

void
store_up(struct store *s)
{
	s->state = STORE_UP;
	store_conn_settled(s->writer);
	s->sent = NULL; /* what was in doubt is confirmed or will be sent again */
	if (s->reader == NULL)
		s->reader = store_reader_new(s->loop, s->conninfo, s->user);
	if (s->keeper == NULL)
		s->keeper = store_keeper_new(s->loop, s->conninfo, s->user, &s->cb);
	if (s->reader == NULL || s->keeper == NULL) {
		store_down(s, err_text(ERR_NOMEM));
		return;
	}
	flush_next(s);
	if (s->confirmed > 0)
		s->cb.on_durable(s->cb.ctx, s->confirmed);
	if (s->state == STORE_UP)
		ready_begin(s);
}

static int
init(struct store *s, struct loop *l, const struct store_conf *conf)
{
	const struct store_conn_callbacks cb = {.on_up = on_up, .on_down = on_down, .ctx = s};
	uint8_t r[16];
	int err;

	s->conninfo = mem_strdup(conf->conninfo);
	s->user = conf->user != NULL ? mem_strdup(conf->user) : NULL;
	if (s->conninfo == NULL || (conf->user != NULL && s->user == NULL))
		return ERR_NOMEM;
	err = store_migrations_init(&s->migrations, conf->sql_dir_fd, conf->migrate);
	if (err != 0)
		return err;
	crypto_random(r, sizeof(r));
	uuid_format(s->instance, r);
	crypto_random(&s->seed, sizeof(s->seed));
	rng_seed(&s->rng, s->seed);
	crypto_random(&s->seed, sizeof(s->seed));
	for (int box = 0; box < STORE_BOXES; box++)
		store_marks_init(&s->floors[box], s->seed);
	s->timer = loop_timer_new(l, on_timer, s);
	s->writer = store_conn_new(l, conf->conninfo, conf->user, &cb);
	return s->timer != NULL && s->writer != NULL ? 0 : ERR_NOMEM;
}

struct store *
store_new(struct loop *l, const struct store_conf *conf, const struct store_callbacks *cb)
{
	struct store *s = mem_calloc(1, sizeof(*s));
	int err;

	if (s == NULL)
		return NULL;
	metrics_register();
	s->loop = l;
	s->cb = *cb;
	s->node_id = conf->node_id;
	s->memory_max = conf->memory_max;
	s->load.last_node = s->notes_load.last_node = INT64_MIN;
	store_promises_init(s, conf);
	TAILQ_INIT(&s->flushes);
	buf_init(&s->scratch, STORE_FLUSH_SCRATCH_BYTES);
	backoff_init(&s->retry, STORE_RETRY_MIN_MS, STORE_RETRY_MAX_MS);
	s->kick = (struct loop_defer){.fn = on_kick, .arg = s};
	s->die = (struct loop_defer){.fn = on_die, .arg = s};
	snprintf(s->error, sizeof(s->error), "connecting to PostgreSQL");
	err = init(s, l, conf);
	if (err != 0) {
		log_error("store: %s", err_text(err));
		store_free(s);
		return NULL;
	}
	return s;
}

void
store_free(struct store *s)
{
	struct store_flush *f;

	if (s == NULL)
		return;
	loop_defer_del(&s->kick);
	loop_defer_del(&s->die);
	store_conn_free(s->writer);
	store_reader_free(s->reader);
	store_keeper_free(s->keeper);
	if (s->timer != NULL)
		loop_timer_free(s->timer);
	while ((f = TAILQ_FIRST(&s->flushes)) != NULL) {
		TAILQ_REMOVE(&s->flushes, f, next);
		store_flush_free(f);
	}
	for (int box = 0; box < STORE_BOXES; box++)
		store_marks_fini(&s->floors[box]);
	store_load_raft_fini(s);
	store_promises_fini(s);
	store_migrations_fini(&s->migrations);
	buf_fini(&s->scratch);
	if (s->conninfo != NULL)
		crypto_wipe(s->conninfo, strlen(s->conninfo));
	mem_free(s->conninfo);
	mem_free(s->user);
	mem_free(s);
}

bool
store_ready(const struct store *s)
{
	return s->ready;
}

bool
store_full(const struct store *s)
{
	return !s->ready || s->bytes > s->memory_max / 4;
}

bool
store_full_for(const struct store *s, uint8_t class)
{
	return class == FRAME_CLASS_CLIENT ? store_full(s) : !s->ready || s->bytes > s->memory_max / 2;
}

int64_t
store_lag_ms(const struct store *s)
{
	const struct store_flush *f = TAILQ_FIRST(&s->flushes);

	return f != NULL ? mono_diff_us(clock_mono(), f->opened) / 1000 : 0;
}

const char *
store_error(const struct store *s)
{
	return s->error;
}

int
store_read_config_history(
    struct store *s, const char *key, bool prefix, size_t limit, store_config_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	return store_reader_add_history(s->reader, key, prefix, limit, fn, arg);
}

int
store_read_message(struct store *s, const struct ulid *stream, uint64_t seq, const struct ulid *message_id,
    store_message_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	return store_reader_add_message(s->reader, stream, seq, message_id, fn, arg);
}

int
store_read_ids(struct store *s, const struct ulid *stream, uint64_t from_seq, store_id_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	return store_reader_add_ids(s->reader, stream, from_seq, fn, arg);
}

int
store_read_letters(struct store *s, const struct ulid *stream, const char *tenant, uint64_t after,
    size_t limit, store_letter_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	return store_reader_add_letters(s->reader, stream, tenant, 0, after, limit, fn, arg);
}

int
store_read_letter(struct store *s, const struct ulid *stream, uint64_t seq, store_letter_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	return store_reader_add_letters(s->reader, stream, "", seq, 0, 1, fn, arg);
}

int
store_read_failures(struct store *s, const struct ulid *stream, uint64_t node, uint64_t seq, size_t limit,
    store_failure_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	return store_reader_add_failures(s->reader, stream, node, seq, limit, fn, arg);
}

int
store_read_backlog(struct store *s, const struct ulid *stream, store_backlog_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	return store_reader_add_backlog(s->reader, stream, fn, arg);
}

int
store_read(struct store *s, enum store_box box, const struct ulid *stream, uint64_t from_seq,
    size_t max_bytes, store_batch_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	return store_reader_add(s->reader, box, stream, from_seq, max_bytes, fn, arg);
}
