/* crypto: see crypto.h. */
#include <sodium.h> /* before crypto.h, which renames two of its functions */

#include "common/os/crypto.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/crypto_bulk.h"

struct crypto_key {
	uint8_t secret[crypto_sign_SECRETKEYBYTES]; /* seed, then public key */
};

_Static_assert(CRYPTO_PUBKEY_BYTES == crypto_sign_PUBLICKEYBYTES, "Ed25519");
_Static_assert(CRYPTO_SEED_BYTES == crypto_sign_SEEDBYTES, "Ed25519");
_Static_assert(CRYPTO_SIG_BYTES == crypto_sign_BYTES, "Ed25519");
_Static_assert(CRYPTO_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "XChaCha20-Poly1305");
_Static_assert(CRYPTO_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "XChaCha20-Poly1305");
_Static_assert(CRYPTO_TAG_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES, "XChaCha20-Poly1305");
_Static_assert(CRYPTO_KEY_BYTES == crypto_scalarmult_BYTES, "X25519");
_Static_assert(CRYPTO_BOX_BYTES == CRYPTO_KEY_BYTES + crypto_box_SEALBYTES, "anonymous box");
_Static_assert(sizeof(struct crypto_hasher) >= sizeof(crypto_generichash_state), "room for BLAKE2b");

enum { SIGNED_STACK_BYTES = 2048 }; /* statements up to this need no allocation */

int
crypto_init(void)
{
	return sodium_init() == -1 ? ERR_CRYPTO : crypto_bulk_init();
}

void
crypto_random(void *out, size_t len)
{
	randombytes_buf(out, len);
}

void
crypto_wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}

void
crypto_lock(void *p, size_t len)
{
	/* Locking can fail on a small RLIMIT_MEMLOCK: the keys are then as safe as the swap space is. */
	(void)sodium_mlock(p, len);
}

void
crypto_unlock(void *p, size_t len)
{
	sodium_munlock(p, len);
}

struct crypto_key *
crypto_key_new(const uint8_t seed[CRYPTO_SEED_BYTES])
{
	uint8_t public[CRYPTO_PUBKEY_BYTES];
	struct crypto_key *k = mem_calloc(1, sizeof(*k));

	if (k == NULL)
		return NULL;
	/* Locking can fail on a small RLIMIT_MEMLOCK: the key is then as safe as the swap space is. */
	(void)sodium_mlock(k, sizeof(*k));
	crypto_sign_seed_keypair(public, k->secret, seed);
	return k;
}

void
crypto_key_free(struct crypto_key *k)
{
	if (k == NULL)
		return;
	sodium_munlock(k, sizeof(*k)); /* wipes, too */
	mem_free(k);
}

void
crypto_key_public(const struct crypto_key *k, uint8_t out[CRYPTO_PUBKEY_BYTES])
{
	memcpy(out, k->secret + CRYPTO_SEED_BYTES, CRYPTO_PUBKEY_BYTES);
}

/* What is signed: context, a NUL and the data.  small is used when it is large enough. */
static uint8_t *
statement_new(const char *context, const void *data, size_t len, uint8_t *small, size_t *out_len)
{
	size_t prefix = strlen(context) + 1;
	uint8_t *p;

	if (len > SIZE_MAX - prefix)
		return NULL;
	*out_len = prefix + len;
	p = *out_len <= SIGNED_STACK_BYTES ? small : mem_calloc(1, *out_len);
	if (p == NULL)
		return NULL;
	memcpy(p, context, prefix);
	if (len > 0)
		memcpy(p + prefix, data, len);
	return p;
}

static void
statement_free(uint8_t *p, const uint8_t *small)
{
	if (p != small)
		mem_free(p);
}

int
crypto_sign(const struct crypto_key *k, const char *context, const void *data, size_t len,
    uint8_t sig[CRYPTO_SIG_BYTES])
{
	uint8_t small[SIGNED_STACK_BYTES];
	size_t n;
	uint8_t *p = statement_new(context, data, len, small, &n);

	if (p == NULL)
		return ERR_NOMEM;
	crypto_sign_detached(sig, NULL, p, n, k->secret);
	statement_free(p, small);
	return 0;
}

int
crypto_verify(const uint8_t pubkey[CRYPTO_PUBKEY_BYTES], const char *context, const void *data, size_t len,
    const uint8_t sig[CRYPTO_SIG_BYTES])
{
	uint8_t small[SIGNED_STACK_BYTES];
	size_t n;
	uint8_t *p = statement_new(context, data, len, small, &n);
	bool good;

	if (p == NULL)
		return ERR_NOMEM;
	good = crypto_sign_verify_detached(sig, p, n, pubkey) == 0;
	statement_free(p, small);
	return good ? 0 : ERR_CRYPTO;
}

uint64_t
crypto_node_id(const uint8_t pubkey[CRYPTO_PUBKEY_BYTES])
{
	uint8_t hash[CRYPTO_HASH_BYTES];
	uint64_t id = 0;

	crypto_hash(hash, pubkey, CRYPTO_PUBKEY_BYTES);
	for (unsigned i = 0; i < 8; i++)
		id = id << 8 | hash[i];
	return id;
}

void
crypto_hash(uint8_t out[CRYPTO_HASH_BYTES], const void *data, size_t len)
{
	crypto_generichash(out, CRYPTO_HASH_BYTES, data, len, NULL, 0);
}

void
crypto_digest(uint8_t out[CRYPTO_HASH_BYTES], const void *data, size_t len)
{
	uint8_t all[CRYPTO_BULK_HASH_BYTES];
	int err = crypto_bulk_hash(all, data, len);

	MUST(err == 0);
	memcpy(out, all, CRYPTO_HASH_BYTES);
}

void
crypto_mac(uint8_t out[CRYPTO_HASH_BYTES], const uint8_t key[CRYPTO_KEY_BYTES], const char *context,
    const void *a, size_t a_len, const void *b, size_t b_len)
{
	crypto_generichash_state st;

	crypto_generichash_init(&st, key, CRYPTO_KEY_BYTES, CRYPTO_HASH_BYTES);
	crypto_generichash_update(&st, (const uint8_t *)context, strlen(context) + 1);
	if (a_len > 0)
		crypto_generichash_update(&st, a, a_len);
	if (b_len > 0)
		crypto_generichash_update(&st, b, b_len);
	crypto_generichash_final(&st, out, CRYPTO_HASH_BYTES);
}

bool
crypto_equal(const void *a, const void *b, size_t len)
{
	return sodium_memcmp(a, b, len) == 0;
}

static crypto_generichash_state *
hasher_state(struct crypto_hasher *h)
{
	return (crypto_generichash_state *)(void *)h->state;
}

void
crypto_hasher_init(struct crypto_hasher *h)
{
	crypto_generichash_init(hasher_state(h), NULL, 0, CRYPTO_HASH_BYTES);
}

void
crypto_hasher_update(struct crypto_hasher *h, const void *data, size_t len)
{
	crypto_generichash_update(hasher_state(h), data, len);
}

void
crypto_hasher_final(struct crypto_hasher *h, uint8_t out[CRYPTO_HASH_BYTES])
{
	crypto_generichash_final(hasher_state(h), out, CRYPTO_HASH_BYTES);
}

/* XChaCha20 is ChaCha20 with a key made of the key and the first 16 bytes of the nonce. */
static int
bulk(int fn(const struct crypto_bulk *b), struct crypto_bulk b, const uint8_t nonce[CRYPTO_NONCE_BYTES],
    const uint8_t key[CRYPTO_KEY_BYTES])
{
	int err;

	memcpy(b.nonce + 4, nonce + 16, 8);
	(void)crypto_core_hchacha20(b.key, nonce, key, NULL); /* it can't fail */
	err = fn(&b);
	crypto_wipe(b.key, sizeof(b.key));
	return err;
}

int
crypto_seal(uint8_t *out, const void *plain, size_t len, const void *ad, size_t ad_len,
    const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t key[CRYPTO_KEY_BYTES])
{
	if (len > crypto_aead_xchacha20poly1305_ietf_MESSAGEBYTES_MAX)
		return ERR_LIMIT;
	if (len >= CRYPTO_BULK_MIN_BYTES)
		return bulk(crypto_bulk_seal,
		    (struct crypto_bulk){.out = out, .in = plain, .len = len, .ad = ad, .ad_len = ad_len},
		    nonce, key);
	if (crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, plain, len, ad, ad_len, NULL, nonce, key) !=
	    0)
		return ERR_CRYPTO;
	return 0;
}

int
crypto_open(uint8_t *out, const void *sealed, size_t len, const void *ad, size_t ad_len,
    const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t key[CRYPTO_KEY_BYTES])
{
	if (len < CRYPTO_TAG_BYTES)
		return ERR_CRYPTO;
	if (len - CRYPTO_TAG_BYTES >= CRYPTO_BULK_MIN_BYTES)
		return bulk(crypto_bulk_open,
		    (struct crypto_bulk){
			.out = out, .in = sealed, .len = len - CRYPTO_TAG_BYTES, .ad = ad, .ad_len = ad_len},
		    nonce, key);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(
		out, NULL, NULL, sealed, len, ad, ad_len, nonce, key) != 0)
		return ERR_CRYPTO;
	return 0;
}

void
crypto_key_id(uint8_t out[CRYPTO_KEY_ID_BYTES], const uint8_t key[CRYPTO_KEY_BYTES])
{
	uint8_t hash[CRYPTO_HASH_BYTES];

	crypto_hash(hash, key, CRYPTO_KEY_BYTES);
	memcpy(out, hash, CRYPTO_KEY_ID_BYTES);
	crypto_wipe(hash, sizeof(hash));
}

/* --- key pairs as X25519 keys --- */

static int
shared_secret(
    uint8_t out[crypto_scalarmult_BYTES], const struct crypto_key *k, const uint8_t peer[CRYPTO_PUBKEY_BYTES])
{
	uint8_t secret[crypto_scalarmult_SCALARBYTES], point[crypto_scalarmult_BYTES];
	int err = ERR_CRYPTO;

	if (crypto_sign_ed25519_pk_to_curve25519(point, peer) == 0 &&
	    crypto_sign_ed25519_sk_to_curve25519(secret, k->secret) == 0 &&
	    crypto_scalarmult(out, secret, point) == 0)
		err = 0;
	sodium_memzero(secret, sizeof(secret));
	return err;
}

int
crypto_pair_key(
    uint8_t out[CRYPTO_KEY_BYTES], const struct crypto_key *k, const uint8_t peer[CRYPTO_PUBKEY_BYTES])
{
	static const char context[] = CRYPTO_CONTEXT_PAIR;
	uint8_t shared[crypto_scalarmult_BYTES];
	const uint8_t *own = k->secret + CRYPTO_SEED_BYTES;
	bool own_first = memcmp(own, peer, CRYPTO_PUBKEY_BYTES) < 0;
	struct crypto_hasher h;
	int err = shared_secret(shared, k, peer);

	if (err == 0) {
		crypto_hasher_init(&h);
		crypto_hasher_update(&h, context, sizeof(context));
		crypto_hasher_update(&h, shared, sizeof(shared));
		crypto_hasher_update(&h, own_first ? own : peer, CRYPTO_PUBKEY_BYTES);
		crypto_hasher_update(&h, own_first ? peer : own, CRYPTO_PUBKEY_BYTES);
		crypto_hasher_final(&h, out);
		sodium_memzero(&h, sizeof(h));
	}
	sodium_memzero(shared, sizeof(shared));
	return err;
}

int
crypto_box_seal_key(
    uint8_t box[CRYPTO_BOX_BYTES], const uint8_t key[CRYPTO_KEY_BYTES], const uint8_t to[CRYPTO_PUBKEY_BYTES])
{
	uint8_t point[crypto_box_PUBLICKEYBYTES];

	if (crypto_sign_ed25519_pk_to_curve25519(point, to) != 0 ||
	    crypto_box_seal(box, key, CRYPTO_KEY_BYTES, point) != 0)
		return ERR_CRYPTO;
	return 0;
}

int
crypto_box_open_key(
    uint8_t key[CRYPTO_KEY_BYTES], const uint8_t box[CRYPTO_BOX_BYTES], const struct crypto_key *k)
{
	uint8_t secret[crypto_box_SECRETKEYBYTES], point[crypto_box_PUBLICKEYBYTES];
	int err = ERR_CRYPTO;

	if (crypto_sign_ed25519_pk_to_curve25519(point, k->secret + CRYPTO_SEED_BYTES) == 0 &&
	    crypto_sign_ed25519_sk_to_curve25519(secret, k->secret) == 0 &&
	    crypto_box_seal_open(key, box, CRYPTO_BOX_BYTES, point, secret) == 0)
		err = 0;
	sodium_memzero(secret, sizeof(secret));
	return err;
}
