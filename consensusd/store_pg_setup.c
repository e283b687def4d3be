/*
 * store_pg_setup: the checklist that a new connection of the writer goes through, in this order:
 * session settings, guard rails, the one-writer lock, schema, whose database it is and what was
 * written last, load (the first time), statements.
 */
#include <postgresql/libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "consensusd/store_pg.h"

enum { SERVER_VERSION_MIN = 130000 };

/* The key of the advisory lock: "mesh" in ASCII, and a byte of 1.  The lock ends with the session. */
#define LOCK_KEY "469853497345"

/* A result of the query: the rows are as said.  Otherwise the checklist ends. */
static bool
shape_is(struct store *s, const struct pg_result *res, int rows, int columns)
{
	if (PQntuples(res) == rows && PQnfields(res) == columns)
		return true;
	store_setup_fail(s, false, "unexpected answer: %d rows of %d", PQntuples(res), PQnfields(res));
	return false;
}

static int
ask(struct store *s, const char *sql)
{
	return PQsendQuery(store_conn_pg(s->writer), sql) != 0 ? 0 : ERR_CLOSED;
}

static void
answer_nothing(struct store *s, const struct pg_result *res)
{
	(void)s;
	(void)res;
}

static int
settings_ask(struct store *s)
{
	/* Plans: the hot tables are empty one moment and full the next, so statistics mislead; all
	 * statements here go by primary key. */
	return ask(s, "SET synchronous_commit = on; SET search_path = mesh; SET timezone = 'UTC';"
		      " SET statement_timeout = 0; SET lock_timeout = '10s';"
		      " SET idle_in_transaction_session_timeout = 0; SET client_min_messages = warning;"
		      " SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;"
		      " SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off;"
		      " SET jit = off; SET default_transaction_isolation = 'read committed'");
}

static int
guards_ask(struct store *s)
{
	return ask(s, "SELECT current_setting('fsync'), current_setting('full_page_writes'),"
		      " current_setting('server_version_num'), pg_is_in_recovery(),"
		      " current_setting('default_transaction_read_only'),"
		      " pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()");
}

static void
guards_answer(struct store *s, const struct pg_result *res)
{
	if (!shape_is(s, res, 1, 6))
		return;
	if (strcmp(PQgetvalue(res, 0, 0), "on") != 0)
		store_setup_fail(
		    s, true, "PostgreSQL runs with fsync off: what it confirms can be lost; turn it on");
	else if (strcmp(PQgetvalue(res, 0, 1), "on") != 0)
		store_setup_fail(
		    s, true, "PostgreSQL runs with full_page_writes off: a crash can ruin it; turn it on");
	else if (strtol(PQgetvalue(res, 0, 2), NULL, 10) < SERVER_VERSION_MIN)
		store_setup_fail(s, true, "PostgreSQL %s is too old: 13 is the oldest that will do",
		    PQgetvalue(res, 0, 2));
	else if (PQgetvalue(res, 0, 3)[0] != 'f' || strcmp(PQgetvalue(res, 0, 4), "off") != 0)
		store_setup_fail(s, false, "PostgreSQL takes no writes now (standby or read only)");
	else if (strcmp(PQgetvalue(res, 0, 5), "UTF8") != 0 &&
		 strcmp(PQgetvalue(res, 0, 5), "SQL_ASCII") != 0)
		log_debug("store: the database's encoding is %s", PQgetvalue(res, 0, 5));
}

static int
lock_ask(struct store *s)
{
	return ask(s, "SELECT pg_try_advisory_lock(" LOCK_KEY ")");
}

static void
lock_answer(struct store *s, const struct pg_result *res)
{
	/* The backend of a process that died works on until it notices; its last commit may come late. */
	if (shape_is(s, res, 1, 1) && PQgetvalue(res, 0, 0)[0] != 't')
		store_setup_fail(s, false, "another consensusd, or what is left of one, uses the database");
}

static int
marker_ask(struct store *s)
{
	return ask(s, "SELECT node_id, instance, flush, incarnation FROM flush_marker");
}

/* The marker was ours before the connection was lost: is it where we left it? */
static void
marker_settle(struct store *s, const char *instance, uint64_t flush)
{
	if (strcmp(instance, s->instance) != 0) {
		store_setup_fail(s, true, "another consensusd has used the database meanwhile");
		return;
	}
	if (s->sent != NULL && flush == s->sent->number) {
		log_info("store: flush %llu was committed before the connection was lost",
		    (unsigned long long)flush);
		store_confirm(s);
	} else if (flush != s->confirmed) {
		store_setup_fail(s, true,
		    "the database is at flush %llu, but %llu was confirmed: it was set "
		    "back, or something else writes to it",
		    (unsigned long long)flush, (unsigned long long)s->confirmed);
	}
}

static void
marker_answer(struct store *s, const struct pg_result *res)
{
	char theirs[NODEID_TEXT_SIZE], ours[NODEID_TEXT_SIZE];
	uint64_t node;

	if (PQntuples(res) == 0) {
		if (s->claimed)
			store_setup_fail(s, true, "the database has lost its contents");
		return;
	}
	if (!shape_is(s, res, 1, 4))
		return;
	node = (uint64_t)strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	if (node != s->node_id) {
		nodeid_format(theirs, node);
		nodeid_format(ours, s->node_id);
		store_setup_fail(s, true,
		    "the database belongs to node %s, and this is node %s: give it "
		    "one of its own, or the right keyring",
		    theirs, ours);
		return;
	}
	if (s->claimed)
		marker_settle(s, PQgetvalue(res, 0, 1), strtoull(PQgetvalue(res, 0, 2), NULL, 10));
	else if (strtoull(PQgetvalue(res, 0, 3), NULL, 10) > s->incarnation)
		s->incarnation = strtoull(PQgetvalue(res, 0, 3), NULL, 10);
}

static int
claim_ask(struct store *s)
{
	char sql[384];

	if (s->claimed)
		return 1;
	snprintf(sql, sizeof(sql),
	    "INSERT INTO flush_marker (node_id, instance, flush, incarnation) VALUES (%lld, '%s', 0, %llu)"
	    " ON CONFLICT (one) DO UPDATE SET instance = EXCLUDED.instance, flush = 0, updated = now(),"
	    " base = flush_marker.base + flush_marker.flush RETURNING base",
	    (long long)(int64_t)s->node_id, s->instance, (unsigned long long)s->incarnation);
	return ask(s, sql);
}

static void
claim_answer(struct store *s, const struct pg_result *res)
{
	if (!shape_is(s, res, 1, 1))
		return;
	s->base = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
	s->claimed = true;
}

void
store_roll_back(struct store *s, const char *fmt, ...)
{
	char why[STORE_WHY_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	log_error("store: %s", why);
	if (s->rolled_back[0] == '\0')
		memcpy(s->rolled_back, why, sizeof(why));
}

/* Everything is loaded: was something missing? */
static int
told_ask(struct store *s)
{
	if (s->rolled_back[0] != '\0' && !s->rolled_back_told) {
		s->rolled_back_told = true;
		s->cb.on_rolled_back(s->cb.ctx, s->rolled_back);
	}
	return 1;
}

static int
types_ask(struct store *s)
{
	return ask(s, "SELECT 'batch_row'::regtype::oid");
}

static void
types_answer(struct store *s, const struct pg_result *res)
{
	if (shape_is(s, res, 1, 1))
		s->row_type = (uint32_t)strtoul(PQgetvalue(res, 0, 0), NULL, 10);
}

static int
prepare_ask(struct store *s)
{
	struct pg_conn *pg = store_conn_pg(s->writer);

	return PQenterPipelineMode(pg) != 0 ? store_flush_prepare(pg) : ERR_CLOSED;
}

/* ask: 0 sent, 1 nothing to ask, or an error.  answer: each result that is no error. */
static const struct step {
	const char *what;
	int (*ask)(struct store *s);
	void (*answer)(struct store *s, const struct pg_result *res);
} steps[] = {
    {"session settings", settings_ask, answer_nothing},
    {"server settings", guards_ask, guards_answer},
    {"lock", lock_ask, lock_answer},
    {"schema", store_schema_ask, store_schema_answer},
    {"schema version", store_version_ask, store_version_answer},
    {"migration", store_migrate_ask, store_migrate_answer},
    {"flush marker", marker_ask, marker_answer},
    {"claim", claim_ask, claim_answer},
    {"nodes", store_load_nodes_ask, store_load_nodes_answer},
    {"rules about streams", store_load_rules_ask, store_load_rules_answer},
    {"keys of tenants", store_load_keys_ask, store_load_keys_answer},
    {"streams", store_load_streams_ask, store_load_streams_answer},
    {"offsets", store_load_offsets_ask, store_load_offsets_answer},
    {"replicas", store_load_raft_ask, store_load_raft_answer},
    {"updates of nodes", store_load_notes_ask, store_load_notes_answer},
    {"positions of subscribers", store_load_positions_ask, store_load_positions_answer},
    {"dead letters", store_load_letters_ask, store_load_letters_answer},
    {"attempts", store_load_attempts_ask, store_load_attempts_answer},
    {"what failed", store_load_failures_ask, store_load_failures_answer},
    {"promises", store_promises_ask, store_promises_answer},
    {"what is missing", told_ask, answer_nothing},
    {"types", types_ask, types_answer},
    {"statements", prepare_ask, answer_nothing},
};

static void on_answer(void *ctx, const struct pg_result *res);

void
store_setup_fail(struct store *s, bool fatal, const char *fmt, ...)
{
	va_list ap;

	if (s->setup.failed)
		return; /* the first reason is the cause */
	s->setup.failed = true;
	s->setup.fatal = fatal;
	va_start(ap, fmt);
	vsnprintf(s->setup.why, sizeof(s->setup.why), fmt, ap);
	va_end(ap);
}

static void
setup_end(struct store *s)
{
	char why[STORE_WHY_BYTES];

	memcpy(why, s->setup.why, sizeof(why));
	if (s->setup.fatal)
		store_fatal(s, why);
	else
		store_down(s, why);
}

/* Asks the next question; when there is none left the store is up. */
static void
setup_go_on(struct store *s)
{
	struct store_setup *u = &s->setup;
	int err;

	for (; u->step < sizeof(steps) / sizeof(steps[0]); u->step++) {
		u->again = false;
		err = steps[u->step].ask(s);
		if (err == 1)
			continue;
		if (err != 0)
			store_setup_fail(s, false, "%s: %s", steps[u->step].what, err_text(err));
		if (u->failed)
			setup_end(s);
		else
			store_conn_await(s->writer, on_answer);
		return;
	}
	store_up(s);
}

static void
on_answer(void *ctx, const struct pg_result *res)
{
	struct store *s = ctx;
	struct store_setup *u = &s->setup;
	char text[STORE_CONN_TROUBLE_BYTES];

	if (res == NULL) {
		if (u->failed) {
			setup_end(s);
			return;
		}
		u->step += u->again ? 0 : 1;
		setup_go_on(s);
		return;
	}
	switch (PQresultStatus(res)) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
	case PGRES_SINGLE_TUPLE:
		if (!u->failed)
			steps[u->step].answer(s, res);
		break;
	default:
		store_conn_trouble(s->writer, res, text);
		store_setup_fail(s, false, "%s: %s", steps[u->step].what, text);
	}
}

void
store_setup_start(struct store *s)
{
	store_load_raft_again(s);
	s->setup = (struct store_setup){0};
	setup_go_on(s);
}
