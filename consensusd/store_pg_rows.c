/* store_pg_rows: see store_pg_rows.h. */
#include "consensusd/store_pg_rows.h"

#include <postgresql/libpq-fe.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "consensusd/pg_array.h"
#include "consensusd/store_pg_params.h"

#define COMMON                                                                                               \
	"stream_id, first_seq, last_seq, epoch, body_bytes, key_id, nonce, signature, message_ids, payloads"
#define COMMON_VALUES                                                                                        \
	"$1::uuid, $2::bigint, $3::bigint, $4::bigint, $5::bigint, $6::bytea, $7::bytea, $8::bytea,"         \
	" $9::uuid[], $10::bytea[]"

static const struct {
	const char *name, *sql;
} single[STORE_BOXES] =
    {
	[STORE_OUTBOX] = {"outbox", "INSERT INTO outbox (" COMMON ") VALUES (" COMMON_VALUES ")"},
	[STORE_INBOX] = {"inbox",
	    "INSERT INTO inbox (" COMMON ", src_node) VALUES (" COMMON_VALUES ", $11::bigint)"},
},
  shared[STORE_BOXES] = {
      [STORE_OUTBOX] = {"outbox_rows",
	  "INSERT INTO outbox (" COMMON ") SELECT " COMMON " FROM unnest($1::batch_row[])"},
      [STORE_INBOX] = {"inbox_rows", "INSERT INTO inbox (" COMMON ", src_node) SELECT " COMMON
				     ", src_node FROM unnest($1::batch_row[])"},
};

int
store_rows_prepare(struct pg_conn *pg)
{
	for (int box = 0; box < STORE_BOXES; box++)
		if (PQsendPrepare(pg, single[box].name, single[box].sql, 0, NULL) == 0 ||
		    PQsendPrepare(pg, shared[box].name, shared[box].sql, 0, NULL) == 0)
			return ERR_CLOSED;
	return 0;
}

static int
send_single(enum store_box box, const struct flush_batch *fb, struct pg_conn *pg, struct buf *scratch)
{
	const struct batch *b = fb->batch;
	struct pg_params p = {0};
	size_t ids_len;
	int err;

	buf_reset(scratch);
	err = pg_array_put_ids(scratch, b);
	ids_len = buf_left(scratch);
	if (err == 0)
		err = pg_array_put_payloads(scratch, b);
	if (err != 0)
		return err;
	pg_params_bytes(&p, b->stream_id.b, ULID_BYTES);
	pg_params_int8(&p, b->first_seq);
	pg_params_int8(&p, batch_last_seq(b));
	pg_params_int8(&p, b->epoch);
	pg_params_int8(&p, b->body_len);
	pg_params_bytes(&p, b->key_id, sizeof(b->key_id));
	pg_params_bytes(&p, b->nonce, sizeof(b->nonce));
	pg_params_bytes(&p, b->signature, sizeof(b->signature));
	pg_params_bytes(&p, buf_head(scratch), ids_len);
	pg_params_bytes(&p, buf_head(scratch) + ids_len, buf_left(scratch) - ids_len);
	if (box == STORE_INBOX)
		pg_params_int8(&p, fb->src_node);
	return pg_params_send(pg, single[box].name, &p);
}

/* ---- rows as record_recv reads them: number of columns, then type, length and value of each ---- */

enum { COLUMNS = 11, COLUMN_HDR_BYTES = 8 };

static int
put_column_hdr(struct buf *out, enum pg_oid type, size_t len)
{
	int err = buf_put_u32(out, type);

	return err != 0 ? err : buf_put_u32(out, (uint32_t)len);
}

static int
put_bytes(struct buf *out, enum pg_oid type, const void *data, size_t len)
{
	int err = put_column_hdr(out, type, len);

	return err != 0 ? err : buf_put_bytes(out, data, len);
}

static int
put_int8(struct buf *out, uint64_t v)
{
	int err = put_column_hdr(out, PG_INT8, 8);

	return err != 0 ? err : buf_put_u64(out, v);
}

static int
put_int4(struct buf *out, uint32_t v)
{
	int err = put_column_hdr(out, PG_INT4, 4);

	return err != 0 ? err : buf_put_u32(out, v);
}

static int
put_numbers(struct buf *out, const struct flush_batch *fb)
{
	const struct batch *b = fb->batch;
	int err = put_int8(out, b->first_seq);

	if (err == 0)
		err = put_int8(out, batch_last_seq(b));
	if (err == 0)
		err = put_int8(out, b->epoch);
	if (err == 0)
		err = put_int8(out, fb->src_node);
	return err != 0 ? err : put_int4(out, (uint32_t)b->body_len);
}

static int
put_messages(struct buf *out, const struct batch *b)
{
	int err = put_column_hdr(out, PG_UUID_ARRAY, pg_array_ids_size(b));

	if (err == 0)
		err = pg_array_put_ids(out, b);
	if (err == 0)
		err = put_column_hdr(out, PG_BYTEA_ARRAY, pg_array_payloads_size(b));
	return err != 0 ? err : pg_array_put_payloads(out, b);
}

static size_t
row_size(const struct batch *b)
{
	return 4 + COLUMNS * COLUMN_HDR_BYTES + ULID_BYTES + 4 * 8 + 4 + sizeof(b->key_id) +
	       sizeof(b->nonce) + sizeof(b->signature) + pg_array_ids_size(b) + pg_array_payloads_size(b);
}

static int
put_row(struct buf *out, const struct flush_batch *fb)
{
	const struct batch *b = fb->batch;
	int err = buf_put_u32(out, (uint32_t)row_size(b)); /* of the element */

	if (err == 0)
		err = buf_put_u32(out, COLUMNS);
	if (err == 0)
		err = put_bytes(out, PG_UUID, b->stream_id.b, ULID_BYTES);
	if (err == 0)
		err = put_numbers(out, fb);
	if (err == 0)
		err = put_bytes(out, PG_BYTEA, b->key_id, sizeof(b->key_id));
	if (err == 0)
		err = put_bytes(out, PG_BYTEA, b->nonce, sizeof(b->nonce));
	if (err == 0)
		err = put_bytes(out, PG_BYTEA, b->signature, sizeof(b->signature));
	return err != 0 ? err : put_messages(out, b);
}

static int
send_shared(enum store_box box, const struct flush_batch *const rows[], uint32_t count, uint32_t row_type,
    struct pg_conn *pg, struct buf *scratch)
{
	struct pg_params p = {0};
	int err;

	buf_reset(scratch);
	err = pg_array_begin(scratch, row_type, count);
	for (uint32_t i = 0; i < count && err == 0; i++)
		err = put_row(scratch, rows[i]);
	if (err != 0)
		return err;
	pg_params_bytes(&p, buf_head(scratch), buf_left(scratch));
	return pg_params_send(pg, shared[box].name, &p);
}

int
store_rows_send(enum store_box box, const struct flush_batch *batches, size_t count, uint32_t row_type,
    struct pg_conn *pg, struct buf *scratch)
{
	const struct flush_batch *small[STORE_ROWS_MAX];
	uint32_t small_count = 0;
	int err = 0;

	for (size_t i = 0; i < count && err == 0; i++) {
		if (batches[i].batch->body_len > STORE_ROWS_SMALL_BYTES) {
			err = send_single(box, &batches[i], pg, scratch);
			continue;
		}
		small[small_count++] = &batches[i];
		if (small_count == STORE_ROWS_MAX) {
			err = send_shared(box, small, small_count, row_type, pg, scratch);
			small_count = 0;
		}
	}
	if (err != 0 || small_count == 0)
		return err;
	if (small_count == 1)
		return send_single(box, small[0], pg, scratch);
	return send_shared(box, small, small_count, row_type, pg, scratch);
}
