/*
 * crypto_bulk: what crypto.c has done for long texts, where libcrypto is two to three times as fast as
 * libsodium: the same XChaCha20-Poly1305, by its definition (draft-irtf-cfrg-xchacha-03, section 2.3), and
 * BLAKE2b-512. Only crypto.c calls these.  One thread.
 */
#ifndef COMMON_OS_CRYPTO_BULK_H
#define COMMON_OS_CRYPTO_BULK_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum {
	CRYPTO_BULK_MIN_BYTES = 1024, /* shorter texts gain nothing */
	CRYPTO_BULK_KEY_BYTES = 32,
	CRYPTO_BULK_NONCE_BYTES = 12,
	CRYPTO_BULK_TAG_BYTES = 16,
	CRYPTO_BULK_HASH_BYTES = 64,
};

/* A text with what belongs to it; out has room for len bytes and, of seal, the tag behind them. */
struct crypto_bulk {
	uint8_t *out;
	const uint8_t *in;
	size_t len; /* without the tag */
	const void *ad;
	size_t ad_len;
	uint8_t key[CRYPTO_BULK_KEY_BYTES], nonce[CRYPTO_BULK_NONCE_BYTES];
};

/* Before anything else of it, and before a sandbox: the library reads its configuration.  ERR_CRYPTO. */
int crypto_bulk_init(void) MUST_USE;
/* ChaCha20-Poly1305 (RFC 8439).  ERR_LIMIT: too long; ERR_CRYPTO. */
int crypto_bulk_seal(const struct crypto_bulk *b) MUST_USE;
/* The tag is behind in; if it is not right, nothing of out is left.  ERR_LIMIT, ERR_CRYPTO. */
int crypto_bulk_open(const struct crypto_bulk *b) MUST_USE;
/* BLAKE2b-512. */
int crypto_bulk_hash(uint8_t out[CRYPTO_BULK_HASH_BYTES], const void *data, size_t len) MUST_USE;

#endif
