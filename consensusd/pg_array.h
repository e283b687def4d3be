/*
 * pg_array: arrays in PostgreSQL's binary format (what array_send and array_recv speak), and batches
 * as the two arrays of a row of outbox or inbox: message_ids uuid[] and payloads bytea[].
 *
 * One dimension, no NULLs.  Decoding is total: any bytes give elements or an error.
 */
#ifndef CONSENSUSD_PG_ARRAY_H
#define CONSENSUSD_PG_ARRAY_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct batch;
struct buf;

/* From PostgreSQL's pg_type.dat; they never change. */
enum pg_oid {
	PG_BYTEA = 17,
	PG_INT8 = 20,
	PG_INT4 = 23,
	PG_TEXT = 25,
	PG_BYTEA_ARRAY = 1001,
	PG_UUID = 2950,
	PG_UUID_ARRAY = 2951,
};

/* Appends the header of an array of that type (enum pg_oid, or the oid of one of ours); then count
 * elements follow.  The errors of buf.h. */
int pg_array_begin(struct buf *out, uint32_t element, uint32_t count) MUST_USE;
int pg_array_put(struct buf *out, const void *data, size_t len) MUST_USE;
int pg_array_put_int8(struct buf *out, int64_t v) MUST_USE;

struct pg_array {
	const uint8_t *data; /* what is left */
	size_t len;
	uint32_t count; /* elements left */
};

/* ERR_FORMAT (other type, dimensions, NULLs), ERR_SHORT, ERR_LIMIT (more than max elements). */
int pg_array_open(
    struct pg_array *a, const void *data, size_t len, enum pg_oid element, uint32_t max) MUST_USE;
/* 1 and the next element (borrowed); 0 at the end; ERR_SHORT, ERR_LEFTOVER, ERR_FORMAT (NULL). */
int pg_array_next(struct pg_array *a, const uint8_t **data, size_t *len) MUST_USE;

/* A batch's body as two arrays.  The batch must have passed batch_check(). */
int pg_array_put_ids(struct buf *out, const struct batch *b) MUST_USE;
int pg_array_put_payloads(struct buf *out, const struct batch *b) MUST_USE;
/* Bytes that these append. */
size_t pg_array_ids_size(const struct batch *b);
size_t pg_array_payloads_size(const struct batch *b);

/* And back: a new batch with count and body filled in, nothing else.  The errors above, ERR_NOMEM,
 * ERR_LIMIT, ERR_FORMAT (ids and payloads differ in number, or there are none). */
int pg_array_get_batch(
    const void *ids, size_t ids_len, const void *payloads, size_t payloads_len, struct batch **out) MUST_USE;

#endif
