/*
 * store_pg_params: the parameters of a statement, in binary.
 */
#ifndef CONSENSUSD_STORE_PG_PARAMS_H
#define CONSENSUSD_STORE_PG_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct pg_conn;

enum { PG_PARAMS_MAX = 16 };

/* Zeroed before its first use; not to be copied (values point into words). */
struct pg_params {
	int count;
	const char *values[PG_PARAMS_MAX];
	int lengths[PG_PARAMS_MAX], formats[PG_PARAMS_MAX];
	uint8_t words[PG_PARAMS_MAX][8];
};

/* Appends one; data and text are borrowed until the statement is sent. */
void pg_params_bytes(struct pg_params *p, const void *data, size_t len);
void pg_params_text(struct pg_params *p, const char *text);
/* 64 bits as they are: ids above INT64_MAX are negative in the database. */
void pg_params_int8(struct pg_params *p, uint64_t v);

/* Text from elsewhere: what PostgreSQL might refuse as UTF-8 would hold up all that is written.  Returns
 * out. */
const char *pg_plain_text(const char *text, char *out, size_t size);

/* Queues the statement on a connection in pipeline mode; libpq copies the parameters.  ERR_CLOSED. */
int pg_params_send(struct pg_conn *pg, const char *statement, const struct pg_params *p) MUST_USE;
/* The same with the text of a statement; PostgreSQL finds out the types.  ERR_CLOSED. */
int pg_params_query(struct pg_conn *pg, const char *sql, const struct pg_params *p) MUST_USE;

#endif
