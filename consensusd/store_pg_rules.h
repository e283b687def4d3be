/*
 * store_pg_rules: what of a flush operators have said of streams (table stream_controls).
 */
#ifndef CONSENSUSD_STORE_PG_RULES_H
#define CONSENSUSD_STORE_PG_RULES_H

#include <stddef.h>

#include "common/base/must.h"
#include "consensusd/store.h"

struct pg_conn;

/* Zeroed before its first use. */
struct flush_rules {
	struct store_rule *rows; /* in order */
	size_t count, cap;
};

void store_rules_fini(struct flush_rules *r);
/* ERR_NOMEM: nothing has changed. */
int store_rules_add(struct flush_rules *r, const struct store_rule *row) MUST_USE;

/* Queue what prepares the statements, and the statements.  ERR_CLOSED. */
int store_rules_prepare(struct pg_conn *pg) MUST_USE;
int store_rules_send(const struct flush_rules *r, struct pg_conn *pg) MUST_USE;

#endif
