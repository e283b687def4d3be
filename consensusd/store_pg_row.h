/*
 * store_pg_row: the columns of a row that was read in binary, one after the other.
 *
 * What is not as it should be makes the row bad, and reading goes on with zeros: the reader looks once, at
 * the end.  NULL counts as empty.
 */
#ifndef CONSENSUSD_STORE_PG_ROW_H
#define CONSENSUSD_STORE_PG_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pg_result;

struct pg_row {
	const struct pg_result *res;
	int row;
	int column; /* the next */
	bool bad;
};

/* Borrowed from the result. */
const uint8_t *pg_row_bytes(struct pg_row *r, size_t *len);
/* Exactly size bytes. */
void pg_row_fixed(struct pg_row *r, void *out, size_t size);
uint64_t pg_row_int8(struct pg_row *r);
void pg_row_text(struct pg_row *r, char *out, size_t size);
bool pg_row_null(const struct pg_row *r); /* the next column */

#endif
