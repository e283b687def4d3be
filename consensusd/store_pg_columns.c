/* store_pg_columns: see store_pg_columns.h. */
#include "consensusd/store_pg_columns.h"

#include "common/base/buf.h"

void
pg_columns_init(struct pg_columns *c, struct buf *scratch)
{
	*c = (struct pg_columns){.buf = scratch};
	buf_reset(scratch);
}

void
pg_columns_begin(struct pg_columns *c, enum pg_oid type, size_t count)
{
	if (c->err == 0)
		c->err = pg_array_begin(c->buf, type, (uint32_t)count);
}

void
pg_columns_put(struct pg_columns *c, const void *data, size_t len)
{
	if (c->err == 0)
		c->err = pg_array_put(c->buf, data, len);
}

void
pg_columns_int8(struct pg_columns *c, uint64_t v)
{
	if (c->err == 0)
		c->err = pg_array_put_int8(c->buf, (int64_t)v);
}

void
pg_columns_end(struct pg_columns *c)
{
	MUST(c->count < PG_PARAMS_MAX);
	c->ends[c->count++] = buf_left(c->buf);
}

int
pg_columns_send(struct pg_columns *c, const char *statement, struct pg_conn *pg)
{
	struct pg_params p = {0};
	size_t at = 0;

	if (c->err != 0)
		return c->err;
	for (size_t i = 0; i < c->count; i++) {
		pg_params_bytes(&p, buf_head(c->buf) + at, c->ends[i] - at);
		at = c->ends[i];
	}
	return pg_params_send(pg, statement, &p);
}
