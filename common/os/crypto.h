/*
 * crypto: the few operations the suite needs, on libsodium (the only file that includes it).
 *
 * Nothing here is secret-dependent in timing beyond libsodium's own guarantees.  Keys are locked in
 * memory and wiped by crypto_key_free().
 */
#ifndef COMMON_OS_CRYPTO_H
#define COMMON_OS_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum {
	CRYPTO_PUBKEY_BYTES = 32, /* Ed25519 */
	CRYPTO_SEED_BYTES = 32,
	CRYPTO_SIG_BYTES = 64,
	CRYPTO_HASH_BYTES = 32,  /* BLAKE2b-256 */
	CRYPTO_KEY_BYTES = 32,   /* symmetric */
	CRYPTO_NONCE_BYTES = 24, /* XChaCha20-Poly1305 */
	CRYPTO_TAG_BYTES = 16,
	CRYPTO_KEY_ID_BYTES = 8,
	CRYPTO_BOX_BYTES = 80, /* a symmetric key, sealed to a public key */
};

/* Contexts: each kind of signed statement starts with its own, so one can't pass for another. */
#define CRYPTO_CONTEXT_HELLO "mesh.v1 hello"
#define CRYPTO_CONTEXT_LSA "mesh.v1 lsa"
#define CRYPTO_CONTEXT_BATCH "mesh.v1 batch"
#define CRYPTO_CONTEXT_STREAM "mesh.v1 stream"
#define CRYPTO_CONTEXT_TAG "mesh.v1 tag"
#define CRYPTO_CONTEXT_REFUSED "mesh.v1 refused"
#define CRYPTO_CONTEXT_PAIR "mesh.v1 pair"
#define CRYPTO_CONTEXT_FRESH "mesh.v1 fresh"
#define CRYPTO_CONTEXT_NOTE "mesh.v1 note"

/* libsodium exports these two names itself: ours differ for the linker. */
#define crypto_sign mesh_crypto_sign
#define crypto_hash mesh_crypto_hash

struct crypto_key; /* an Ed25519 key pair in guarded memory */

/* Call first; ERR_CRYPTO if the library can't start. */
int crypto_init(void) MUST_USE;
void crypto_random(void *out, size_t len);
void crypto_wipe(void *p, size_t len);
/* Keeps memory that will hold keys out of swap and core dumps (as far as the system's limits let it);
 * unlock wipes it first. */
void crypto_lock(void *p, size_t len);
void crypto_unlock(void *p, size_t len);

struct crypto_key *crypto_key_new(const uint8_t seed[CRYPTO_SEED_BYTES]) MUST_USE;
void crypto_key_free(struct crypto_key *k);
void crypto_key_public(const struct crypto_key *k, uint8_t out[CRYPTO_PUBKEY_BYTES]);
/* Signs context || 0x00 || data. */
int crypto_sign(const struct crypto_key *k, const char *context, const void *data, size_t len,
    uint8_t sig[CRYPTO_SIG_BYTES]) MUST_USE;
/* 0 or ERR_CRYPTO. */
int crypto_verify(const uint8_t pubkey[CRYPTO_PUBKEY_BYTES], const char *context, const void *data,
    size_t len, const uint8_t sig[CRYPTO_SIG_BYTES]) MUST_USE;

/* First 8 bytes of BLAKE2b-256(pubkey), big endian. */
uint64_t crypto_node_id(const uint8_t pubkey[CRYPTO_PUBKEY_BYTES]);

void crypto_hash(uint8_t out[CRYPTO_HASH_BYTES], const void *data, size_t len);
/* The first 32 bytes of BLAKE2b-512: for long data twice as fast.  Without memory it ends the process:
 * nothing that it is needed for could go on. */
void crypto_digest(uint8_t out[CRYPTO_HASH_BYTES], const void *data, size_t len);

/* Keyed BLAKE2b-256 of context || 0x00 || a || b: proves the key. */
void crypto_mac(uint8_t out[CRYPTO_HASH_BYTES], const uint8_t key[CRYPTO_KEY_BYTES], const char *context,
    const void *a, size_t a_len, const void *b, size_t b_len);
/* Compares in constant time. */
bool crypto_equal(const void *a, const void *b, size_t len);

struct crypto_hasher { /* incremental BLAKE2b-256; opaque storage */
	_Alignas(64) uint8_t state[384];
};
void crypto_hasher_init(struct crypto_hasher *h);
void crypto_hasher_update(struct crypto_hasher *h, const void *data, size_t len);
void crypto_hasher_final(struct crypto_hasher *h, uint8_t out[CRYPTO_HASH_BYTES]);

/*
 * AEAD (XChaCha20-Poly1305-IETF).  out of seal has len + CRYPTO_TAG_BYTES bytes, of open
 * len - CRYPTO_TAG_BYTES; in place is allowed.  open gives ERR_CRYPTO and writes nothing useful.
 */
int crypto_seal(uint8_t *out, const void *plain, size_t len, const void *ad, size_t ad_len,
    const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t key[CRYPTO_KEY_BYTES]) MUST_USE;
int crypto_open(uint8_t *out, const void *sealed, size_t len, const void *ad, size_t ad_len,
    const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t key[CRYPTO_KEY_BYTES]) MUST_USE;

/*
 * The key that only the owners of two key pairs can compute, the same for both: BLAKE2b-256 of context ||
 * 0x00 || X25519 of the keys || the smaller public key || the larger.  ERR_CRYPTO: not a public key.
 */
int crypto_pair_key(uint8_t out[CRYPTO_KEY_BYTES], const struct crypto_key *k,
    const uint8_t peer[CRYPTO_PUBKEY_BYTES]) MUST_USE;
/* Seals a key so that only the owner of a public key can open it; who sealed it can't be told. */
int crypto_box_seal_key(uint8_t box[CRYPTO_BOX_BYTES], const uint8_t key[CRYPTO_KEY_BYTES],
    const uint8_t to[CRYPTO_PUBKEY_BYTES]) MUST_USE;
/* 0 or ERR_CRYPTO. */
int crypto_box_open_key(
    uint8_t key[CRYPTO_KEY_BYTES], const uint8_t box[CRYPTO_BOX_BYTES], const struct crypto_key *k) MUST_USE;

/* The id of a symmetric key: first 8 bytes of BLAKE2b-256(key), so it names it and tells nothing. */
void crypto_key_id(uint8_t out[CRYPTO_KEY_ID_BYTES], const uint8_t key[CRYPTO_KEY_BYTES]);

#endif
