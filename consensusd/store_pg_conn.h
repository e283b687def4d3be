/*
 * store_pg_conn: one asynchronous connection to PostgreSQL on the event loop.
 *
 * It connects, tells, watches the socket, and after a loss tries again with jittered back-off until it
 * is stopped.  One request at a time: a query, or a pipeline up to its Sync.  The requester sends it
 * with libpq on store_conn_pg() and then calls store_conn_await().
 */
#ifndef CONSENSUSD_STORE_PG_CONN_H
#define CONSENSUSD_STORE_PG_CONN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/must.h"

struct loop;
struct pg_conn;   /* libpq's PGconn */
struct pg_result; /* libpq's PGresult */
struct store_conn;

enum {
	STORE_CONN_TIMEOUT_MS = 5000, /* for one attempt to connect */
	STORE_CONN_BACKOFF_MIN_MS = 50,
	STORE_CONN_BACKOFF_MAX_MS = 2000,
	STORE_CONN_TROUBLE_BYTES = 256,
};

struct store_conn_callbacks {
	void (*on_up)(void *ctx);
	/* An attempt failed or the connection is gone; a request under way gets no answer.  Borrowed. */
	void (*on_down)(void *ctx, const char *why);
	void *ctx;
};

/* Each result of a request (borrowed), then NULL when it is complete. */
typedef void store_result_fn(void *ctx, const struct pg_result *res);

/* user: whom to connect as if conninfo doesn't say (may be NULL).  Starts at once.  NULL: no memory. */
struct store_conn *store_conn_new(
    struct loop *l, const char *conninfo, const char *user, const struct store_conn_callbacks *cb) MUST_USE;
void store_conn_free(struct store_conn *c);

/* The connection for sending a request; NULL unless it is up. */
struct pg_conn *store_conn_pg(const struct store_conn *c);
/* The request was sent: writes it out, and hands its results to fn. */
void store_conn_await(struct store_conn *c, store_result_fn *fn);
bool store_conn_busy(const struct store_conn *c);

/* All is well on this connection: the next loss is tried again at once. */
void store_conn_settled(struct store_conn *c);
/* Ends the connection and tries again after the back-off; without on_down. */
void store_conn_retry(struct store_conn *c);
/* Ends the connection for good; without on_down. */
void store_conn_stop(struct store_conn *c);

/* What libpq says of a result, or of the connection (res NULL), on one line: text (SQLSTATE). */
void store_conn_trouble(
    const struct store_conn *c, const struct pg_result *res, char out[STORE_CONN_TROUBLE_BYTES]);

#endif
