/*
 * digest: the BLAKE2b-256 of a message's payload, as its publisher gave it.
 *
 * It is kept with the message, sealed, as one more field behind the headers (of Chunk, as these are), so that
 * a message without one is as it always was.  It is checked when the message is taken and again before it is
 * delivered.
 */
#ifndef CONSENSUSD_DIGEST_H
#define CONSENSUSD_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum {
	DIGEST_BYTES = 32,
	DIGEST_TAG = 10 << 3 | 2, /* of Chunk */
	DIGEST_FIELD_BYTES = 2 + DIGEST_BYTES,
};

/* Writes the field at p; where it ends. */
uint8_t *digest_put(uint8_t *p, const uint8_t digest[DIGEST_BYTES]);
/* ERR_CHECKSUM: it is another payload's. */
int digest_match(const uint8_t digest[DIGEST_BYTES], const void *payload, size_t len) MUST_USE;
/* Whether an opened message is what was published, if its headers have a digest: 0, ERR_CHECKSUM, or
 * ERR_FORMAT: they make no sense. */
int digest_check(const uint8_t *headers, size_t headers_len, const void *payload, size_t len) MUST_USE;

#endif
