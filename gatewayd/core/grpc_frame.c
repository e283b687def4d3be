/* grpc_frame: see grpc_frame.h. */
#include "gatewayd/core/grpc_frame.h"

#include "common/base/be.h"
#include "common/base/err.h"

void
grpc_frame_init(struct grpc_frame *f, size_t max_bytes)
{
	MUST(max_bytes <= UINT32_MAX);
	f->max_bytes = max_bytes;
	buf_init(&f->partial, max_bytes + GRPC_PREFIX_BYTES);
}

void
grpc_frame_fini(struct grpc_frame *f)
{
	buf_fini(&f->partial);
}

bool
grpc_frame_clean(const struct grpc_frame *f)
{
	return buf_left(&f->partial) == 0;
}

size_t
grpc_frame_memory(const struct grpc_frame *f)
{
	return f->partial.cap;
}

void
grpc_frame_prefix(uint8_t out[GRPC_PREFIX_BYTES], uint32_t len, bool compressed)
{
	out[0] = compressed ? 1 : 0;
	be_store32(out + 1, len);
}

/* Reads a prefix; out->data is set to what follows it. */
static int
prefix_read(const struct grpc_frame *f, const uint8_t *p, struct grpc_message *out)
{
	out->len = be_load32(p + 1);
	out->compressed = p[0] == 1;
	out->data = p + GRPC_PREFIX_BYTES;
	if (p[0] > 1)
		return ERR_FORMAT;
	return out->len > f->max_bytes ? ERR_LIMIT : 0;
}

/* Moves up to want bytes of the piece into the partial message. */
static int
partial_take(struct grpc_frame *f, struct buf *piece, size_t want)
{
	size_t n = buf_left(piece) < want ? buf_left(piece) : want;
	int rc = buf_put_bytes(&f->partial, buf_head(piece), n);

	return rc != 0 ? rc : buf_skip(piece, n);
}

/* Goes on with a message that began in an earlier piece. */
static int
partial_feed(struct grpc_frame *f, struct buf *piece, struct grpc_message *out)
{
	size_t have = buf_left(&f->partial);
	int rc;

	if (have < GRPC_PREFIX_BYTES) {
		if ((rc = partial_take(f, piece, GRPC_PREFIX_BYTES - have)) != 0)
			return rc;
		have = buf_left(&f->partial);
		if (have < GRPC_PREFIX_BYTES)
			return 0;
	}
	if ((rc = prefix_read(f, buf_head(&f->partial), out)) != 0)
		return rc;
	if ((rc = partial_take(f, piece, GRPC_PREFIX_BYTES + out->len - have)) != 0)
		return rc;
	if (buf_left(&f->partial) < GRPC_PREFIX_BYTES + out->len)
		return 0;
	out->data = buf_head(&f->partial) + GRPC_PREFIX_BYTES;
	/* The bytes stay where they are until the next call writes over them. */
	buf_reset(&f->partial);
	return 1;
}

/* The message given before from partial is used up: a large buffer goes back. */
static void
partial_trim(struct grpc_frame *f)
{
	if (buf_left(&f->partial) > 0 || f->partial.cap <= GRPC_FRAME_KEEP_BYTES)
		return;
	buf_fini(&f->partial);
	buf_init(&f->partial, f->max_bytes + GRPC_PREFIX_BYTES);
}

int
grpc_frame_feed(struct grpc_frame *f, struct buf *piece, struct grpc_message *out)
{
	int rc;

	*out = (struct grpc_message){0};
	partial_trim(f);
	if (buf_left(piece) == 0)
		return 0;
	if (buf_left(&f->partial) == 0 && buf_left(piece) >= GRPC_PREFIX_BYTES) {
		if ((rc = prefix_read(f, buf_head(piece), out)) != 0)
			return rc;
		if (buf_left(piece) - GRPC_PREFIX_BYTES >= out->len) {
			rc = buf_skip(piece, GRPC_PREFIX_BYTES + out->len);
			return rc != 0 ? rc : 1;
		}
	}
	return partial_feed(f, piece, out);
}
