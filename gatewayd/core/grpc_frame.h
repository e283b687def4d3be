/*
 * grpc_frame: the messages of one gRPC request body, out of byte pieces of any size.
 *
 * A message has a prefix of 5 bytes: a flag (1: compressed) and its length (u32, big endian).  The
 * length is checked against the limit before anything is kept, and memory grows only with bytes that
 * have arrived.  A message that lies whole in one piece is given in place, without a copy.
 */
#ifndef GATEWAYD_CORE_GRPC_FRAME_H
#define GATEWAYD_CORE_GRPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

enum {
	GRPC_PREFIX_BYTES = 5,
	/* Memory of a message buffer that is kept for the next message; larger ones are given back. */
	GRPC_FRAME_KEEP_BYTES = 16 * 1024,
};

struct grpc_frame {
	struct buf partial; /* bytes of a message (with prefix) that is not complete */
	size_t max_bytes;
};

struct grpc_message {
	const uint8_t *data; /* borrowed: until the next call for this grpc_frame, or the piece's end */
	size_t len;
	bool compressed;
};

/* max_bytes: the largest message accepted, without its prefix. */
void grpc_frame_init(struct grpc_frame *f, size_t max_bytes);
void grpc_frame_fini(struct grpc_frame *f);

/*
 * Takes bytes from the unread part of piece (a view) until a message is complete: 1 and *out.  0: all
 * bytes are taken, no message is complete.  ERR_LIMIT: the message is longer than max_bytes (then
 * out->len says how long); ERR_FORMAT: the flag is neither 0 nor 1; ERR_NOMEM.  After an error the body
 * can't be read on.
 */
int grpc_frame_feed(struct grpc_frame *f, struct buf *piece, struct grpc_message *out) MUST_USE;

/* True between messages: the body may end here. */
bool grpc_frame_clean(const struct grpc_frame *f);
/* Bytes of memory that an incomplete message holds. */
size_t grpc_frame_memory(const struct grpc_frame *f);

/* Writes the prefix of a message of len bytes that is not compressed. */
void grpc_frame_prefix(uint8_t out[GRPC_PREFIX_BYTES], uint32_t len, bool compressed);

#endif
