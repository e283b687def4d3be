/* pg_array: see pg_array.h. */
#include "consensusd/pg_array.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "consensusd/core/batch.h"

/* ndim, flags, element type; then per dimension its length and lower bound. */
enum { EMPTY_BYTES = 12, HDR_BYTES = 20, ELEMENT_HDR_BYTES = 4 };

int
pg_array_begin(struct buf *out, uint32_t element, uint32_t count)
{
	uint8_t *p;
	size_t n = count > 0 ? HDR_BYTES : EMPTY_BYTES;
	int err = buf_reserve(out, n, &p);

	if (err != 0)
		return err;
	be_store32(p, count > 0 ? 1 : 0);
	be_store32(p + 4, 0);
	be_store32(p + 8, element);
	if (count > 0) {
		be_store32(p + 12, count);
		be_store32(p + 16, 1);
	}
	buf_commit(out, n);
	return 0;
}

int
pg_array_put(struct buf *out, const void *data, size_t len)
{
	uint8_t *p;
	int err = len > INT32_MAX ? ERR_RANGE : buf_reserve(out, ELEMENT_HDR_BYTES + len, &p);

	if (err != 0)
		return err;
	be_store32(p, (uint32_t)len);
	if (len > 0)
		memcpy(p + ELEMENT_HDR_BYTES, data, len);
	buf_commit(out, ELEMENT_HDR_BYTES + len);
	return 0;
}

int
pg_array_put_int8(struct buf *out, int64_t v)
{
	uint8_t bytes[8];

	be_store64(bytes, (uint64_t)v);
	return pg_array_put(out, bytes, sizeof(bytes));
}

int
pg_array_open(struct pg_array *a, const void *data, size_t len, enum pg_oid element, uint32_t max)
{
	const uint8_t *p = data;

	*a = (struct pg_array){0};
	if (len < EMPTY_BYTES)
		return ERR_SHORT;
	/* The flag says that there may be NULLs. */
	if (be_load32(p) > 1 || be_load32(p + 4) != 0 || be_load32(p + 8) != (uint32_t)element)
		return ERR_FORMAT;
	if (be_load32(p) == 0)
		return len == EMPTY_BYTES ? 0 : ERR_LEFTOVER;
	if (len < HDR_BYTES)
		return ERR_SHORT;
	a->count = be_load32(p + 12);
	if (a->count > max)
		return ERR_LIMIT;
	a->data = p + HDR_BYTES;
	a->len = len - HDR_BYTES;
	return 0;
}

int
pg_array_next(struct pg_array *a, const uint8_t **data, size_t *len)
{
	uint32_t n;

	if (a->count == 0)
		return a->len == 0 ? 0 : ERR_LEFTOVER;
	if (a->len < ELEMENT_HDR_BYTES)
		return ERR_SHORT;
	n = be_load32(a->data);
	if (n > INT32_MAX)
		return ERR_FORMAT; /* -1 is NULL */
	if (n > a->len - ELEMENT_HDR_BYTES)
		return ERR_SHORT;
	*data = a->data + ELEMENT_HDR_BYTES;
	*len = n;
	a->data += ELEMENT_HDR_BYTES + n;
	a->len -= ELEMENT_HDR_BYTES + n;
	a->count--;
	return 1;
}

size_t
pg_array_ids_size(const struct batch *b)
{
	return HDR_BYTES + b->count * (size_t)(ELEMENT_HDR_BYTES + ULID_BYTES);
}

/* A record of the body without its message id is an element with its length. */
size_t
pg_array_payloads_size(const struct batch *b)
{
	return HDR_BYTES + b->body_len - b->count * (size_t)ULID_BYTES;
}

int
pg_array_put_ids(struct buf *out, const struct batch *b)
{
	struct batch_iter it;
	struct batch_record rec;
	size_t n = pg_array_ids_size(b) - HDR_BYTES;
	uint8_t *p;
	int err = pg_array_begin(out, PG_UUID, b->count);

	if (err == 0)
		err = buf_reserve(out, n, &p);
	if (err != 0)
		return err;
	batch_iter_init(&it, b);
	while (batch_next(&it, &rec) != 0) {
		be_store32(p, ULID_BYTES);
		memcpy(p + ELEMENT_HDR_BYTES, rec.message_id, ULID_BYTES);
		p += ELEMENT_HDR_BYTES + ULID_BYTES;
	}
	buf_commit(out, n);
	return 0;
}

int
pg_array_put_payloads(struct buf *out, const struct batch *b)
{
	struct batch_iter it;
	struct batch_record rec;
	size_t n = pg_array_payloads_size(b) - HDR_BYTES;
	uint8_t *p;
	int err = pg_array_begin(out, PG_BYTEA, b->count);

	if (err == 0)
		err = buf_reserve(out, n, &p);
	if (err != 0)
		return err;
	batch_iter_init(&it, b);
	while (batch_next(&it, &rec) != 0) {
		memcpy(p, rec.sealed - ELEMENT_HDR_BYTES, ELEMENT_HDR_BYTES + rec.sealed_len);
		p += ELEMENT_HDR_BYTES + rec.sealed_len;
	}
	buf_commit(out, n);
	return 0;
}

_Static_assert((int)BATCH_RECORD_HDR_BYTES == ULID_BYTES + ELEMENT_HDR_BYTES, "records are id and element");

static int
body_fill(struct batch *b, struct pg_array *ids, struct pg_array *payloads)
{
	size_t at = 0;

	for (;;) {
		const uint8_t *id, *payload;
		size_t id_len, len;
		int more = pg_array_next(ids, &id, &id_len), got = pg_array_next(payloads, &payload, &len);

		if (more < 0 || got < 0)
			return more < 0 ? more : got;
		if (more == 0)
			return at == b->body_len ? 0 : ERR_FORMAT;
		/* Both have the same number of elements, so got is 1, too. */
		if (id_len != ULID_BYTES || b->body_len - at < BATCH_RECORD_HDR_BYTES + len)
			return ERR_FORMAT;
		memcpy(b->body + at, id, ULID_BYTES);
		be_store32(b->body + at + ULID_BYTES, (uint32_t)len);
		memcpy(b->body + at + BATCH_RECORD_HDR_BYTES, payload, len);
		at += BATCH_RECORD_HDR_BYTES + len;
	}
}

int
pg_array_get_batch(
    const void *ids, size_t ids_len, const void *payloads, size_t payloads_len, struct batch **out)
{
	struct pg_array id_array, payload_array;
	struct batch *b;
	size_t body_len;
	int err = pg_array_open(&id_array, ids, ids_len, PG_UUID, BATCH_MESSAGES_MAX);

	if (err == 0)
		err = pg_array_open(&payload_array, payloads, payloads_len, PG_BYTEA, BATCH_MESSAGES_MAX);
	if (err != 0)
		return err;
	if (id_array.count == 0 || id_array.count != payload_array.count)
		return ERR_FORMAT;
	body_len = payload_array.len + id_array.count * (size_t)ULID_BYTES;
	if (body_len > BATCH_BODY_MAX_BYTES)
		return ERR_LIMIT;
	b = batch_new(body_len);
	if (b == NULL)
		return ERR_NOMEM;
	b->count = id_array.count;
	err = body_fill(b, &id_array, &payload_array);
	if (err != 0) {
		batch_unref(b);
		return err;
	}
	*out = b;
	return 0;
}
