/* dbsink: see dbsink.h.  Here: its life, the connection, whose turn it is. */
#include "consensusd/dbsink.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/dbsink_impl.h"
#include "consensusd/replay.h"
#include "consensusd/stats.h"

/* ---- those that have something to do ---- */

static void
ready_add(struct dbsinks *all, struct dbsink *d)
{
	if (!d->ready)
		TAILQ_INSERT_TAIL(&all->ready, d, entry);
	d->ready = true;
	dbline_wake(&all->line);
}

static void
ready_del(struct dbsinks *all, struct dbsink *d)
{
	if (d->ready)
		TAILQ_REMOVE(&all->ready, d, entry);
	d->ready = false;
}

void
dbsink_ready(struct sink *s)
{
	if (s->db != NULL && s->engine->dbsinks != NULL)
		ready_add(s->engine->dbsinks, s->db);
}

struct dbsink *
dbsink_take_current(struct dbsinks *all)
{
	struct dbsink *d = all->current;

	all->current = NULL;
	if (d != NULL)
		ready_add(all, d);
	return d;
}

/* ---- trouble ---- */

static bool
is_troubled(const struct dbsink *d)
{
	return d->rests >= DBLINE_RESTS_TROUBLE;
}

static void
trouble_end(struct dbsinks *all, struct dbsink *d)
{
	bool was = is_troubled(d);

	d->rests = 0;
	if (!was)
		return;
	all->troubled--;
	api_health_changed(all->engine->api);
}

void
dbsink_put_off(struct dbsink *d, const char *why)
{
	struct engine *e = d->sink->engine;
	struct dbsinks *all = e->dbsinks;
	const struct log_ctx ctx = {.stream_id = d->sink->id_text};
	bool was = is_troubled(d);

	metric_inc(&stats.db_retried);
	log_at(LOG_INFO, &ctx, "messages are put off: %s", why);
	d->rests++;
	if (is_troubled(d)) {
		snprintf(all->why, sizeof(all->why), "stream %s: %s", d->sink->id_text, why);
		all->troubled += was ? 0 : 1;
		if (!was)
			api_health_changed(e->api);
	}
	d->later = mono_add_ms(clock_mono(), backoff_next_ms(&d->backoff, &e->rng));
	sink_touch(d->sink); /* its timer */
}

void
dbsink_well(struct dbsink *d)
{
	d->lates = 0;
	backoff_reset(&d->backoff);
	trouble_end(d->sink->engine->dbsinks, d);
}

bool
dbsink_again(struct dbsink *d, uint64_t seq)
{
	const struct dbline_answer *x = &d->sink->engine->dbsinks->line.answer;

	if (x->verdict == DBLINE_LATE) {
		d->lates = d->late_seq == seq ? d->lates + 1 : 1;
		d->late_seq = seq;
	}
	return x->verdict == DBLINE_AGAIN || (x->verdict == DBLINE_LATE && d->lates < DBLINE_TIMEOUTS_MAX);
}

const char *
dbsinks_trouble(const struct dbsinks *all, char *out, size_t size)
{
	if (all == NULL || all->troubled == 0)
		snprintf(out, size, "%s", "");
	else
		snprintf(out, size, "messages of %zu streams are tried again and again at the database: %s",
		    all->troubled, all->why);
	return out;
}

struct mono
dbsink_at(const struct sink *s, struct mono now)
{
	return s->db != NULL && mono_before(now, s->db->later) ? s->db->later : MONO_NEVER;
}

/* ---- positions ---- */

static void
on_position(void *ctx, const struct pg_result *res)
{
	struct dbsinks *all = ctx;

	all->position = dbline_rows(res) == 1 ? (uint64_t)dbline_row_int(res, 0, 0) : 0;
}

static void
loaded(struct dbsink *d, const struct dbsinks *all)
{
	const struct log_ctx ctx = {.stream_id = d->sink->id_text};
	struct target *t = d->sink->target;

	d->known = true;
	d->position = all->position;
	d->limit = all->rules.batch_max;
	/* Messages are durable here before they are applied. */
	if (d->position > t->stored_seq)
		log_at(LOG_WARNING, &ctx,
		    "the database has applied messages up to %llu, and has them up to %llu: is a part of it "
		    "from a backup?",
		    (unsigned long long)d->position, (unsigned long long)t->stored_seq);
	/* What was wrong may have been put right meanwhile. */
	sink_retry_now(d->sink);
	target_attend(t, true);
	sink_touch(d->sink);
}

static void
on_loaded(void *ctx)
{
	struct dbsinks *all = ctx;
	struct dbsink *d;

	if (all->line.answer.failed) {
		dbline_reconnect(&all->line, all->line.answer.text);
		return;
	}
	d = dbsink_take_current(all);
	if (d != NULL)
		loaded(d, all);
	dbline_idle(&all->line);
}

/* A stream that is new here begins where its offset is. */
static void
load(struct dbsinks *all, struct dbsink *d)
{
	struct pg_params p = {0};

	all->current = d;
	all->position = 0;
	pg_params_text(&p, d->handler);
	pg_params_int8(&p, d->sink->target->processed_seq);
	dbline_ask(&all->line,
	    "INSERT INTO mesh.handler_positions (handler, position) VALUES ($1::text, $2::bigint)"
	    " ON CONFLICT DO NOTHING",
	    &p);
	p.count = 1;
	dbline_ask(&all->line, "SELECT position FROM mesh.handler_positions WHERE handler = $1::text", &p);
	dbline_want(&all->line, on_position);
	dbline_send(&all->line, on_loaded);
}

static void
ask_sweep(struct dbsinks *all)
{
	all->closed = false;
	dbline_ask(&all->line,
	    "DELETE FROM mesh.handler_positions WHERE handler LIKE 'stream:%' AND handler NOT IN"
	    " (SELECT 'stream:' || mesh.ulid_text(stream_id) FROM mesh.streams WHERE state < 2)",
	    NULL);
}

static void
on_swept(void *ctx)
{
	struct dbsinks *all = ctx;

	if (all->line.answer.failed)
		dbline_reconnect(&all->line, all->line.answer.text);
	else
		dbline_idle(&all->line);
}

/* ---- whose turn it is ---- */

/* True: a request is under way. */
static bool
start(struct dbsinks *all, struct dbsink *d)
{
	if (d->sink->target->state != TARGET_OPEN)
		return false;
	if (!d->known) {
		load(all, d);
		return true;
	}
	if (mono_before(clock_mono(), d->later))
		return false;
	return dbsink_replay(d) || dbsink_batch(d);
}

static void
go_on(void *ctx)
{
	struct dbsinks *all = ctx;
	struct dbsink *d;

	while ((d = TAILQ_FIRST(&all->ready)) != NULL) {
		ready_del(all, d);
		if (start(all, d))
			return;
	}
	if (all->closed) {
		ask_sweep(all);
		dbline_send(&all->line, on_swept);
	}
}

/* ---- the connection ---- */

/* What was under way was done or not: the database says it when it is back. */
static void
on_down(void *ctx, const char *why)
{
	struct dbsinks *all = ctx;
	struct sink *s, *next;

	(void)why;
	all->current = NULL;
	HASH_ITER (hh, all->engine->sinks, s, next) {
		if (s->db == NULL || !s->db->known)
			continue;
		s->db->known = false;
		replay_detach(s);
		target_attend(s->target, false);
		sink_touch(s);
	}
}

static void
on_ready(void *ctx)
{
	struct dbsinks *all = ctx;
	struct sink *s, *next;

	if (all->line.answer.failed) {
		dbline_reconnect(&all->line, all->line.answer.text);
		return;
	}
	HASH_ITER (hh, all->engine->sinks, s, next)
		dbsink_ready(s);
	dbline_settled(&all->line);
}

/*
 * The session's lock (its two numbers are "mesh" and "strm") is free when the session before is gone, with
 * all that it was sent.  Its backend may not have heard yet that nobody listens, so it is told.
 */
static void
on_up(void *ctx)
{
	struct dbsinks *all = ctx;

	dbline_ask(&all->line,
	    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
	    " AND classid = 1835365224 AND objid = 1937011309 AND objsubid = 2 AND pid <> pg_backend_pid()"
	    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
	    NULL);
	dbline_ask(&all->line, "SELECT pg_advisory_lock(1835365224, 1937011309)", NULL);
	ask_sweep(all);
	dbline_send(&all->line, on_ready);
}

/* ---- its life ---- */

struct dbsinks *
dbsinks_new(struct engine *e, const struct conf *conf, const char *user)
{
	struct dbsinks *all = mem_calloc(1, sizeof(*all));
	const struct dbline_callbacks cb = {.up = on_up, .down = on_down, .go_on = go_on, .ctx = all};

	if (all == NULL)
		return NULL;
	all->engine = e;
	TAILQ_INIT(&all->ready);
	if (applier_rules_load(&all->rules, conf) == 0 &&
	    dbline_init(&all->line, e->loop, conf, user, "streams with the handler db", &all->rules, &cb) ==
		0)
		return all;
	dbsinks_free(all);
	return NULL;
}

void
dbsinks_free(struct dbsinks *all)
{
	if (all == NULL)
		return;
	dbline_fini(&all->line);
	applier_rules_fini(&all->rules);
	opened_fini(&all->opened);
	mem_free(all);
}

void
dbsinks_open(struct dbsinks *all)
{
	dbline_open(&all->line);
}

void
dbsinks_configure(struct dbsinks *all, const struct conf *conf)
{
	struct applier_rules fresh;

	if (applier_rules_load(&fresh, conf) != 0) {
		log_error("the rules for streams with the handler db stay as they were");
		return;
	}
	applier_rules_fini(&all->rules);
	all->rules = fresh;
	/* The session's settings are set on a new connection. */
	if (all->line.state != DBLINE_DOWN)
		dbline_reconnect(&all->line, "the configuration was read again");
}

bool
dbsinks_may(const struct dbsinks *all, const char *tenant)
{
	return all != NULL && applier_rules_may(&all->rules, tenant);
}

int
dbsink_attach(struct sink *s)
{
	struct dbsink *d;

	if (s->row.policy.handler != POLICY_DB)
		return 0;
	d = mem_calloc(1, sizeof(*d));
	if (d == NULL)
		return ERR_NOMEM;
	d->sink = s;
	snprintf(d->handler, sizeof(d->handler), "stream:%s", s->id_text);
	backoff_init(&d->backoff, DBLINE_RETRY_MIN_MS, DBLINE_RETRY_MAX_MS);
	s->db = d;
	return 0;
}

void
dbsink_detach(struct sink *s)
{
	struct dbsinks *all = s->engine->dbsinks;
	struct dbsink *d = s->db;

	s->db = NULL;
	if (d != NULL && all != NULL) {
		trouble_end(all, d);
		ready_del(all, d);
		if (all->current == d)
			all->current = NULL;
		all->closed = true;
		dbline_wake(&all->line);
	}
	mem_free(d);
}
