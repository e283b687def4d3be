/*
 * applier_impl: what the files of the applier share; not for others.
 *
 * A request is one pipeline: applier_ask() for each statement, then applier_send(); its end calls done.  All
 * that writes is one transaction, that begins with applier_begin(), which makes sure that the position is
 * still what we know: the backend of a lost connection may have committed late.
 */
#ifndef CONSENSUSD_APPLIER_IMPL_H
#define CONSENSUSD_APPLIER_IMPL_H

#include <bsd/sys/queue.h>

#include "common/base/backoff.h"
#include "common/base/mono.h"
#include "common/base/rng.h"
#include "common/os/loop.h"
#include "common/os/metrics.h"
#include "consensusd/applier.h"
#include "consensusd/applier_rules.h"
#include "consensusd/applier_sql.h"
#include "consensusd/store_pg_conn.h"
#include "consensusd/store_pg_params.h"

enum {
	APPLIER_BATCH_BYTES = 4 * 1024 * 1024, /* of updates in one transaction, beside the last one */
	APPLIER_RETRY_MIN_MS = 100,
	APPLIER_RETRY_MAX_MS = 10000,
	APPLIER_WANTS_MAX = 2,       /* statements of a request whose rows are looked at */
	APPLIER_RESTS_TROUBLE = 3,   /* so many failures in a row are trouble */
	APPLIER_FIRST_STATEMENT = 2, /* in a transaction: after BEGIN and the check of the position */
};

enum applier_state {
	APPLIER_DOWN,
	APPLIER_SETUP,
	APPLIER_IDLE,
	APPLIER_BUSY,   /* a request is under way */
	APPLIER_RESTING /* until it is tried again */
};

/* What an error says of the statement that it came for. */
enum applier_verdict {
	APPLIER_AGAIN, /* nothing */
	APPLIER_LATE,  /* it ran out of time: again, but not for ever */
	APPLIER_WRONG, /* it can't be done */
};

typedef void applier_done_fn(struct applier *a);
typedef void applier_rows_fn(struct applier *a, const struct pg_result *res);

struct applier_answer {         /* to the request that is under way, or was the last one */
	size_t asked, answered; /* statements */
	bool unsent;
	bool failed;
	size_t failed_at; /* which statement */
	enum applier_verdict verdict;
	char state[6], text[STORE_CONN_TROUBLE_BYTES];
	struct {
		size_t at;
		applier_rows_fn *fn;
	} wants[APPLIER_WANTS_MAX];
	size_t want_count;
	applier_done_fn *done, *rolled_back;
};

enum applier_request_kind { APPLIER_LIST, APPLIER_RETRY, APPLIER_DISCARD };

struct applier_request {
	TAILQ_ENTRY(applier_request) entry;
	enum applier_request_kind kind;
	uint64_t position; /* LIST: after it; else which one, 0: all */
	uint32_t limit;
	uint64_t cursor; /* letters up to here are done */
	bool found;
	applier_letters_fn *fn;
	void *ctx;
	uint64_t handle;
};

struct applier {
	struct loop *loop;
	struct store_conn *conn;
	bool open;                               /* it connects */
	char handler[4 + 2 * APPLIER_LOG_BYTES]; /* whose position it is: "db:" and the log's id */
	struct applier_rules rules;
	struct applier_callbacks cb;
	bool attached;
	void (*changed)(void *ctx);
	void *changed_ctx;

	enum applier_state state;
	struct loop_defer wake;
	struct loop_timer *timer;
	struct backoff backoff;
	struct rng rng;
	unsigned rests; /* in a row */
	struct applier_answer answer;
	struct applier_statement statement;
	char why[APPLIER_ERROR_SIZE];        /* the last trouble */
	char lost[STORE_CONN_TROUBLE_BYTES]; /* why there was no connection, as it was logged */

	uint64_t position;
	struct mono behind_since; /* MONO_NEVER: nothing waits */

	/* The transaction that is under way. */
	size_t batch_count;
	uint64_t batch_first, batch_last; /* indexes */
	size_t batch_limit;               /* of the next one */
	uint64_t late_index;              /* the update that ran out of time */
	unsigned lates;                   /* so often */

	/* Dead letters. */
	struct {
		uint64_t letters, letter;
	} read;           /* in the transaction that is under way */
	uint64_t letters; /* how many there are */
	uint64_t letter;  /* position of the one that the others wait for, 0: none */
	bool letter_gone; /* with the transaction that is under way */
	bool retry;       /* it is tried again now */
	bool plain;       /* the database can't keep the texts of the letter: without them */
	struct applier_failure failure;
	TAILQ_HEAD(, applier_request) requests;
	size_t request_count;
	struct { /* that is being resolved */
		uint64_t position;
		bool blocking;
		uint8_t *payload;
		size_t len;
	} taken;
};

struct applier_stats {
	struct metric applied, failed, retried, passed, letters, position, behind;
};
extern struct applier_stats applier_stats;

/* --- applier.c --- */
/* Takes up what there is to do, if nothing is under way. */
void applier_go_on(struct applier *a);
/* The request is through: what comes next? */
void applier_idle(struct applier *a);
/* Waits, and tries again; the last answer says why. */
void applier_rest(struct applier *a);
/* The connection is given up, and made anew. */
void applier_reconnect(struct applier *a, const char *why);
void applier_moved(struct applier *a, uint64_t position);
void applier_trouble_changed(struct applier *a, const char *why);
/* The update as a statement: applier_statement_make()'s errors. */
int applier_make(struct applier *a, const uint8_t *payload, size_t len, struct applier_change *c,
    char why[APPLIER_WHY_SIZE]) MUST_USE;

/* --- applier_pg.c: all that has to do with libpq --- */
/* Session settings, then done. */
void applier_pg_setup(struct applier *a, applier_done_fn *done);
/* One more statement of a request; p NULL: without parameters.  Copied. */
void applier_ask(struct applier *a, const char *sql, const struct pg_params *p);
/* The rows of the statement asked last go to fn. */
void applier_want(struct applier *a, applier_rows_fn *fn);
void applier_begin(struct applier *a);
void applier_ask_statement(struct applier *a); /* a->statement */
void applier_ask_move(struct applier *a, uint64_t position);
void applier_send(struct applier *a, applier_done_fn *done);
/* A transaction failed: ends it, then done.  The answer stays the one of the failure. */
void applier_rollback(struct applier *a, applier_done_fn *done);
enum applier_verdict applier_verdict_of(const char *sqlstate);
size_t applier_rows(const struct pg_result *res);
int64_t applier_row_int(const struct pg_result *res, size_t row, int column);
const uint8_t *applier_row_bytes(const struct pg_result *res, size_t row, int column, size_t *len);

/* --- applier_letters.c --- */
/* Reads how many there are and which one blocks; part of a request.  When that is through, they are taken. */
void applier_letters_ask(struct applier *a);
void applier_letters_take(struct applier *a);
/* The update can't be done: puts it aside, or has the others wait. */
void applier_letter_write(struct applier *a, const struct applier_update *u, const char *error);

/* --- applier_requests.c --- */
/* Takes up the first request that waits. */
void applier_request_go_on(struct applier *a);
/* All of them fail. */
void applier_requests_fail(struct applier *a, const char *why);

#endif
