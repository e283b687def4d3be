/*
 * store_pg_columns: the parameters of a statement that writes many rows: one array a column, made in
 * scratch memory one behind the other.
 *
 * The first error sticks; sending returns it.
 */
#ifndef CONSENSUSD_STORE_PG_COLUMNS_H
#define CONSENSUSD_STORE_PG_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/pg_array.h"
#include "consensusd/store_pg_params.h"

struct buf;
struct pg_conn;

struct pg_columns {
	struct buf *buf;
	size_t ends[PG_PARAMS_MAX];
	size_t count;
	int err;
};

/* scratch is emptied. */
void pg_columns_init(struct pg_columns *c, struct buf *scratch);
/* A column of count elements, each of which is put then. */
void pg_columns_begin(struct pg_columns *c, enum pg_oid type, size_t count);
void pg_columns_put(struct pg_columns *c, const void *data, size_t len);
void pg_columns_int8(struct pg_columns *c, uint64_t v);
void pg_columns_end(struct pg_columns *c);
/* ERR_CLOSED, or the error of what was put. */
int pg_columns_send(struct pg_columns *c, const char *statement, struct pg_conn *pg) MUST_USE;

#endif
