/* Sealing and opening batches: the round trip, and that nothing of a batch can be changed. */
#include "tests/unit/unit.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "consensusd/keyring.h"
#include "consensusd/seal.h"
#include "tests/unit/consensusd/keyring_dir.h"

enum { MESSAGES = 5, FIRST_SEQ = 100, EPOCH = 3 };

static struct keyring_dir dir;
static struct keyring *keys;
static uint8_t source_key[CRYPTO_PUBKEY_BYTES];
static const struct ulid stream = {{1, 2, 3, 4}};
static uint8_t large[100000];

static int
setup(void **state)
{
	(void)state;
	MUST(crypto_init() == 0);
	keyring_dir_init(&dir, KEY_A "\n");
	keyring_dir_put(&dir, "tenants/acme.key", KEY_B "\n" KEY_C "\n", 0600);
	keyring_dir_put(&dir, "tenants/other.key", KEY_B "\n", 0600);
	keys = keyring_open(dir.path);
	MUST(keys != NULL);
	crypto_key_public(keyring_node_key(keys), source_key);
	crypto_random(large, sizeof(large));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	keyring_free(keys);
	keyring_dir_fini(&dir);
	return 0;
}

static const struct seal_message *
messages(void)
{
	static struct seal_message m[MESSAGES];

	for (uint8_t i = 0; i < MESSAGES; i++)
		m[i] = (struct seal_message){
		    .message_id = {{i, 9, 9}}, .payload = (const uint8_t *)"hello world", .payload_len = 11};
	m[1].headers = (const uint8_t *)"HEADERS";
	m[1].headers_len = 7;
	m[2].payload_len = 0;
	m[3].payload = large;
	m[3].payload_len = sizeof(large);
	m[4].payload = NULL;
	m[4].payload_len = 0;
	return m;
}

static struct batch *
seal(void)
{
	struct batch *b = NULL;

	assert_int_equal(seal_batch(keys, &stream, "acme", FIRST_SEQ, EPOCH, messages(), MESSAGES, &b), 0);
	assert_int_equal(batch_check(b), 0);
	return b;
}

static int
open_one(const struct batch *b, const char *tenant, uint32_t index, uint8_t *plain, const uint8_t **headers,
    size_t *headers_len, const uint8_t **payload, size_t *payload_len)
{
	struct batch_iter it;
	struct batch_record rec;

	batch_iter_init(&it, b);
	for (uint32_t i = 0; i <= index; i++)
		assert_int_equal(batch_next(&it, &rec), 1);
	return seal_open(keys, tenant, b, &rec, plain, headers, headers_len, payload, payload_len);
}

static int
try_open(const struct batch *b, const char *tenant, uint32_t index)
{
	static uint8_t plain[sizeof(large) + 100];
	const uint8_t *headers, *payload;
	size_t headers_len, payload_len;

	return open_one(b, tenant, index, plain, &headers, &headers_len, &payload, &payload_len);
}

static void
test_round_trip(void **state)
{
	static uint8_t plain[sizeof(large) + 100];
	struct batch *b = seal();

	(void)state;
	assert_int_equal(seal_verify(keys, "acme", source_key, b), 0);
	assert_int_equal(b->count, MESSAGES);
	assert_int_equal(b->first_seq, FIRST_SEQ);
	assert_int_equal(b->epoch, EPOCH);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		const struct seal_message *m = &messages()[i];
		const uint8_t *headers, *payload;
		size_t headers_len, payload_len;

		assert_int_equal(
		    open_one(b, "acme", i, plain, &headers, &headers_len, &payload, &payload_len), 0);
		assert_int_equal(headers_len, m->headers_len);
		assert_int_equal(payload_len, m->payload_len);
		if (headers_len > 0)
			assert_memory_equal(headers, m->headers, headers_len);
		if (payload_len > 0)
			assert_memory_equal(payload, m->payload, payload_len);
	}
	batch_unref(b);
}

static void
test_nothing_is_readable(void **state)
{
	struct batch *b = seal();

	(void)state;
	assert_null(memmem(b->body, b->body_len, "hello", 5));
	assert_null(memmem(b->body, b->body_len, "HEADERS", 7));
	batch_unref(b);
}

/* Each field that the signature covers, changed. */
static void
test_signature_covers_everything(void **state)
{
	struct batch *b = seal();
	uint8_t *const places[] = {b->stream_id.b, (uint8_t *)&b->first_seq, (uint8_t *)&b->count,
	    (uint8_t *)&b->epoch, b->nonce, b->signature, b->body, b->body + b->body_len - 1};
	uint8_t other[CRYPTO_PUBKEY_BYTES];

	(void)state;
	for (size_t i = 0; i < COUNT(places); i++) {
		*places[i] ^= 1;
		assert_int_equal(seal_verify(keys, "acme", source_key, b), ERR_CRYPTO);
		*places[i] ^= 1;
	}
	b->key_id[0] ^= 1;
	assert_int_equal(seal_verify(keys, "acme", source_key, b), ERR_NOENT);
	b->key_id[0] ^= 1;
	memcpy(other, source_key, sizeof(other));
	other[0] ^= 1;
	assert_int_equal(seal_verify(keys, "acme", other, b), ERR_CRYPTO);
	assert_int_equal(seal_verify(keys, "acme", source_key, b), 0);
	batch_unref(b);
}

/* Each field that the associated data ties a message to, changed. */
static void
test_messages_are_tied_to_their_place(void **state)
{
	struct batch *b = seal();
	uint8_t *const places[] = {b->stream_id.b, (uint8_t *)&b->first_seq, (uint8_t *)&b->epoch, b->nonce,
	    b->nonce + 23, b->body /* message id */, b->body + BATCH_RECORD_HDR_BYTES};

	(void)state;
	for (size_t i = 0; i < COUNT(places); i++) {
		*places[i] ^= 1;
		assert_int_equal(try_open(b, "acme", 0), ERR_CRYPTO);
		*places[i] ^= 1;
	}
	/* The same key under another tenant's name. */
	assert_int_equal(try_open(b, "other", 0), ERR_CRYPTO);
	assert_int_equal(try_open(b, "nobody", 0), ERR_NOENT);
	assert_int_equal(try_open(b, "acme", 0), 0);
	batch_unref(b);
}

static void
test_short_records(void **state)
{
	struct batch *b = seal();
	uint8_t plain[64];
	const uint8_t *headers, *payload;
	size_t headers_len, payload_len;

	(void)state;
	for (uint32_t len = 0; len < 30; len++) {
		struct batch_record rec = {
		    .seq = FIRST_SEQ, .message_id = b->body, .sealed = b->body + 20, .sealed_len = len};
		int err =
		    seal_open(keys, "acme", b, &rec, plain, &headers, &headers_len, &payload, &payload_len);

		/* 11 bytes of payload, 2 of length, 16 of tag. */
		assert_int_equal(err, len < 18 ? ERR_FORMAT : len == 29 ? 0 : ERR_CRYPTO);
	}
	batch_unref(b);
}

static void
test_limits(void **state)
{
	static uint8_t body[BATCH_BODY_MAX_BYTES];
	struct seal_message m = {.payload = body, .payload_len = sizeof(body) - 38};
	struct batch *b;

	(void)state;
	assert_int_equal(seal_batch(keys, &stream, "acme", 1, 1, &m, 1, &b), 0);
	assert_int_equal(b->body_len, BATCH_BODY_MAX_BYTES);
	batch_unref(b);
	m.payload_len++;
	assert_int_equal(seal_batch(keys, &stream, "acme", 1, 1, &m, 1, &b), ERR_LIMIT);
	m.payload_len = SIZE_MAX;
	assert_int_equal(seal_batch(keys, &stream, "acme", 1, 1, &m, 1, &b), ERR_LIMIT);
	m = (struct seal_message){.headers = body, .headers_len = SEAL_HEADERS_MAX_BYTES + 1};
	assert_int_equal(seal_batch(keys, &stream, "acme", 1, 1, &m, 1, &b), ERR_LIMIT);
	assert_int_equal(seal_batch(keys, &stream, "acme", 1, 1, &m, BATCH_MESSAGES_MAX + 1, &b), ERR_LIMIT);
	assert_int_equal(seal_batch(keys, &stream, "nobody", 1, 1, messages(), 1, &b), ERR_NOENT);
}

static void
test_nonces_differ(void **state)
{
	struct batch *a = seal(), *b = seal();

	(void)state;
	assert_memory_not_equal(a->nonce, b->nonce, 20);
	assert_memory_not_equal(a->body + 20, b->body + 20, 20);
	batch_unref(a);
	batch_unref(b);
}

static void
test_failing_allocations(void **state)
{
	struct batch *b = NULL;
	int err = ERR_NOMEM;

	(void)state;
	for (unsigned long n = 1; err != 0; n++) {
		assert_true(n < 10);
		mem_fail_at(n);
		err = seal_batch(keys, &stream, "acme", 1, 1, messages(), MESSAGES, &b);
		mem_fail_at(0);
		assert_true(err == 0 || err == ERR_NOMEM);
	}
	batch_unref(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_nothing_is_readable),
	    cmocka_unit_test(test_signature_covers_everything),
	    cmocka_unit_test(test_messages_are_tied_to_their_place),
	    cmocka_unit_test(test_short_records),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_nonces_differ),
	    cmocka_unit_test(test_failing_allocations),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
