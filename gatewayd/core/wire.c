/* wire: see wire.h. */
#include "gatewayd/core/wire.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum { VARINT_BYTES_MAX = 10 };

static int
varint_get(struct buf *b, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
		uint8_t c;

		if (buf_get_u8(b, &c) != 0)
			return ERR_FORMAT;
		if (i == VARINT_BYTES_MAX - 1 && c > 1)
			return ERR_FORMAT;
		v |= (uint64_t)(c & 0x7F) << (7 * i);
		if ((c & 0x80) == 0) {
			*out = v;
			return 0;
		}
	}
	return ERR_FORMAT;
}

/* Fixed-size fields are little endian on the wire. */
static int
fixed_get(struct buf *b, size_t len, uint64_t *out)
{
	const uint8_t *p;

	if (buf_get_ref(b, len, &p) != 0)
		return ERR_FORMAT;
	*out = 0;
	for (size_t i = len; i-- > 0;)
		*out = *out << 8 | p[i];
	return 0;
}

static int
value_get(struct buf *b, struct wire_field *f)
{
	uint64_t len;

	switch (f->type) {
	case WIRE_VARINT:
		return varint_get(b, &f->value);
	case WIRE_I64:
		return fixed_get(b, 8, &f->value);
	case WIRE_I32:
		return fixed_get(b, 4, &f->value);
	case WIRE_BYTES:
		if (varint_get(b, &len) != 0 || len > buf_left(b))
			return ERR_FORMAT;
		f->len = (size_t)len;
		return buf_get_ref(b, f->len, &f->data);
	default:
		return ERR_FORMAT;
	}
}

int
wire_next(struct buf *b, struct wire_field *out)
{
	uint64_t tag;
	int rc;

	*out = (struct wire_field){0};
	if (buf_left(b) == 0)
		return 0;
	if (varint_get(b, &tag) != 0 || tag > UINT32_MAX || tag >> 3 == 0)
		return ERR_FORMAT;
	out->number = (uint32_t)(tag >> 3);
	out->type = (enum wire_type)(tag & 7);
	rc = value_get(b, out);
	return rc == 0 ? 1 : ERR_FORMAT;
}

/* The last field with this number and type. */
static int
field_find(const uint8_t *data, size_t len, uint32_t number, enum wire_type type, struct wire_field *out)
{
	struct wire_field f;
	struct buf b;
	int rc, found = 0;

	buf_view(&b, data, len);
	while ((rc = wire_next(&b, &f)) == 1) {
		if (f.number != number || f.type != type)
			continue;
		*out = f;
		found = 1;
	}
	return rc < 0 ? rc : found;
}

int
wire_find_bytes(const uint8_t *data, size_t len, uint32_t number, const uint8_t **out, size_t *out_len)
{
	struct wire_field f = {0};
	int rc = field_find(data, len, number, WIRE_BYTES, &f);

	*out = f.data;
	*out_len = f.len;
	return rc;
}

int
wire_find_varint(const uint8_t *data, size_t len, uint32_t number, uint64_t *out)
{
	struct wire_field f = {0};
	int rc = field_find(data, len, number, WIRE_VARINT, &f);

	*out = f.value;
	return rc;
}

int
wire_put_number(struct buf *b, uint64_t v)
{
	uint8_t tmp[VARINT_BYTES_MAX];
	size_t n = 0;

	do {
		tmp[n++] = (uint8_t)((v & 0x7F) | (v > 0x7F ? 0x80 : 0));
		v >>= 7;
	} while (v > 0);
	return buf_put_bytes(b, tmp, n);
}

int
wire_put_head(struct buf *b, uint32_t number, size_t len)
{
	int rc = wire_put_number(b, (uint64_t)number << 3 | WIRE_BYTES);

	return rc != 0 ? rc : wire_put_number(b, len);
}

int
wire_put_bytes(struct buf *b, uint32_t number, const void *data, size_t len)
{
	int rc = wire_put_head(b, number, len);

	return rc != 0 ? rc : buf_put_bytes(b, data, len);
}

int
wire_put_str(struct buf *b, uint32_t number, const char *text)
{
	return text[0] == '\0' ? 0 : wire_put_bytes(b, number, text, strlen(text));
}

int
wire_put_varint(struct buf *b, uint32_t number, uint64_t value)
{
	int rc;

	if (value == 0)
		return 0;
	rc = wire_put_number(b, (uint64_t)number << 3 | WIRE_VARINT);
	return rc != 0 ? rc : wire_put_number(b, value);
}
