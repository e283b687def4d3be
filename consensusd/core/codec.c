#include "consensusd/core/codec.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"

struct codec
codec_put(struct buf *out)
{
	return (struct codec){.b = out, .put = true};
}

struct codec
codec_get(struct buf *in)
{
	return (struct codec){.b = in};
}

void
codec_u8(struct codec *c, uint8_t *v)
{
	if (c->err == 0)
		c->err = c->put ? buf_put_u8(c->b, *v) : buf_get_u8(c->b, v);
}

void
codec_u16(struct codec *c, uint16_t *v)
{
	if (c->err == 0)
		c->err = c->put ? buf_put_u16(c->b, *v) : buf_get_u16(c->b, v);
}

void
codec_u32(struct codec *c, uint32_t *v)
{
	if (c->err == 0)
		c->err = c->put ? buf_put_u32(c->b, *v) : buf_get_u32(c->b, v);
}

void
codec_u64(struct codec *c, uint64_t *v)
{
	if (c->err == 0)
		c->err = c->put ? buf_put_u64(c->b, *v) : buf_get_u64(c->b, v);
}

void
codec_bool(struct codec *c, bool *v)
{
	uint8_t byte = *v ? 1 : 0;

	codec_u8(c, &byte);
	codec_check(c, byte <= 1, ERR_FORMAT);
	if (c->err == 0)
		*v = byte == 1;
}

void
codec_bytes(struct codec *c, void *data, size_t len)
{
	if (c->err == 0)
		c->err = c->put ? buf_put_bytes(c->b, data, len) : buf_get_bytes(c->b, data, len);
}

void
codec_ulid(struct codec *c, struct ulid *id)
{
	codec_bytes(c, id->b, sizeof(id->b));
}

void
codec_str(struct codec *c, char *s, size_t size)
{
	if (c->err == 0)
		c->err = c->put ? buf_put_str8(c->b, s) : buf_get_str8(c->b, s, size);
}

void
codec_block(struct codec *c, const uint8_t **data, size_t *len, size_t max)
{
	uint32_t n = (uint32_t)*len;

	codec_check(c, *len <= max, ERR_LIMIT);
	codec_u32(c, &n);
	codec_check(c, n <= max, ERR_LIMIT);
	if (c->err == 0)
		c->err = c->put ? buf_put_bytes(c->b, *data, n) : buf_get_ref(c->b, n, data);
	if (c->err == 0)
		*len = n;
}

void
codec_count(struct codec *c, size_t *count, size_t max, size_t each)
{
	uint32_t n = (uint32_t)*count;

	codec_check(c, *count <= max, ERR_LIMIT);
	codec_u32(c, &n);
	codec_check(c, n <= max, ERR_LIMIT);
	/* Asked before anything is allocated for them. */
	codec_check(c, c->put || n <= buf_left(c->b) / each, ERR_SHORT);
	if (c->err == 0)
		*count = n;
}

void
codec_check(struct codec *c, bool ok, int err)
{
	if (c->err == 0 && !ok)
		c->err = err;
}
