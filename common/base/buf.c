#include "common/base/buf.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"

enum { BUF_FIRST_BYTES = 256 };

/* What an empty buf points at, so that a borrowed pointer is never NULL. */
static const uint8_t nothing[1];

void
buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){.max = max_bytes, .owned = true};
}

void
buf_init_fixed(struct buf *b, void *mem, size_t cap)
{
	*b = (struct buf){.data = mem, .cap = cap, .max = cap};
}

void
buf_view(struct buf *b, const void *data, size_t len)
{
	/* wpos == max: every put fails, so the cast never leads to a write. */
	*b = (struct buf){.data = (uint8_t *)(uintptr_t)data, .wpos = len, .cap = len, .max = len};
}

void
buf_fini(struct buf *b)
{
	if (b->owned)
		mem_free(b->data);
	*b = (struct buf){0};
}

void
buf_reset(struct buf *b)
{
	b->rpos = b->wpos = 0;
}

size_t
buf_left(const struct buf *b)
{
	return b->wpos - b->rpos;
}

const uint8_t *
buf_head(const struct buf *b)
{
	return b->data != NULL ? b->data + b->rpos : nothing;
}

size_t
buf_room(const struct buf *b)
{
	return b->max - b->wpos;
}

/* Called with need <= max. */
static int
grow(struct buf *b, size_t need)
{
	size_t cap = b->cap != 0 ? b->cap : BUF_FIRST_BYTES;
	uint8_t *data;

	while (cap < need)
		cap = cap > b->max / 2 ? b->max : cap * 2;
	if (cap > b->max)
		cap = b->max;
	data = mem_reallocarray(b->data, cap, 1);
	if (data == NULL)
		return ERR_NOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

int
buf_reserve(struct buf *b, size_t n, uint8_t **out)
{
	int err;

	if (n > buf_room(b))
		return ERR_LIMIT;
	if (b->data == NULL || n > b->cap - b->wpos) {
		if (!b->owned)
			return ERR_LIMIT;
		err = grow(b, b->wpos + n);
		if (err != 0)
			return err;
	}
	*out = b->data + b->wpos;
	return 0;
}

void
buf_commit(struct buf *b, size_t n)
{
	MUST(n <= b->cap - b->wpos);
	b->wpos += n;
}

void
buf_compact(struct buf *b)
{
	size_t left = buf_left(b);

	if (b->rpos == 0)
		return;
	if (left != 0)
		memmove(b->data, b->data + b->rpos, left);
	b->rpos = 0;
	b->wpos = left;
}

int
buf_put_u8(struct buf *b, uint8_t v)
{
	return buf_put_bytes(b, &v, 1);
}

int
buf_put_u16(struct buf *b, uint16_t v)
{
	uint8_t raw[2];

	be_store16(raw, v);
	return buf_put_bytes(b, raw, sizeof(raw));
}

int
buf_put_u32(struct buf *b, uint32_t v)
{
	uint8_t raw[4];

	be_store32(raw, v);
	return buf_put_bytes(b, raw, sizeof(raw));
}

int
buf_put_u64(struct buf *b, uint64_t v)
{
	uint8_t raw[8];

	be_store64(raw, v);
	return buf_put_bytes(b, raw, sizeof(raw));
}

int
buf_put_bytes(struct buf *b, const void *data, size_t len)
{
	uint8_t *p;
	int err;

	if (len == 0)
		return 0;
	err = buf_reserve(b, len, &p);
	if (err != 0)
		return err;
	memcpy(p, data, len);
	b->wpos += len;
	return 0;
}

int
buf_put_str8(struct buf *b, const char *s)
{
	size_t len = strlen(s);
	uint8_t *p;
	int err;

	if (len > UINT8_MAX)
		return ERR_RANGE;
	err = buf_reserve(b, 1 + len, &p);
	if (err != 0)
		return err;
	p[0] = (uint8_t)len;
	memcpy(p + 1, s, len);
	b->wpos += 1 + len;
	return 0;
}

int
buf_get_u8(struct buf *b, uint8_t *out)
{
	return buf_get_bytes(b, out, 1);
}

int
buf_get_u16(struct buf *b, uint16_t *out)
{
	const uint8_t *p;
	int err = buf_get_ref(b, 2, &p);

	if (err == 0)
		*out = be_load16(p);
	return err;
}

int
buf_get_u32(struct buf *b, uint32_t *out)
{
	const uint8_t *p;
	int err = buf_get_ref(b, 4, &p);

	if (err == 0)
		*out = be_load32(p);
	return err;
}

int
buf_get_u64(struct buf *b, uint64_t *out)
{
	const uint8_t *p;
	int err = buf_get_ref(b, 8, &p);

	if (err == 0)
		*out = be_load64(p);
	return err;
}

int
buf_get_bytes(struct buf *b, void *out, size_t len)
{
	const uint8_t *p;
	int err = buf_get_ref(b, len, &p);

	if (err == 0 && len != 0)
		memcpy(out, p, len);
	return err;
}

int
buf_get_ref(struct buf *b, size_t len, const uint8_t **out)
{
	if (len > buf_left(b))
		return ERR_SHORT;
	*out = buf_head(b);
	b->rpos += len;
	return 0;
}

int
buf_get_str8(struct buf *b, char *out, size_t size)
{
	const uint8_t *p = buf_head(b);
	size_t len;

	if (buf_left(b) < 1 || buf_left(b) - 1 < p[0])
		return ERR_SHORT;
	len = *p++;
	if (len >= size)
		return ERR_LIMIT;
	if (memchr(p, '\0', len) != NULL)
		return ERR_FORMAT;
	memcpy(out, p, len);
	out[len] = '\0';
	b->rpos += 1 + len;
	return 0;
}

int
buf_skip(struct buf *b, size_t len)
{
	const uint8_t *p;

	return buf_get_ref(b, len, &p);
}

int
buf_end(const struct buf *b)
{
	return buf_left(b) == 0 ? 0 : ERR_LEFTOVER;
}
