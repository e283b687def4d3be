/*
 * parcel: a batch as one string of bytes, for keeping it outside: a mark that tells who made it, what the
 *batch says about itself, and its body.
 *
 *	mark (32 bytes), version (u8), first_seq (u64), count (u32), epoch (u64), key_id (8), nonce (24),
 *	signature (64), body; numbers are big endian
 *
 * The stream is named by where it is kept.  Decoding is total: any bytes give a batch that batch_check() lets
 * pass, or an error.
 */
#ifndef CONSENSUSD_CORE_PARCEL_H
#define CONSENSUSD_CORE_PARCEL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/core/batch.h"

enum {
	PARCEL_MARK_BYTES = 32,
	PARCEL_VERSION = 1,
	PARCEL_HEAD_BYTES =
	    PARCEL_MARK_BYTES + 1 + 8 + 4 + 8 + BATCH_KEY_ID_BYTES + BATCH_NONCE_BYTES + BATCH_SIG_BYTES,
};

/* Writes PARCEL_HEAD_BYTES + body_len bytes; the mark is zero, and the caller's to fill in. */
void parcel_put(uint8_t *out, const struct batch *b);
/* A new batch of this stream.  ERR_SHORT, ERR_FORMAT, ERR_LIMIT, ERR_LEFTOVER (as batch_check()), ERR_NOMEM.
 */
int parcel_get(const uint8_t *data, size_t len, const struct ulid *stream, struct batch **out) MUST_USE;

#endif
