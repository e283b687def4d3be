/*
 * dbline: a connection of its own to this node's database, on which database updates are done: those of the
 * control group (applier.h), and those that streams carry (dbsink.h).
 *
 * A request is one pipeline: dbline_ask() for each statement, then dbline_send(); its end calls done.  All
 * that writes is one transaction that begins with dbline_begin(), which makes sure that the position is
 * still what its owner knows: the backend of a lost connection may have committed late.
 */
#ifndef CONSENSUSD_DBLINE_H
#define CONSENSUSD_DBLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/os/loop.h"
#include "consensusd/applier_sql.h"
#include "consensusd/store_pg_conn.h"
#include "consensusd/store_pg_params.h"

struct applier_rules;
struct conf;

enum {
	DBLINE_WANTS_MAX = 2,       /* statements of a request whose rows are looked at */
	DBLINE_FIRST_STATEMENT = 2, /* in a transaction: after BEGIN and the check of the position */
	DBLINE_TRANSACTION_BYTES = 4 * 1024 * 1024, /* of updates, beside the last one */
	DBLINE_RETRY_MIN_MS = 100,
	DBLINE_RETRY_MAX_MS = 10000,
	DBLINE_TIMEOUTS_MAX = 5,  /* of one update in a row, until it is to blame */
	DBLINE_RESTS_TROUBLE = 3, /* so many failures in a row are trouble */
};

enum dbline_state {
	DBLINE_DOWN,
	DBLINE_SETUP,
	DBLINE_IDLE,
	DBLINE_BUSY,   /* a request is under way */
	DBLINE_RESTING /* its owner waits; dbline_idle() ends it */
};

/* What an error says of the statement that it came for. */
enum dbline_verdict {
	DBLINE_AGAIN, /* nothing */
	DBLINE_LATE,  /* it ran out of time: again, but not for ever */
	DBLINE_WRONG, /* it can't be done */
};

/* What a transaction failed for. */
enum dbline_blame {
	DBLINE_POSITION, /* somebody else has moved the position: where is it? */
	DBLINE_NOBODY,   /* our own tables */
	DBLINE_FIRST,    /* its first update */
	DBLINE_LATER,    /* one behind that */
};

typedef void dbline_fn(void *ctx);
typedef void dbline_rows_fn(void *ctx, const struct pg_result *res);

struct dbline_answer {          /* to the request that is under way, or was the last one */
	size_t asked, answered; /* statements */
	bool unsent;
	bool failed;
	size_t failed_at; /* which statement */
	enum dbline_verdict verdict;
	char state[6], text[STORE_CONN_TROUBLE_BYTES];
	struct {
		size_t at;
		dbline_rows_fn *fn;
	} wants[DBLINE_WANTS_MAX];
	size_t want_count;
	dbline_fn *done;
};

struct dbline_callbacks {
	/* Connected, with the session's settings made: asks what it has to know, then dbline_settled(). */
	dbline_fn *up;
	/* The connection is gone; a request under way gets no answer. */
	void (*down)(void *ctx, const char *why);
	/* Nothing is under way: what is next? */
	dbline_fn *go_on;
	void *ctx;
};

struct dbline {
	struct loop *loop;
	struct store_conn *conn;
	const struct applier_rules *rules; /* the owner's */
	struct dbline_callbacks cb;
	const char *what; /* for the log */
	bool open;        /* it connects */
	enum dbline_state state;
	struct loop_defer wake;
	struct dbline_answer answer;
	struct applier_statement statement;
	char lost[STORE_CONN_TROUBLE_BYTES]; /* why there was no connection, as it was logged */
};

/* Does not connect yet.  what, rules and cb->ctx stay the owner's.  ERR_NOMEM; dbline_fini() in any case. */
int dbline_init(struct dbline *l, struct loop *loop, const struct conf *conf, const char *user,
    const char *what, const struct applier_rules *rules, const struct dbline_callbacks *cb) MUST_USE;
void dbline_fini(struct dbline *l);
/* Connects, the first time. */
void dbline_open(struct dbline *l);
/* The connection is given up, and made anew: down is called. */
void dbline_reconnect(struct dbline *l, const char *why);
/* All that has to be known is known. */
void dbline_settled(struct dbline *l);
/* Connected, and not only just. */
bool dbline_up(const struct dbline *l);
/* The request is through: go_on is called from the loop, as there may be requests without end. */
void dbline_idle(struct dbline *l);
/* There may be more to do. */
void dbline_wake(struct dbline *l);

/* An update as the line's statement; tenant: whose stream carries it, NULL: the control group does.
 * applier_statement_make()'s errors. */
int dbline_make(struct dbline *l, const char *tenant, const uint8_t *payload, size_t len,
    char why[APPLIER_WHY_SIZE]) MUST_USE;
/* What the failed transaction with count updates, and perhaps statements behind them, failed for; *which:
 * the update. */
enum dbline_blame dbline_blame(const struct dbline *l, size_t count, size_t *which);

/* --- dbline_pg.c: all that has to do with libpq --- */
/* Session settings, then done. */
void dbline_setup(struct dbline *l, dbline_fn *done);
/* One more statement of a request; p NULL: without parameters.  Copied.  The first one makes the answer to
 * the request before void. */
void dbline_ask(struct dbline *l, const char *sql, const struct pg_params *p);
/* The rows of the statement asked last go to fn. */
void dbline_want(struct dbline *l, dbline_rows_fn *fn);
/* Begins a transaction of the handler whose position is known (mesh.handler_positions). */
void dbline_begin(struct dbline *l, const char *handler, uint64_t position);
void dbline_ask_statement(struct dbline *l); /* l->statement */
void dbline_ask_move(struct dbline *l, const char *handler, uint64_t position);
void dbline_send(struct dbline *l, dbline_fn *done);
/* A transaction failed: ends it, then done.  The answer stays the one of the failure. */
void dbline_rollback(struct dbline *l, dbline_fn *done);
enum dbline_verdict dbline_verdict_of(const char *sqlstate);
size_t dbline_rows(const struct pg_result *res);
int64_t dbline_row_int(const struct pg_result *res, size_t row, int column);
const uint8_t *dbline_row_bytes(const struct pg_result *res, size_t row, int column, size_t *len);

#endif
