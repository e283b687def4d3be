/* dbline: requests on its connection; see dbline.h. */
#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "consensusd/applier_rules.h"
#include "consensusd/dbline.h"

/* ---- what an error means ---- */

/*
 * Classes of SQLSTATE (PostgreSQL, appendix A): those that say something of the server or of what else runs
 * there, and nothing of the statement.  55P03: a lock was held for too long.  25006: a standby, for now.
 */
enum dbline_verdict
dbline_verdict_of(const char *sqlstate)
{
	static const char again[][3] = {"08", "40", "53", "57", "58"};

	/* Canceled: by its timeout, or by somebody.  XX: a bug of the server; it may be gone next time. */
	if (strcmp(sqlstate, "57014") == 0 || strncmp(sqlstate, "XX", 2) == 0)
		return DBLINE_LATE;
	if (sqlstate[0] == '\0' || strcmp(sqlstate, "55P03") == 0 || strcmp(sqlstate, "25006") == 0)
		return DBLINE_AGAIN;
	for (size_t i = 0; i < sizeof(again) / sizeof(again[0]); i++)
		if (strncmp(sqlstate, again[i], 2) == 0)
			return DBLINE_AGAIN;
	return DBLINE_WRONG;
}

static void
note_error(struct dbline *l, const struct pg_result *res)
{
	struct dbline_answer *x = &l->answer;
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (x->failed)
		return; /* the first one is the cause */
	x->failed = true;
	x->failed_at = x->answered;
	snprintf(x->state, sizeof(x->state), "%s", state != NULL ? state : "");
	x->verdict = dbline_verdict_of(x->state);
	store_conn_trouble(l->conn, res, x->text);
}

/* ---- requests ---- */

static void
on_result(void *ctx, const struct pg_result *res)
{
	struct dbline *l = ctx;
	struct dbline_answer *x = &l->answer;

	if (res == NULL) {
		l->state = DBLINE_IDLE;
		x->done(l->cb.ctx);
		return;
	}
	switch (PQresultStatus(res)) {
	case PGRES_TUPLES_OK:
		for (size_t i = 0; i < x->want_count; i++)
			if (x->wants[i].at == x->answered)
				x->wants[i].fn(l->cb.ctx, res);
		break;
	case PGRES_COMMAND_OK:
	case PGRES_PIPELINE_ABORTED:
		break;
	default:
		note_error(l, res);
	}
	x->answered++;
}

/* The first statement of a request makes the answer to the one before void. */
void
dbline_ask(struct dbline *l, const char *sql, const struct pg_params *p)
{
	static const struct pg_params none;
	struct dbline_answer *x = &l->answer;

	if (l->state != DBLINE_BUSY) {
		l->state = DBLINE_BUSY;
		*x = (struct dbline_answer){0};
	}
	x->unsent |= pg_params_query(store_conn_pg(l->conn), sql, p != NULL ? p : &none) != 0;
	x->asked++;
}

void
dbline_want(struct dbline *l, dbline_rows_fn *fn)
{
	struct dbline_answer *x = &l->answer;

	MUST(x->want_count < DBLINE_WANTS_MAX && x->asked > 0);
	x->wants[x->want_count].at = x->asked - 1;
	x->wants[x->want_count++].fn = fn;
}

void
dbline_begin(struct dbline *l, const char *handler, uint64_t position)
{
	struct pg_params p = {0};

	pg_params_int8(&p, position);
	pg_params_text(&p, handler);
	dbline_ask(l, "BEGIN", NULL);
	/* Division by zero, if it is another one. */
	dbline_ask(l,
	    "SELECT 1 / count(*) FROM (SELECT FROM mesh.handler_positions"
	    " WHERE handler = $2::text AND position = $1 FOR UPDATE) AS it",
	    &p);
}

void
dbline_ask_statement(struct dbline *l)
{
	const struct applier_statement *s = &l->statement;
	struct pg_params p = {0};

	for (int i = 0; i < s->param_count; i++)
		pg_params_bytes(&p, s->params[i], s->param_lens[i]);
	dbline_ask(l, (const char *)buf_head(&s->sql), &p);
}

void
dbline_ask_move(struct dbline *l, const char *handler, uint64_t position)
{
	struct pg_params p = {0};

	pg_params_int8(&p, position);
	pg_params_text(&p, handler);
	dbline_ask(l,
	    "UPDATE mesh.handler_positions SET position = $1, updated = now() WHERE handler = $2::text", &p);
}

void
dbline_send(struct dbline *l, dbline_fn *done)
{
	struct dbline_answer *x = &l->answer;

	x->done = done;
	if (x->unsent || PQpipelineSync(store_conn_pg(l->conn)) == 0) {
		store_conn_trouble(l->conn, NULL, x->text);
		dbline_reconnect(l, x->text);
		return;
	}
	store_conn_await(l->conn, on_result);
}

static void
rolled_back(struct dbline *l)
{
	l->state = DBLINE_IDLE;
	if (l->answer.unsent)
		dbline_reconnect(l, "a transaction can't be rolled back");
	else
		l->answer.done(l->cb.ctx);
}

static void
on_rollback(void *ctx, const struct pg_result *res)
{
	struct dbline *l = ctx;

	if (res == NULL)
		rolled_back(l);
	else if (PQresultStatus(res) != PGRES_COMMAND_OK)
		l->answer.unsent = true;
}

void
dbline_rollback(struct dbline *l, dbline_fn *done)
{
	static const struct pg_params none;
	struct pg_conn *pg = store_conn_pg(l->conn);

	l->state = DBLINE_BUSY;
	l->answer.done = done;
	if (pg_params_query(pg, "ROLLBACK", &none) != 0 || PQpipelineSync(pg) == 0) {
		dbline_reconnect(l, "a transaction can't be rolled back");
		return;
	}
	store_conn_await(l->conn, on_rollback);
}

/* ---- a new connection ---- */

static void
on_settings(void *ctx, const struct pg_result *res)
{
	struct dbline *l = ctx;

	if (res != NULL) {
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			note_error(l, res);
		return;
	}
	if (l->answer.failed || PQenterPipelineMode(store_conn_pg(l->conn)) == 0)
		dbline_reconnect(l, l->answer.text);
	else
		l->answer.done(l->cb.ctx);
}

/* Settings that texts are read by are fixed: an update means the same on each node. */
void
dbline_setup(struct dbline *l, dbline_fn *done)
{
	char sql[640];

	l->answer = (struct dbline_answer){.done = done};
	snprintf(sql, sizeof(sql),
	    "SET search_path = \"%s\"; SET statement_timeout = %u; SET lock_timeout = %u;"
	    " SET idle_in_transaction_session_timeout = 0; SET synchronous_commit = on;"
	    " SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';"
	    " SET client_min_messages = warning; SET jit = off;"
	    " SET default_transaction_isolation = 'read committed'",
	    l->rules->schema, l->rules->timeout_ms, l->rules->timeout_ms / 2 + 1);
	if (PQsendQuery(store_conn_pg(l->conn), sql) == 0) {
		store_conn_trouble(l->conn, NULL, l->answer.text);
		dbline_reconnect(l, l->answer.text);
		return;
	}
	store_conn_await(l->conn, on_settings);
}

/* ---- rows, all in binary ---- */

size_t
dbline_rows(const struct pg_result *res)
{
	return (size_t)PQntuples(res);
}

int64_t
dbline_row_int(const struct pg_result *res, size_t row, int column)
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
dbline_row_bytes(const struct pg_result *res, size_t row, int column, size_t *len)
{
	*len = (size_t)PQgetlength(res, (int)row, column);
	return (const uint8_t *)PQgetvalue(res, (int)row, column);
}
