/* applier: see applier.h.  Here: its life, and the transactions that apply updates. */
#include "consensusd/applier.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/applier_impl.h"

struct applier_stats applier_stats = {
    .applied = METRIC_COUNTER_INIT("mesh_db_updates_applied_total", "Database updates applied", NULL),
    .failed = METRIC_COUNTER_INIT(
	"mesh_db_updates_failed_total", "Times a database update became a dead letter", NULL),
    .retried = METRIC_COUNTER_INIT("mesh_db_updates_retried_total",
	"Times database updates were put off by trouble of the database", NULL),
    .passed = METRIC_COUNTER_INIT(
	"mesh_db_updates_passed_total", "Database updates passed over, as this node has no db-table", NULL),
    .letters = METRIC_GAUGE_INIT("mesh_db_dead_letters", "Dead letters that are not resolved", NULL),
    .position = METRIC_GAUGE_INIT(
	"mesh_db_position_index", "Index in the log up to which database updates are done", NULL),
    .behind = METRIC_GAUGE_INIT(
	"mesh_db_behind_seconds", "How long database updates have been waiting without a break", NULL),
};

static void
metrics_register(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	metrics_add(&applier_stats.applied);
	metrics_add(&applier_stats.failed);
	metrics_add(&applier_stats.retried);
	metrics_add(&applier_stats.passed);
	metrics_add(&applier_stats.letters);
	metrics_add(&applier_stats.position);
	metrics_add(&applier_stats.behind);
}

void
applier_measure(const struct applier *a)
{
	bool behind = !mono_is_never(a->behind_since);

	metric_set(&applier_stats.letters, (int64_t)a->letters);
	metric_set(&applier_stats.position, (int64_t)a->position);
	metric_set(&applier_stats.behind, behind ? mono_diff_us(clock_mono(), a->behind_since) / 1000000 : 0);
}

/* ---- trouble ---- */

void
applier_trouble_changed(struct applier *a, const char *why)
{
	snprintf(a->why, sizeof(a->why), "%s", why);
	a->changed(a->changed_ctx);
}

const char *
applier_trouble(const struct applier *a, char *out, size_t size)
{
	if (a == NULL)
		snprintf(out, size, "%s", "");
	else if (a->letter != 0)
		snprintf(out, size,
		    "database updates wait for the one at position %llu, a dead letter, to be resolved: %s",
		    (unsigned long long)a->letter, a->why);
	else if (a->rests >= DBLINE_RESTS_TROUBLE)
		snprintf(out, size, "database updates are tried again and again: %s", a->why);
	else
		snprintf(out, size, "%s", "");
	return out;
}

/* ---- doing updates ---- */

/* The first update that is not done. */
static bool
next(struct applier *a, uint64_t after, struct applier_update *out)
{
	if (!a->cb.next(a->cb.ctx, after, out))
		return false;
	MUST(out->index > after);
	return true;
}

static void
well(struct applier *a)
{
	bool was = a->rests >= DBLINE_RESTS_TROUBLE;

	a->rests = 0;
	backoff_reset(&a->backoff);
	if (was)
		applier_trouble_changed(a, "");
}

void
applier_moved(struct applier *a, uint64_t position)
{
	a->position = position;
	if (a->letter != 0 && a->letter <= position) {
		a->letter = 0;
		applier_trouble_changed(a, "");
	}
	if (a->attached)
		a->cb.applied(a->cb.ctx, position);
}

void
applier_rest(struct applier *a)
{
	a->line.state = DBLINE_RESTING;
	metric_inc(&applier_stats.retried);
	log_info("database updates are put off: %s", a->line.answer.text);
	if (++a->rests == DBLINE_RESTS_TROUBLE)
		applier_trouble_changed(a, a->line.answer.text);
	loop_timer_arm_ms(a->timer, backoff_next_ms(&a->backoff, &a->rng));
}

static void
on_timer(void *arg)
{
	struct applier *a = arg;

	if (a->line.state == DBLINE_RESTING)
		dbline_idle(&a->line);
}

/* The update that the batch began with can't be done, or not in time. */
static void
first_failed(struct applier *a)
{
	const struct dbline_answer *x = &a->line.answer;
	struct applier_update u;

	if (x->verdict == DBLINE_LATE) {
		a->lates = a->late_index == a->batch_first ? a->lates + 1 : 1;
		a->late_index = a->batch_first;
	}
	if (x->verdict == DBLINE_AGAIN || (x->verdict == DBLINE_LATE && a->lates < DBLINE_TIMEOUTS_MAX))
		applier_rest(a);
	else if (next(a, a->position, &u) && u.index == a->batch_first)
		applier_letter_write(a, &u, x->text);
	else
		dbline_idle(&a->line);
}

/* The transaction of a batch failed and is rolled back. */
static void
batch_failed(void *arg)
{
	struct applier *a = arg;
	size_t which;

	switch (dbline_blame(&a->line, a->batch_count, &which)) {
	case DBLINE_POSITION:
		dbline_reconnect(&a->line, a->line.answer.text);
		break;
	case DBLINE_NOBODY:
		applier_rest(a);
		break;
	case DBLINE_FIRST:
		first_failed(a);
		break;
	case DBLINE_LATER:
		a->batch_limit = which;
		dbline_idle(&a->line);
		break;
	}
}

static void
batch_committed(struct applier *a, struct metric *count)
{
	well(a);
	metric_add(count, (int64_t)a->batch_count);
	a->batch_limit = a->batch_limit * 2 < a->rules.batch_max ? a->batch_limit * 2 : a->rules.batch_max;
	a->retry = false;
	a->letters -= a->letters > 0 && a->letter_gone ? 1 : 0;
	applier_moved(a, a->batch_last);
	dbline_idle(&a->line);
}

static void
batch_done(void *arg)
{
	struct applier *a = arg;

	if (a->line.answer.failed)
		dbline_rollback(&a->line, batch_failed);
	else
		batch_committed(a, &applier_stats.applied);
}

/* The letter that the others wait for goes with the transaction that does the update after all. */
static void
ask_letter(struct applier *a, const char *sql)
{
	struct pg_params p = {0};

	pg_params_int8(&p, a->letter);
	dbline_ask(&a->line, sql, &p);
}

/* A transaction with u, whose statement is made, and those after it. */
static void
apply(struct applier *a, struct applier_update *u)
{
	size_t limit = a->letter != 0 ? 1 : a->batch_limit, bytes = 0;
	char why[APPLIER_WHY_SIZE];

	a->batch_first = u->index;
	a->batch_count = 0;
	dbline_begin(&a->line, a->handler, a->position);
	do {
		dbline_ask_statement(&a->line);
		a->batch_last = u->index;
		a->batch_count++;
		bytes += u->len;
	} while (a->batch_count < limit && bytes < DBLINE_TRANSACTION_BYTES && next(a, a->batch_last, u) &&
		 dbline_make(&a->line, NULL, u->payload, u->len, why) == 0);
	a->letter_gone = a->letter == a->batch_first;
	if (a->letter_gone)
		ask_letter(a, "DELETE FROM mesh.dead_letters WHERE position = $1");
	dbline_ask_move(&a->line, a->handler, a->batch_last);
	dbline_ask(&a->line, "COMMIT", NULL);
	dbline_send(&a->line, batch_done);
}

static void
pass_failed(void *arg)
{
	struct applier *a = arg;

	if (a->line.answer.failed_at < DBLINE_FIRST_STATEMENT)
		dbline_reconnect(&a->line, a->line.answer.text);
	else
		applier_rest(a);
}

static void
pass_done(void *arg)
{
	struct applier *a = arg;

	if (a->line.answer.failed)
		dbline_rollback(&a->line, pass_failed);
	else
		batch_committed(a, &applier_stats.passed);
}

/* This node has no tables for updates: they are done as they are.  What blocked them stays as it is, for
 * people, and blocks no more. */
static void
pass(struct applier *a, struct applier_update *u)
{
	a->batch_first = u->index;
	a->batch_count = 0;
	do {
		a->batch_last = u->index;
		a->batch_count++;
	} while (a->batch_count < a->rules.batch_max && next(a, a->batch_last, u));
	a->letter_gone = false;
	dbline_begin(&a->line, a->handler, a->position);
	if (a->letter != 0)
		ask_letter(a, "UPDATE mesh.dead_letters SET blocking = false WHERE position = $1");
	dbline_ask_move(&a->line, a->handler, a->batch_last);
	dbline_ask(&a->line, "COMMIT", NULL);
	dbline_send(&a->line, pass_done);
}

static void
start(struct applier *a)
{
	struct applier_update u;
	char why[APPLIER_WHY_SIZE];
	int err;

	if (!a->attached || !next(a, a->position, &u)) {
		a->behind_since = MONO_NEVER;
		return;
	}
	if (mono_is_never(a->behind_since))
		a->behind_since = clock_mono();
	if (a->rules.table_count == 0) {
		pass(a, &u);
		return;
	}
	if (a->letter != 0 && !a->retry)
		return;
	err = dbline_make(&a->line, NULL, u.payload, u.len, why);
	if (err == 0) {
		apply(a, &u);
	} else if (err == ERR_NOMEM) {
		a->line.answer = (struct dbline_answer){0};
		snprintf(a->line.answer.text, sizeof(a->line.answer.text), "%s", err_text(err));
		applier_rest(a);
	} else {
		applier_letter_write(a, &u, why);
	}
}

static void
go_on(void *ctx)
{
	struct applier *a = ctx;

	if (!TAILQ_EMPTY(&a->requests))
		applier_request_go_on(a);
	else
		start(a);
}

/* ---- the connection ---- */

static void
on_down(void *ctx, const char *why)
{
	struct applier *a = ctx;

	loop_timer_disarm(a->timer);
	applier_requests_fail(a, why);
}

static void
on_position(void *arg, const struct pg_result *res)
{
	struct applier *a = arg;
	uint64_t position = dbline_rows(res) == 1 ? (uint64_t)dbline_row_int(res, 0, 0) : 0;

	if (position < a->position)
		log_warn("the database has done updates up to %llu, and had done them up to %llu: "
			 "is it from a backup?",
		    (unsigned long long)position, (unsigned long long)a->position);
	a->position = position;
}

static void
on_ready(void *arg)
{
	struct applier *a = arg;

	if (a->line.answer.failed) {
		dbline_reconnect(&a->line, a->line.answer.text);
		return;
	}
	applier_letters_take(a);
	/* What was wrong may have been put right meanwhile. */
	a->retry = a->letter != 0;
	a->batch_limit = a->rules.batch_max;
	if (a->attached)
		a->cb.applied(a->cb.ctx, a->position);
	dbline_settled(&a->line);
}

static void
on_settings(void *arg)
{
	struct applier *a = arg;
	struct pg_params p = {0};

	/* Letters of another log name positions that mean nothing in this one. */
	pg_params_text(&p, a->handler);
	dbline_ask(&a->line,
	    "WITH fresh AS (INSERT INTO mesh.handler_positions (handler, position) VALUES ($1::text, 0)"
	    " ON CONFLICT DO NOTHING RETURNING 1)"
	    " DELETE FROM mesh.dead_letters WHERE EXISTS (SELECT FROM fresh)",
	    &p);
	dbline_ask(&a->line, "SELECT position FROM mesh.handler_positions WHERE handler = $1::text", &p);
	dbline_want(&a->line, on_position);
	applier_letters_ask(a);
	dbline_send(&a->line, on_ready);
}

/* ---- its life ---- */

struct applier *
applier_new(struct loop *l, const struct conf *conf, const char *user, void (*changed)(void *ctx), void *ctx)
{
	struct applier *a = mem_calloc(1, sizeof(*a));
	const struct dbline_callbacks cb = {.up = on_settings, .down = on_down, .go_on = go_on, .ctx = a};
	bool made = false;
	uint64_t seed;

	if (a == NULL)
		return NULL;
	metrics_register();
	a->changed = changed;
	a->changed_ctx = ctx;
	a->behind_since = MONO_NEVER;
	a->batch_limit = 1;
	snprintf(a->handler, sizeof(a->handler), "db");
	TAILQ_INIT(&a->requests);
	crypto_random(&seed, sizeof(seed));
	rng_seed(&a->rng, seed);
	backoff_init(&a->backoff, DBLINE_RETRY_MIN_MS, DBLINE_RETRY_MAX_MS);
	a->timer = loop_timer_new(l, on_timer, a);
	if (a->timer != NULL && applier_rules_load(&a->rules, conf) == 0)
		made = dbline_init(&a->line, l, conf, user, "database updates", &a->rules, &cb) == 0;
	if (!made) {
		applier_free(a);
		return NULL;
	}
	return a;
}

void
applier_open(struct applier *a)
{
	dbline_open(&a->line);
}

void
applier_free(struct applier *a)
{
	if (a == NULL)
		return;
	applier_requests_fail(a, "this node stops");
	dbline_fini(&a->line);
	if (a->timer != NULL)
		loop_timer_free(a->timer);
	applier_rules_fini(&a->rules);
	mem_free(a->taken.payload);
	mem_free(a);
}

void
applier_log(struct applier *a, const uint8_t id[APPLIER_LOG_BYTES])
{
	char handler[sizeof(a->handler)];
	size_t at = (size_t)snprintf(handler, sizeof(handler), "db:");

	for (size_t i = 0; i < APPLIER_LOG_BYTES; i++)
		at += (size_t)snprintf(handler + at, sizeof(handler) - at, "%02x", id[i]);
	if (strcmp(handler, a->handler) == 0)
		return;
	memcpy(a->handler, handler, sizeof(a->handler));
	a->position = 0;
	if (a->line.state != DBLINE_DOWN)
		dbline_reconnect(&a->line, "it is another log");
}

void
applier_attach(struct applier *a, const struct applier_callbacks *cb)
{
	a->attached = cb != NULL;
	if (cb != NULL)
		a->cb = *cb;
	if (a->attached && dbline_up(&a->line))
		a->cb.applied(a->cb.ctx, a->position);
	applier_wake(a);
}

void
applier_configure(struct applier *a, const struct conf *conf)
{
	struct applier_rules fresh;

	if (applier_rules_load(&fresh, conf) != 0) {
		log_error("the rules for database updates stay as they were");
		return;
	}
	applier_rules_fini(&a->rules);
	a->rules = fresh;
	/* The session's settings are set, and a letter is tried again, on a new connection.  If a transaction
	 * is under way the database will tell whether it was committed. */
	if (a->line.state != DBLINE_DOWN)
		dbline_reconnect(&a->line, "the configuration was read again");
}

void
applier_wake(struct applier *a)
{
	dbline_wake(&a->line);
}

uint64_t
applier_position(const struct applier *a)
{
	return a->position;
}
