#include "proto/pb.h"

#include <pb_decode.h>
#include <pb_encode.h>

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* What an absent slice points at, so that it may be passed to memcpy and friends. */
static const uint8_t nothing[1];

/* --- encoding: straight into the buffer, which keeps the reason of a refusal --- */

struct sink {
	struct buf *out;
	int err;
};

static bool
sink_write(pb_ostream_t *stream, const pb_byte_t *data, size_t len)
{
	struct sink *s = stream->state;

	s->err = buf_put_bytes(s->out, data, len);
	return s->err == 0;
}

int
pb_pack(struct buf *out, const pb_msgdesc_t *fields, const void *msg)
{
	struct sink sink = {.out = out};
	pb_ostream_t stream = {.callback = sink_write, .state = &sink, .max_size = SIZE_MAX};
	size_t mark = out->wpos;

	if (pb_encode(&stream, fields, msg))
		return 0;
	out->wpos = mark;
	return sink.err != 0 ? sink.err : ERR_FORMAT;
}

/* --- decoding: the stream's state is the next byte of the caller's input --- */

static bool
input_read(pb_istream_t *stream, pb_byte_t *out, size_t len)
{
	const uint8_t *from = stream->state;

	memcpy(out, from, len);
	stream->state = (uint8_t *)(uintptr_t)(from + len);
	return true;
}

int
pb_unpack(const void *data, size_t len, const pb_msgdesc_t *fields, void *msg)
{
	pb_istream_t stream = {
	    .callback = input_read,
	    .state = (void *)(uintptr_t)(len != 0 ? data : nothing),
	    .bytes_left = len,
	};

	if (!pb_decode(&stream, fields, msg) || stream.bytes_left != 0)
		return ERR_FORMAT;
	return 0;
}

/*
 * Borrows the rest of a field's stream.  nanopb does not compare a callback field's wire type with
 * its declaration: a scalar arrives as a stream over a copy on its stack, which must not be borrowed.
 */
static bool
input_borrow(pb_istream_t *stream, struct pb_slice *out)
{
	if (stream->callback != input_read)
		return false;
	*out = (struct pb_slice){stream->state, stream->bytes_left};
	stream->state = (uint8_t *)(uintptr_t)(out->data + out->len);
	stream->bytes_left = 0;
	return true;
}

static bool
slice_decode(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
	(void)field;
	return input_borrow(stream, *arg);
}

static bool
slice_encode(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct pb_slice *slice = *arg;

	/* proto3: a field with the default value is not written. */
	if (slice->len == 0)
		return true;
	return pb_encode_tag_for_field(stream, field) && pb_encode_string(stream, slice->data, slice->len);
}

static bool
list_encode(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct pb_list *list = *arg;

	for (size_t i = 0; i < list->count; i++) {
		const struct pb_slice *item = &list->items[i];

		if (!pb_encode_tag_for_field(stream, field) ||
		    !pb_encode_string(stream, item->data, item->len))
			return false;
	}
	return true;
}

static bool
raw_list_decode(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
	struct pb_raw_list *list = *arg;

	(void)field;
	if (list->count >= list->max || !input_borrow(stream, &list->items[list->count]))
		return false;
	list->count++;
	return true;
}

void
pb_slice_decode(pb_callback_t *cb, struct pb_slice *slice)
{
	*slice = (struct pb_slice){nothing, 0};
	cb->funcs.decode = slice_decode;
	cb->arg = slice;
}

void
pb_slice_encode(pb_callback_t *cb, const struct pb_slice *slice)
{
	cb->funcs.encode = slice_encode;
	cb->arg = (void *)(uintptr_t)slice;
}

void
pb_list_encode(pb_callback_t *cb, const struct pb_list *list)
{
	cb->funcs.encode = list_encode;
	cb->arg = (void *)(uintptr_t)list;
}

void
pb_raw_list_decode(pb_callback_t *cb, struct pb_raw_list *list)
{
	list->count = 0;
	cb->funcs.decode = raw_list_decode;
	cb->arg = list;
}
