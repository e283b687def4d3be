/*
 * pb: nanopb messages to and from bounded buffers.
 *
 * Decoding consumes the whole input; strings that are too long, lists with too many entries and
 * trailing garbage are ERR_FORMAT.  Callback fields must be set up by the caller before decoding.
 */
#ifndef PROTO_PB_H
#define PROTO_PB_H

#include <pb.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

/* Appends the encoded message.  ERR_LIMIT, ERR_NOMEM, or ERR_FORMAT if a callback refused. */
int pb_pack(struct buf *out, const pb_msgdesc_t *fields, const void *msg) MUST_USE;
/* Decodes len bytes into msg, which is initialised first except for its callback members' functions:
 * fields that are absent get their defaults. */
int pb_unpack(const void *data, size_t len, const pb_msgdesc_t *fields, void *msg) MUST_USE;

/* A borrowed piece of bytes, for callback fields: bytes and strings point into the input. */
struct pb_slice {
	const uint8_t *data;
	size_t len;
};
/* Sets cb up to decode a bytes/string field in place (last one wins), or to encode one. */
void pb_slice_decode(pb_callback_t *cb, struct pb_slice *slice);
void pb_slice_encode(pb_callback_t *cb, const struct pb_slice *slice);

/* A list of encoded sub-messages, each as bytes, written as one repeated field. */
struct pb_list {
	const struct pb_slice *items;
	size_t count;
};
void pb_list_encode(pb_callback_t *cb, const struct pb_list *list);

/* Collects the raw encoded entries of a repeated field (map entries too) in place, at most max;
 * more are ERR_FORMAT. */
struct pb_raw_list {
	struct pb_slice *items;
	size_t count, max;
};
void pb_raw_list_decode(pb_callback_t *cb, struct pb_raw_list *list);

#endif
