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
    .letters = METRIC_GAUGE_INIT("mesh_db_dead_letters_count", "Dead letters that are not resolved", NULL),
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
	else if (a->rests >= APPLIER_RESTS_TROUBLE)
		snprintf(out, size, "database updates are tried again and again: %s", a->why);
	else
		snprintf(out, size, "%s", "");
	return out;
}

/* ---- doing updates ---- */

int
applier_make(struct applier *a, const uint8_t *payload, size_t len, struct applier_change *c,
    char why[APPLIER_WHY_SIZE])
{
	if (applier_change_read(c, payload, len) == 0)
		return applier_statement_make(&a->statement, &a->rules, c, why);
	snprintf(why, APPLIER_WHY_SIZE, "what the update carries is no DBUpdate");
	return ERR_FORMAT;
}

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
	bool was = a->rests >= APPLIER_RESTS_TROUBLE;

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
	a->state = APPLIER_RESTING;
	metric_inc(&applier_stats.retried);
	log_info("database updates are put off: %s", a->answer.text);
	if (++a->rests == APPLIER_RESTS_TROUBLE)
		applier_trouble_changed(a, a->answer.text);
	loop_timer_arm_ms(a->timer, backoff_next_ms(&a->backoff, &a->rng));
}

static void
on_timer(void *arg)
{
	struct applier *a = arg;

	if (a->state == APPLIER_RESTING)
		applier_idle(a);
}

/* The update that the batch began with can't be done, or not in time. */
static void
first_failed(struct applier *a)
{
	const struct applier_answer *x = &a->answer;
	struct applier_update u;

	if (x->verdict == APPLIER_LATE) {
		a->lates = a->late_index == a->batch_first ? a->lates + 1 : 1;
		a->late_index = a->batch_first;
	}
	if (x->verdict == APPLIER_AGAIN || (x->verdict == APPLIER_LATE && a->lates < APPLIER_TIMEOUTS_MAX))
		applier_rest(a);
	else if (next(a, a->position, &u) && u.index == a->batch_first)
		applier_letter_write(a, &u, x->text);
	else
		applier_idle(a);
}

/* The transaction of a batch failed and is rolled back. */
static void
batch_failed(struct applier *a)
{
	const struct applier_answer *x = &a->answer;
	size_t which = x->failed_at - APPLIER_FIRST_STATEMENT;

	if (x->failed_at < APPLIER_FIRST_STATEMENT) {
		/* Somebody else has moved the position: where is it? */
		applier_reconnect(a, x->text);
		return;
	}
	/* At COMMIT: a constraint that is checked at the end.  One of them has broken it. */
	if (which >= a->batch_count && x->failed_at + 1 == x->asked)
		which = a->batch_count == 1 ? 0 : 1;
	if (which >= a->batch_count) {
		applier_rest(a); /* our own tables */
	} else if (which > 0) {
		a->batch_limit = which;
		applier_idle(a);
	} else {
		first_failed(a);
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
	applier_idle(a);
}

static void
batch_done(struct applier *a)
{
	if (a->answer.failed)
		applier_rollback(a, batch_failed);
	else
		batch_committed(a, &applier_stats.applied);
}

/* The letter that the others wait for goes with the transaction that does the update after all. */
static void
ask_letter(struct applier *a, const char *sql)
{
	struct pg_params p = {0};

	pg_params_int8(&p, a->letter);
	applier_ask(a, sql, &p);
}

/* A transaction with u, whose statement is made, and those after it. */
static void
apply(struct applier *a, struct applier_update *u)
{
	size_t limit = a->letter != 0 ? 1 : a->batch_limit, bytes = 0;
	struct applier_change c;
	char why[APPLIER_WHY_SIZE];

	a->batch_first = u->index;
	a->batch_count = 0;
	applier_begin(a);
	do {
		applier_ask_statement(a);
		a->batch_last = u->index;
		a->batch_count++;
		bytes += u->len;
	} while (a->batch_count < limit && bytes < APPLIER_BATCH_BYTES && next(a, a->batch_last, u) &&
		 applier_make(a, u->payload, u->len, &c, why) == 0);
	a->letter_gone = a->letter == a->batch_first;
	if (a->letter_gone)
		ask_letter(a, "DELETE FROM mesh.dead_letters WHERE position = $1");
	applier_ask_move(a, a->batch_last);
	applier_ask(a, "COMMIT", NULL);
	applier_send(a, batch_done);
}

static void
pass_failed(struct applier *a)
{
	if (a->answer.failed_at < APPLIER_FIRST_STATEMENT)
		applier_reconnect(a, a->answer.text);
	else
		applier_rest(a);
}

static void
pass_done(struct applier *a)
{
	if (a->answer.failed)
		applier_rollback(a, pass_failed);
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
	applier_begin(a);
	if (a->letter != 0)
		ask_letter(a, "UPDATE mesh.dead_letters SET blocking = false WHERE position = $1");
	applier_ask_move(a, a->batch_last);
	applier_ask(a, "COMMIT", NULL);
	applier_send(a, pass_done);
}

static void
start(struct applier *a)
{
	struct applier_change c;
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
	err = applier_make(a, u.payload, u.len, &c, why);
	if (err == 0) {
		apply(a, &u);
	} else if (err == ERR_NOMEM) {
		a->answer = (struct applier_answer){0};
		snprintf(a->answer.text, sizeof(a->answer.text), "%s", err_text(err));
		applier_rest(a);
	} else {
		applier_letter_write(a, &u, why);
	}
}

void
applier_go_on(struct applier *a)
{
	if (a->state != APPLIER_IDLE)
		return;
	if (!TAILQ_EMPTY(&a->requests))
		applier_request_go_on(a);
	else
		start(a);
}

/* From the loop: there are updates without end, perhaps. */
void
applier_idle(struct applier *a)
{
	a->state = APPLIER_IDLE;
	loop_defer_add(a->loop, &a->wake);
}

static void
on_wake(void *arg)
{
	applier_go_on(arg);
}

/* ---- the connection ---- */

static void
down(struct applier *a, const char *why)
{
	/* Attempts go on; their reason is told once. */
	if (strncmp(a->lost, why, sizeof(a->lost) - 1) != 0)
		log_info("database updates: no connection: %s", why);
	snprintf(a->lost, sizeof(a->lost), "%s", why);
	a->state = APPLIER_DOWN;
	loop_timer_disarm(a->timer);
	applier_requests_fail(a, why);
}

void
applier_reconnect(struct applier *a, const char *why)
{
	char text[STORE_CONN_TROUBLE_BYTES];

	snprintf(text, sizeof(text), "%s", why); /* it may go with the connection */
	store_conn_retry(a->conn);
	down(a, text);
}

static void
on_position(struct applier *a, const struct pg_result *res)
{
	uint64_t position = applier_rows(res) == 1 ? (uint64_t)applier_row_int(res, 0, 0) : 0;

	if (position < a->position)
		log_warn("the database has done updates up to %llu, and had done them up to %llu: "
			 "is it from a backup?",
		    (unsigned long long)position, (unsigned long long)a->position);
	a->position = position;
}

static void
on_ready(struct applier *a)
{
	if (a->answer.failed) {
		applier_reconnect(a, a->answer.text);
		return;
	}
	applier_letters_take(a);
	store_conn_settled(a->conn);
	a->lost[0] = '\0';
	/* What was wrong may have been put right meanwhile. */
	a->retry = a->letter != 0;
	a->batch_limit = a->rules.batch_max;
	if (a->attached)
		a->cb.applied(a->cb.ctx, a->position);
	applier_idle(a);
}

static void
on_settings(struct applier *a)
{
	struct pg_params p = {0};

	/* Letters of another log name positions that mean nothing in this one. */
	pg_params_text(&p, a->handler);
	applier_ask(a,
	    "WITH fresh AS (INSERT INTO mesh.handler_positions (handler, position) VALUES ($1::text, 0)"
	    " ON CONFLICT DO NOTHING RETURNING 1)"
	    " DELETE FROM mesh.dead_letters WHERE EXISTS (SELECT FROM fresh)",
	    &p);
	applier_ask(a, "SELECT position FROM mesh.handler_positions WHERE handler = $1::text", &p);
	applier_want(a, on_position);
	applier_letters_ask(a);
	applier_send(a, on_ready);
}

static void
on_up(void *ctx)
{
	struct applier *a = ctx;

	a->state = APPLIER_SETUP;
	applier_pg_setup(a, on_settings);
}

static void
on_down(void *ctx, const char *why)
{
	down(ctx, why);
}

/* ---- its life ---- */

struct applier *
applier_new(struct loop *l, const struct conf *conf, const char *user, void (*changed)(void *ctx), void *ctx)
{
	struct applier *a = mem_calloc(1, sizeof(*a));
	const struct store_conn_callbacks cb = {.on_up = on_up, .on_down = on_down, .ctx = a};
	uint64_t seed;

	if (a == NULL)
		return NULL;
	metrics_register();
	a->loop = l;
	a->changed = changed;
	a->changed_ctx = ctx;
	a->behind_since = MONO_NEVER;
	a->batch_limit = 1;
	snprintf(a->handler, sizeof(a->handler), "db");
	a->wake.fn = on_wake;
	a->wake.arg = a;
	TAILQ_INIT(&a->requests);
	applier_statement_init(&a->statement);
	crypto_random(&seed, sizeof(seed));
	rng_seed(&a->rng, seed);
	backoff_init(&a->backoff, APPLIER_RETRY_MIN_MS, APPLIER_RETRY_MAX_MS);
	a->timer = loop_timer_new(l, on_timer, a);
	if (a->timer != NULL && applier_rules_load(&a->rules, conf) == 0)
		a->conn = store_conn_new(l, conf_str(conf, "consensusd", "database"), user, &cb);
	if (a->conn == NULL) {
		applier_free(a);
		return NULL;
	}
	store_conn_stop(a->conn);
	return a;
}

void
applier_open(struct applier *a)
{
	if (a->open)
		return;
	a->open = true;
	store_conn_retry(a->conn);
}

void
applier_free(struct applier *a)
{
	if (a == NULL)
		return;
	applier_requests_fail(a, "this node stops");
	store_conn_free(a->conn);
	loop_defer_del(&a->wake);
	if (a->timer != NULL)
		loop_timer_free(a->timer);
	applier_statement_fini(&a->statement);
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
	if (a->state != APPLIER_DOWN)
		applier_reconnect(a, "it is another log");
}

void
applier_attach(struct applier *a, const struct applier_callbacks *cb)
{
	a->attached = cb != NULL;
	if (cb != NULL)
		a->cb = *cb;
	if (a->attached && a->state != APPLIER_DOWN && a->state != APPLIER_SETUP)
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
	if (a->state != APPLIER_DOWN)
		applier_reconnect(a, "the configuration was read again");
}

void
applier_wake(struct applier *a)
{
	if (a->state == APPLIER_IDLE)
		loop_defer_add(a->loop, &a->wake);
}

uint64_t
applier_position(const struct applier *a)
{
	return a->position;
}
