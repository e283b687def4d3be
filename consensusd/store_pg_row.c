/* store_pg_row: see store_pg_row.h. */
#include "consensusd/store_pg_row.h"

#include <postgresql/libpq-fe.h>
#include <string.h>

#include "common/base/be.h"

const uint8_t *
pg_row_bytes(struct pg_row *r, size_t *len)
{
	int n = PQgetlength(r->res, r->row, r->column);

	*len = n > 0 ? (size_t)n : 0;
	return (const uint8_t *)PQgetvalue(r->res, r->row, r->column++);
}

void
pg_row_fixed(struct pg_row *r, void *out, size_t size)
{
	size_t len;
	const uint8_t *p = pg_row_bytes(r, &len);

	if (len == size)
		memcpy(out, p, size);
	else
		r->bad = true;
}

uint64_t
pg_row_int8(struct pg_row *r)
{
	uint8_t word[8] = {0};

	pg_row_fixed(r, word, sizeof(word));
	return be_load64(word);
}

void
pg_row_text(struct pg_row *r, char *out, size_t size)
{
	size_t len;
	const uint8_t *p = pg_row_bytes(r, &len);

	if (len >= size || memchr(p, '\0', len) != NULL) {
		r->bad = true;
		return;
	}
	memcpy(out, p, len);
	out[len] = '\0';
}

bool
pg_row_null(const struct pg_row *r)
{
	return PQgetisnull(r->res, r->row, r->column) != 0;
}
