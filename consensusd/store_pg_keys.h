/*
 * store_pg_keys: what of a flush is keys of tenants (table tenant_keys), loading them, and which may go.
 */
#ifndef CONSENSUSD_STORE_PG_KEYS_H
#define CONSENSUSD_STORE_PG_KEYS_H

#include <stddef.h>

#include "common/base/must.h"
#include "consensusd/store.h"

struct pg_conn;
struct pg_result;

/* Zeroed before its first use. */
struct flush_keys {
	struct store_key *rows; /* in order */
	size_t count, cap;
};

void store_keys_fini(struct flush_keys *k);
/* ERR_NOMEM: nothing has changed. */
int store_keys_add(struct flush_keys *k, const struct store_key *row) MUST_USE;

/* Queue what prepares the statement, and the statements.  ERR_CLOSED. */
int store_keys_prepare(struct pg_conn *pg) MUST_USE;
int store_keys_send(const struct flush_keys *k, struct pg_conn *pg) MUST_USE;

/* Removes keys that nothing is sealed with any more; its rows go to store_keys_gone(). */
extern const char store_keys_sql[];
void store_keys_gone(const struct pg_result *res, const struct store_callbacks *cb);

#endif
