/* crypto: published vectors, and that what was tampered with is refused. */
#include <sodium.h> /* before crypto.h, which renames two of its functions */

#include "tests/unit/unit.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"

static void
from_hex(uint8_t *out, const char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (; *hex != '\0'; hex += 2)
		*out++ =
		    (uint8_t)((strchr(digits, hex[0]) - digits) << 4 | (strchr(digits, hex[1]) - digits));
}

/* RFC 8032 section 7.1, test 1: the public key of a seed.  Signatures differ from the RFC's, since ours
 * start with a context. */
static void
test_key(void **state)
{
	uint8_t seed[CRYPTO_SEED_BYTES], want[CRYPTO_PUBKEY_BYTES], got[CRYPTO_PUBKEY_BYTES];
	struct crypto_key *k;

	(void)state;
	from_hex(seed, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
	from_hex(want, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
	k = crypto_key_new(seed);
	assert_non_null(k);
	crypto_key_public(k, got);
	assert_memory_equal(got, want, sizeof(want));
	crypto_key_free(k);
	crypto_key_free(NULL);
}

static void
check_signature(struct crypto_key *k, const uint8_t *data, size_t len)
{
	uint8_t pub[CRYPTO_PUBKEY_BYTES], sig[CRYPTO_SIG_BYTES];

	crypto_key_public(k, pub);
	assert_int_equal(crypto_sign(k, CRYPTO_CONTEXT_LSA, data, len, sig), 0);
	assert_int_equal(crypto_verify(pub, CRYPTO_CONTEXT_LSA, data, len, sig), 0);
	assert_int_equal(crypto_verify(pub, CRYPTO_CONTEXT_HELLO, data, len, sig), ERR_CRYPTO);
	if (len > 0)
		assert_int_equal(crypto_verify(pub, CRYPTO_CONTEXT_LSA, data, len - 1, sig), ERR_CRYPTO);
	sig[0] ^= 1;
	assert_int_equal(crypto_verify(pub, CRYPTO_CONTEXT_LSA, data, len, sig), ERR_CRYPTO);
	sig[0] ^= 1;
	pub[5] ^= 1;
	assert_int_equal(crypto_verify(pub, CRYPTO_CONTEXT_LSA, data, len, sig), ERR_CRYPTO);
}

static void
test_sign(void **state)
{
	static const size_t sizes[] = {0, 1, 2000, 2036, 2037, 100000};
	static uint8_t data[100000];
	uint8_t seed[CRYPTO_SEED_BYTES];
	struct crypto_key *k;

	(void)state;
	crypto_random(seed, sizeof(seed));
	k = crypto_key_new(seed);
	for (size_t i = 0; i < COUNT(sizes); i++)
		check_signature(k, data, sizes[i]);
	crypto_key_free(k);
}

/* A context can't be shifted into the data: the NUL between them ends it. */
static void
test_context_is_delimited(void **state)
{
	uint8_t seed[CRYPTO_SEED_BYTES] = {1}, pub[CRYPTO_PUBKEY_BYTES], sig[CRYPTO_SIG_BYTES];
	struct crypto_key *k = crypto_key_new(seed);

	(void)state;
	crypto_key_public(k, pub);
	assert_int_equal(crypto_sign(k, "mesh.v1 ls", "a data", 6, sig), 0);
	assert_int_equal(crypto_verify(pub, "mesh.v1 lsa", " data", 5, sig), ERR_CRYPTO);
	crypto_key_free(k);
}

static void
test_hash(void **state)
{
	uint8_t want[CRYPTO_HASH_BYTES], got[CRYPTO_HASH_BYTES];
	struct crypto_hasher h;

	(void)state;
	/* BLAKE2b-256("abc") */
	from_hex(want, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
	crypto_hash(got, "abc", 3);
	assert_memory_equal(got, want, sizeof(want));
	crypto_hasher_init(&h);
	crypto_hasher_update(&h, "a", 1);
	crypto_hasher_update(&h, "bc", 2);
	crypto_hasher_final(&h, got);
	assert_memory_equal(got, want, sizeof(want));
}

static void
test_ids(void **state)
{
	uint8_t key[CRYPTO_KEY_BYTES] = {7}, hash[CRYPTO_HASH_BYTES], id[CRYPTO_KEY_ID_BYTES];
	uint64_t want = 0;

	(void)state;
	crypto_hash(hash, key, sizeof(key));
	for (int i = 0; i < 8; i++)
		want = want << 8 | hash[i];
	assert_true(crypto_node_id(key) == want);
	crypto_key_id(id, key);
	assert_memory_equal(id, hash, sizeof(id));
}

/* draft-irtf-cfrg-xchacha-03, appendix A.3.1. */
static void
test_seal_vector(void **state)
{
	static const char plain[] =
	    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip "
	    "for the future, sunscreen would be it.";
	uint8_t key[CRYPTO_KEY_BYTES], nonce[CRYPTO_NONCE_BYTES], ad[12], tag[CRYPTO_TAG_BYTES];
	uint8_t out[sizeof(plain) - 1 + CRYPTO_TAG_BYTES];

	(void)state;
	from_hex(key, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
	from_hex(nonce, "404142434445464748494a4b4c4d4e4f5051525354555657");
	from_hex(ad, "50515253c0c1c2c3c4c5c6c7");
	from_hex(tag, "c0875924c1c7987947deafd8780acf49");
	assert_int_equal(crypto_seal(out, plain, sizeof(plain) - 1, ad, sizeof(ad), nonce, key), 0);
	assert_memory_equal(out + sizeof(plain) - 1, tag, sizeof(tag));
}

static void
test_open(void **state)
{
	uint8_t key[CRYPTO_KEY_BYTES], nonce[CRYPTO_NONCE_BYTES], text[100] = "in place", sealed[116];

	(void)state;
	crypto_random(key, sizeof(key));
	crypto_random(nonce, sizeof(nonce));
	memcpy(sealed, text, sizeof(text));
	assert_int_equal(crypto_seal(sealed, sealed, sizeof(text), "ad", 2, nonce, key), 0);
	for (size_t i = 0; i < sizeof(sealed); i++) {
		uint8_t out[100];

		sealed[i] ^= 0x40;
		assert_int_equal(crypto_open(out, sealed, sizeof(sealed), "ad", 2, nonce, key), ERR_CRYPTO);
		sealed[i] ^= 0x40;
	}
	assert_int_equal(crypto_open(sealed, sealed, 15, "ad", 2, nonce, key), ERR_CRYPTO);
	assert_int_equal(crypto_open(sealed, sealed, sizeof(sealed), "da", 2, nonce, key), ERR_CRYPTO);
	memcpy(sealed, text, sizeof(text));
	assert_int_equal(crypto_seal(sealed, sealed, sizeof(text), "ad", 2, nonce, key), 0);
	assert_int_equal(crypto_open(sealed, sealed, sizeof(sealed), "ad", 2, nonce, key), 0);
	assert_memory_equal(sealed, text, sizeof(text));
}

/* Long texts go another way, with the same result: what the library has for all lengths opens them. */
static void
test_seal_long(void **state)
{
	static const size_t lens[] = {1023, 1024, 1025, 4096, 65537, 1000000};
	static uint8_t text[1000000], sealed[1000000 + CRYPTO_TAG_BYTES], got[1000000 + CRYPTO_TAG_BYTES];
	uint8_t key[CRYPTO_KEY_BYTES], nonce[CRYPTO_NONCE_BYTES];

	(void)state;
	crypto_random(text, sizeof(text));
	crypto_random(key, sizeof(key));
	crypto_random(nonce, sizeof(nonce));
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		size_t len = lens[i], sealed_len = len + CRYPTO_TAG_BYTES;

		assert_int_equal(crypto_seal(sealed, text, len, "header", 6, nonce, key), 0);
		assert_int_equal(crypto_aead_xchacha20poly1305_ietf_encrypt(
				     got, NULL, text, len, (const uint8_t *)"header", 6, NULL, nonce, key),
		    0);
		assert_memory_equal(sealed, got, sealed_len);
		sealed[len] ^= 1;
		assert_int_equal(crypto_open(got, sealed, sealed_len, "header", 6, nonce, key), ERR_CRYPTO);
		assert_true(sodium_is_zero(got, len));
		sealed[len] ^= 1;
		assert_int_equal(crypto_open(got, sealed, sealed_len, "other", 5, nonce, key), ERR_CRYPTO);
		assert_int_equal(crypto_open(sealed, sealed, sealed_len, "header", 6, nonce, key), 0);
		assert_memory_equal(sealed, text, len);
	}
}

static void
test_digest(void **state)
{
	uint8_t want[CRYPTO_HASH_BYTES], got[CRYPTO_HASH_BYTES];

	(void)state;
	/* RFC 7693, appendix A: BLAKE2b-512("abc"), its first half. */
	from_hex(want, "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1");
	for (int i = 0; i < 2; i++) {
		crypto_digest(got, "abc", 3);
		assert_memory_equal(got, want, sizeof(want));
	}
}

/* Both ends compute the same key, nobody else does. */
static void
test_pair_key(void **state)
{
	uint8_t seed[3][CRYPTO_SEED_BYTES] = {{1}, {2}, {3}}, pub[3][CRYPTO_PUBKEY_BYTES];
	uint8_t a[CRYPTO_KEY_BYTES], b[CRYPTO_KEY_BYTES], none[CRYPTO_PUBKEY_BYTES] = {0};
	struct crypto_key *k[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		k[i] = crypto_key_new(seed[i]);
		crypto_key_public(k[i], pub[i]);
	}
	assert_int_equal(crypto_pair_key(a, k[0], pub[1]), 0);
	assert_int_equal(crypto_pair_key(b, k[1], pub[0]), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(crypto_pair_key(b, k[0], pub[2]), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	/* Points of small order, and what is no point, give no key. */
	assert_int_equal(crypto_pair_key(a, k[0], none), ERR_CRYPTO);
	memset(none, 0xff, sizeof(none));
	assert_int_equal(crypto_pair_key(a, k[0], none), ERR_CRYPTO);
	for (unsigned i = 0; i < 3; i++)
		crypto_key_free(k[i]);
}

static void
test_box(void **state)
{
	uint8_t seed[CRYPTO_SEED_BYTES] = {1}, other_seed[CRYPTO_SEED_BYTES] = {2};
	uint8_t pub[CRYPTO_PUBKEY_BYTES], none[CRYPTO_PUBKEY_BYTES] = {0};
	uint8_t key[CRYPTO_KEY_BYTES], got[CRYPTO_KEY_BYTES] = {0}, box[CRYPTO_BOX_BYTES] = {0};
	struct crypto_key *k = crypto_key_new(seed), *other = crypto_key_new(other_seed);

	(void)state;
	crypto_random(key, sizeof(key));
	crypto_key_public(k, pub);
	assert_int_equal(crypto_box_seal_key(box, key, pub), 0);
	assert_int_equal(crypto_box_open_key(got, box, k), 0);
	assert_memory_equal(got, key, sizeof(key));
	assert_int_equal(crypto_box_open_key(got, box, other), ERR_CRYPTO);
	for (size_t i = 0; i < sizeof(box); i++) {
		box[i] ^= 0x10;
		assert_int_equal(crypto_box_open_key(got, box, k), ERR_CRYPTO);
		box[i] ^= 0x10;
	}
	assert_int_equal(crypto_box_seal_key(box, key, none), ERR_CRYPTO);
	crypto_key_free(k);
	crypto_key_free(other);
}

static void
test_no_memory(void **state)
{
	static uint8_t large[5000];
	uint8_t seed[CRYPTO_SEED_BYTES] = {1}, pub[CRYPTO_PUBKEY_BYTES] = {0}, sig[CRYPTO_SIG_BYTES] = {0};
	struct crypto_key *k;

	(void)state;
	mem_fail_at(1);
	k = crypto_key_new(seed);
	assert_null(k);
	k = crypto_key_new(seed);
	mem_fail_at(1);
	assert_int_equal(crypto_sign(k, "c", large, sizeof(large), sig), ERR_NOMEM);
	mem_fail_at(1);
	assert_int_equal(crypto_verify(pub, "c", large, sizeof(large), sig), ERR_NOMEM);
	mem_fail_at(0);
	crypto_key_free(k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_key),
	    cmocka_unit_test(test_sign),
	    cmocka_unit_test(test_context_is_delimited),
	    cmocka_unit_test(test_hash),
	    cmocka_unit_test(test_ids),
	    cmocka_unit_test(test_seal_vector),
	    cmocka_unit_test(test_open),
	    cmocka_unit_test(test_seal_long),
	    cmocka_unit_test(test_digest),
	    cmocka_unit_test(test_pair_key),
	    cmocka_unit_test(test_box),
	    cmocka_unit_test(test_no_memory),
	};

	return crypto_init() != 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
