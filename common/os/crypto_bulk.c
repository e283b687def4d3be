/* crypto_bulk: see crypto_bulk.h. */
#include "common/os/crypto_bulk.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/err.h"

/* Fetched once: looking them up each time would cost as much as a short text. */
static struct {
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *sealing;
	EVP_MD *md;
	EVP_MD_CTX *hashing;
} lib;

int
crypto_bulk_init(void)
{
	if (lib.hashing != NULL)
		return 0;
	lib.cipher = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	lib.md = EVP_MD_fetch(NULL, "BLAKE2B-512", NULL);
	lib.sealing = EVP_CIPHER_CTX_new();
	lib.hashing = EVP_MD_CTX_new();
	if (lib.cipher != NULL && lib.md != NULL && lib.sealing != NULL && lib.hashing != NULL)
		return 0;
	EVP_CIPHER_free(lib.cipher);
	EVP_MD_free(lib.md);
	EVP_CIPHER_CTX_free(lib.sealing);
	EVP_MD_CTX_free(lib.hashing);
	lib.hashing = NULL;
	return ERR_CRYPTO;
}

/* All but the tag. */
static bool
cipher(const struct crypto_bulk *b, bool seal)
{
	EVP_CIPHER_CTX *c = lib.sealing;
	int n;

	return EVP_CipherInit_ex2(c, lib.cipher, b->key, b->nonce, seal, NULL) == 1 &&
	       (b->ad_len == 0 || EVP_CipherUpdate(c, NULL, &n, b->ad, (int)b->ad_len) == 1) &&
	       EVP_CipherUpdate(c, b->out, &n, b->in, (int)b->len) == 1 && n == (int)b->len;
}

static bool
fits(const struct crypto_bulk *b)
{
	return b->len <= INT_MAX && b->ad_len <= INT_MAX;
}

int
crypto_bulk_seal(const struct crypto_bulk *b)
{
	EVP_CIPHER_CTX *c = lib.sealing;
	int n;
	bool ok;

	if (!fits(b))
		return ERR_LIMIT;
	ok = cipher(b, true) && EVP_CipherFinal_ex(c, b->out + b->len, &n) == 1 && n == 0 &&
	     EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, CRYPTO_BULK_TAG_BYTES, b->out + b->len) == 1;
	EVP_CIPHER_CTX_reset(c); /* the key is wiped */
	return ok ? 0 : ERR_CRYPTO;
}

int
crypto_bulk_open(const struct crypto_bulk *b)
{
	EVP_CIPHER_CTX *c = lib.sealing;
	uint8_t tag[CRYPTO_BULK_TAG_BYTES];
	int n;
	bool ok;

	if (!fits(b))
		return ERR_LIMIT;
	memcpy(tag, b->in + b->len, sizeof(tag));
	ok = cipher(b, false) && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) == 1 &&
	     EVP_CipherFinal_ex(c, b->out + b->len, &n) == 1;
	EVP_CIPHER_CTX_reset(c);
	if (!ok)
		OPENSSL_cleanse(b->out, b->len);
	return ok ? 0 : ERR_CRYPTO;
}

int
crypto_bulk_hash(uint8_t out[CRYPTO_BULK_HASH_BYTES], const void *data, size_t len)
{
	unsigned n = 0;

	return EVP_DigestInit_ex2(lib.hashing, lib.md, NULL) == 1 &&
		       EVP_DigestUpdate(lib.hashing, data, len) == 1 &&
		       EVP_DigestFinal_ex(lib.hashing, out, &n) == 1 && n == CRYPTO_BULK_HASH_BYTES
		   ? 0
		   : ERR_CRYPTO;
}
