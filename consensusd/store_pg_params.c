/* store_pg_params: see store_pg_params.h. */
#include "consensusd/store_pg_params.h"

#include <postgresql/libpq-fe.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"

void
pg_params_bytes(struct pg_params *p, const void *data, size_t len)
{
	MUST(p->count < PG_PARAMS_MAX && len <= INT32_MAX);
	p->values[p->count] = data;
	p->lengths[p->count] = (int)len;
	p->formats[p->count] = 1;
	p->count++;
}

void
pg_params_text(struct pg_params *p, const char *text)
{
	pg_params_bytes(p, text, strlen(text));
}

void
pg_params_int8(struct pg_params *p, uint64_t v)
{
	uint8_t *word;

	MUST(p->count < PG_PARAMS_MAX);
	word = p->words[p->count];
	be_store64(word, v);
	pg_params_bytes(p, word, 8);
}

int
pg_params_send(struct pg_conn *pg, const char *statement, const struct pg_params *p)
{
	return PQsendQueryPrepared(pg, statement, p->count, p->values, p->lengths, p->formats, 1) != 0
		   ? 0
		   : ERR_CLOSED;
}

int
pg_params_query(struct pg_conn *pg, const char *sql, const struct pg_params *p)
{
	return PQsendQueryParams(pg, sql, p->count, NULL, p->values, p->lengths, p->formats, 1) != 0
		   ? 0
		   : ERR_CLOSED;
}

const char *
pg_plain_text(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; text[n] != '\0' && n + 1 < size; n++)
		out[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
	out[n] = '\0';
	return out;
}
