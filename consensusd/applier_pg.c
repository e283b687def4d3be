/* applier_pg: requests of the applier on its connection; see applier_impl.h. */
#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "common/os/log.h"
#include "consensusd/applier_impl.h"

/* ---- what an error means ---- */

/*
 * Classes of SQLSTATE (PostgreSQL, appendix A): those that say something of the server or of what else runs
 * there, and nothing of the statement.  55P03: a lock was held for too long.  25006: a standby, for now.
 */
enum applier_verdict
applier_verdict_of(const char *sqlstate)
{
	static const char again[][3] = {"08", "40", "53", "57", "58"};

	/* Canceled: by its timeout, or by somebody.  XX: a bug of the server; it may be gone next time. */
	if (strcmp(sqlstate, "57014") == 0 || strncmp(sqlstate, "XX", 2) == 0)
		return APPLIER_LATE;
	if (sqlstate[0] == '\0' || strcmp(sqlstate, "55P03") == 0 || strcmp(sqlstate, "25006") == 0)
		return APPLIER_AGAIN;
	for (size_t i = 0; i < sizeof(again) / sizeof(again[0]); i++)
		if (strncmp(sqlstate, again[i], 2) == 0)
			return APPLIER_AGAIN;
	return APPLIER_WRONG;
}

static void
note_error(struct applier *a, const struct pg_result *res)
{
	struct applier_answer *x = &a->answer;
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (x->failed)
		return; /* the first one is the cause */
	x->failed = true;
	x->failed_at = x->answered;
	snprintf(x->state, sizeof(x->state), "%s", state != NULL ? state : "");
	x->verdict = applier_verdict_of(x->state);
	store_conn_trouble(a->conn, res, x->text);
}

/* ---- requests ---- */

static void
on_result(void *ctx, const struct pg_result *res)
{
	struct applier *a = ctx;
	struct applier_answer *x = &a->answer;

	if (res == NULL) {
		a->state = APPLIER_IDLE;
		x->done(a);
		return;
	}
	switch (PQresultStatus(res)) {
	case PGRES_TUPLES_OK:
		for (size_t i = 0; i < x->want_count; i++)
			if (x->wants[i].at == x->answered)
				x->wants[i].fn(a, res);
		break;
	case PGRES_COMMAND_OK:
	case PGRES_PIPELINE_ABORTED:
		break;
	default:
		note_error(a, res);
	}
	x->answered++;
}

/* The first statement of a request makes the answer to the one before void. */
void
applier_ask(struct applier *a, const char *sql, const struct pg_params *p)
{
	static const struct pg_params none;
	struct applier_answer *x = &a->answer;

	if (a->state != APPLIER_BUSY) {
		a->state = APPLIER_BUSY;
		*x = (struct applier_answer){0};
	}
	x->unsent |= pg_params_query(store_conn_pg(a->conn), sql, p != NULL ? p : &none) != 0;
	x->asked++;
}

void
applier_want(struct applier *a, applier_rows_fn *fn)
{
	struct applier_answer *x = &a->answer;

	MUST(x->want_count < APPLIER_WANTS_MAX && x->asked > 0);
	x->wants[x->want_count].at = x->asked - 1;
	x->wants[x->want_count++].fn = fn;
}

void
applier_begin(struct applier *a)
{
	struct pg_params p = {0};

	pg_params_int8(&p, a->position);
	pg_params_text(&p, a->handler);
	applier_ask(a, "BEGIN", NULL);
	/* Division by zero, if it is another one. */
	applier_ask(a,
	    "SELECT 1 / count(*) FROM (SELECT FROM mesh.handler_positions"
	    " WHERE handler = $2::text AND position = $1 FOR UPDATE) AS it",
	    &p);
}

void
applier_ask_statement(struct applier *a)
{
	const struct applier_statement *s = &a->statement;
	struct pg_params p = {0};

	for (int i = 0; i < s->param_count; i++)
		pg_params_bytes(&p, s->params[i], s->param_lens[i]);
	applier_ask(a, (const char *)buf_head(&s->sql), &p);
}

void
applier_ask_move(struct applier *a, uint64_t position)
{
	struct pg_params p = {0};

	pg_params_int8(&p, position);
	pg_params_text(&p, a->handler);
	applier_ask(a,
	    "UPDATE mesh.handler_positions SET position = $1, updated = now() WHERE handler = $2::text", &p);
}

void
applier_send(struct applier *a, applier_done_fn *done)
{
	struct applier_answer *x = &a->answer;

	x->done = done;
	if (x->unsent || PQpipelineSync(store_conn_pg(a->conn)) == 0) {
		store_conn_trouble(a->conn, NULL, x->text);
		applier_reconnect(a, x->text);
		return;
	}
	store_conn_await(a->conn, on_result);
}

static void
on_rollback(void *ctx, const struct pg_result *res)
{
	struct applier *a = ctx;

	if (res == NULL)
		a->answer.rolled_back(a);
	else if (PQresultStatus(res) != PGRES_COMMAND_OK)
		a->answer.unsent = true;
}

static void
rolled_back_check(struct applier *a)
{
	a->state = APPLIER_IDLE;
	if (a->answer.unsent)
		applier_reconnect(a, "a transaction can't be rolled back");
	else
		a->answer.done(a);
}

void
applier_rollback(struct applier *a, applier_done_fn *done)
{
	static const struct pg_params none;
	struct pg_conn *pg = store_conn_pg(a->conn);

	a->state = APPLIER_BUSY;
	a->answer.done = done;
	a->answer.rolled_back = rolled_back_check;
	if (pg_params_query(pg, "ROLLBACK", &none) != 0 || PQpipelineSync(pg) == 0) {
		applier_reconnect(a, "a transaction can't be rolled back");
		return;
	}
	store_conn_await(a->conn, on_rollback);
}

/* ---- a new connection ---- */

static void
on_settings(void *ctx, const struct pg_result *res)
{
	struct applier *a = ctx;

	if (res != NULL) {
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			note_error(a, res);
		return;
	}
	if (a->answer.failed || PQenterPipelineMode(store_conn_pg(a->conn)) == 0)
		applier_reconnect(a, a->answer.text);
	else
		a->answer.done(a);
}

/* Settings that texts are read by are fixed: an update means the same on each node. */
void
applier_pg_setup(struct applier *a, applier_done_fn *done)
{
	char sql[640];

	a->answer = (struct applier_answer){.done = done};
	snprintf(sql, sizeof(sql),
	    "SET search_path = \"%s\"; SET statement_timeout = %u; SET lock_timeout = %u;"
	    " SET idle_in_transaction_session_timeout = 0; SET synchronous_commit = on;"
	    " SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';"
	    " SET client_min_messages = warning; SET jit = off;"
	    " SET default_transaction_isolation = 'read committed'",
	    a->rules.schema, a->rules.timeout_ms, a->rules.timeout_ms / 2 + 1);
	if (PQsendQuery(store_conn_pg(a->conn), sql) == 0) {
		store_conn_trouble(a->conn, NULL, a->answer.text);
		applier_reconnect(a, a->answer.text);
		return;
	}
	store_conn_await(a->conn, on_settings);
}

/* ---- rows, all in binary ---- */

size_t
applier_rows(const struct pg_result *res)
{
	return (size_t)PQntuples(res);
}

int64_t
applier_row_int(const struct pg_result *res, size_t row, int column)
{
	const char *p = PQgetvalue(res, (int)row, column);

	switch (PQgetlength(res, (int)row, column)) {
	case 8:
		return (int64_t)be_load64((const uint8_t *)p);
	case 4:
		return (int32_t)be_load32((const uint8_t *)p);
	case 1:
		return p[0];
	default:
		return 0;
	}
}

const uint8_t *
applier_row_bytes(const struct pg_result *res, size_t row, int column, size_t *len)
{
	*len = (size_t)PQgetlength(res, (int)row, column);
	return (const uint8_t *)PQgetvalue(res, (int)row, column);
}
