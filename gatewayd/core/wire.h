/*
 * wire: protobuf's wire format without a schema, for what gatewayd puts together out of messages that
 * others encoded: lists of sub-messages, merged messages, parts of a descriptor set.
 */
#ifndef GATEWAYD_CORE_WIRE_H
#define GATEWAYD_CORE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum wire_type { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_BYTES = 2, WIRE_I32 = 5 };

struct wire_field {
	uint32_t number;
	enum wire_type type;
	uint64_t value;      /* VARINT, I64, I32 */
	const uint8_t *data; /* BYTES: borrowed from the input */
	size_t len;
};

/* Reads the next field from b.  1 and *out, 0 at the end, ERR_FORMAT (groups are refused, too). */
int wire_next(struct buf *b, struct wire_field *out) MUST_USE;
/* The last occurrence of a BYTES field; 1 if there is one, 0 if not, ERR_FORMAT. */
int wire_find_bytes(
    const uint8_t *data, size_t len, uint32_t number, const uint8_t **out, size_t *out_len) MUST_USE;
/* The last occurrence of a VARINT field; 1, 0 or ERR_FORMAT. */
int wire_find_varint(const uint8_t *data, size_t len, uint32_t number, uint64_t *out) MUST_USE;

/* ERR_LIMIT, ERR_NOMEM as buf_put_*; what was put before stays. */
int wire_put_bytes(struct buf *b, uint32_t number, const void *data, size_t len) MUST_USE;
int wire_put_str(struct buf *b, uint32_t number, const char *text) MUST_USE;  /* an empty one is left out */
int wire_put_varint(struct buf *b, uint32_t number, uint64_t value) MUST_USE; /* 0 is left out */
/* A number without a tag. */
int wire_put_number(struct buf *b, uint64_t value) MUST_USE;
/* The head of a BYTES field whose len bytes the caller puts next. */
int wire_put_head(struct buf *b, uint32_t number, size_t len) MUST_USE;

#endif
