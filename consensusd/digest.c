/* digest: see digest.h. */
#include "consensusd/digest.h"

#include <string.h>

#include "common/base/err.h"
#include "common/os/crypto.h"
#include "consensusd/wire.h"

_Static_assert((int)DIGEST_BYTES == CRYPTO_HASH_BYTES, "one hash");

uint8_t *
digest_put(uint8_t *p, const uint8_t digest[DIGEST_BYTES])
{
	*p++ = DIGEST_TAG;
	*p++ = DIGEST_BYTES;
	memcpy(p, digest, DIGEST_BYTES);
	return p + DIGEST_BYTES;
}

int
digest_match(const uint8_t digest[DIGEST_BYTES], const void *payload, size_t len)
{
	uint8_t is[DIGEST_BYTES];

	crypto_hash(is, payload, len);
	return memcmp(is, digest, DIGEST_BYTES) == 0 ? 0 : ERR_CHECKSUM;
}

int
digest_check(const uint8_t *headers, size_t headers_len, const void *payload, size_t len)
{
	const uint8_t *p = headers, *end = headers + headers_len;
	size_t n;

	while (p < end) {
		uint8_t tag = *p++;

		if (wire_length(&p, end, &n) != 0 || n > (size_t)(end - p))
			return ERR_FORMAT;
		if (tag == DIGEST_TAG)
			return n == DIGEST_BYTES ? digest_match(p, payload, len) : ERR_FORMAT;
		p += n;
	}
	return 0;
}
