/* seal: see seal.h. */
#include "consensusd/seal.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/os/crypto.h"
#include "consensusd/keyring.h"

enum {
	HEADERS_LEN_BYTES = 2,
	OVERHEAD_BYTES = HEADERS_LEN_BYTES + CRYPTO_TAG_BYTES,
	AD_FIXED_BYTES = ULID_BYTES + 8 + ULID_BYTES + 8,
	AD_MAX_BYTES = AD_FIXED_BYTES + TENANT_ID_MAX,
	AD_AT_SEQ = ULID_BYTES,
	AD_AT_MESSAGE_ID = AD_AT_SEQ + 8,
	AD_AT_EPOCH = AD_AT_MESSAGE_ID + ULID_BYTES,
	STATEMENT_BYTES =
	    ULID_BYTES + 8 + 4 + 8 + 8 + BATCH_KEY_ID_BYTES + BATCH_NONCE_BYTES + CRYPTO_HASH_BYTES,
};

_Static_assert((int)CRYPTO_NONCE_BYTES == BATCH_NONCE_BYTES, "one nonce");
_Static_assert((int)CRYPTO_SIG_BYTES == BATCH_SIG_BYTES, "one signature");
_Static_assert((int)CRYPTO_KEY_ID_BYTES == BATCH_KEY_ID_BYTES, "one key id");

/* Associated data: what ties a sealed message to its place.  The fields of the batch are written
 * once, those of the message per message. */
struct ad {
	uint8_t bytes[AD_MAX_BYTES];
	size_t len;
};

static int
ad_init(struct ad *ad, const struct batch *b, const char *tenant)
{
	size_t n = strlen(tenant);

	if (n > TENANT_ID_MAX)
		return ERR_RANGE;
	memcpy(ad->bytes, b->stream_id.b, ULID_BYTES);
	be_store64(ad->bytes + AD_AT_EPOCH, b->epoch);
	memcpy(ad->bytes + AD_FIXED_BYTES, tenant, n);
	ad->len = AD_FIXED_BYTES + n;
	return 0;
}

static void
ad_set_message(struct ad *ad, uint64_t seq, const uint8_t *message_id)
{
	be_store64(ad->bytes + AD_AT_SEQ, seq);
	memcpy(ad->bytes + AD_AT_MESSAGE_ID, message_id, ULID_BYTES);
}

/* Nonces of one batch are consecutive; those of different batches differ in their 20 random bytes. */
static void
nonce_of(uint8_t out[CRYPTO_NONCE_BYTES], const struct batch *b, uint32_t index)
{
	uint8_t *tail = out + CRYPTO_NONCE_BYTES - 4;

	memcpy(out, b->nonce, CRYPTO_NONCE_BYTES);
	be_store32(tail, be_load32(tail) + index);
}

_Static_assert((int)CRYPTO_HASH_BYTES == BATCH_DIGEST_BYTES, "one digest");

void
seal_digest(struct batch *b)
{
	if (b->digested)
		return;
	crypto_digest(b->digest, b->body, b->body_len);
	b->digested = true;
}

static void
statement_make(uint8_t out[STATEMENT_BYTES], struct batch *b, uint64_t source)
{
	uint8_t *p = out;

	memcpy(p, b->stream_id.b, ULID_BYTES);
	p += ULID_BYTES;
	be_store64(p, b->first_seq);
	be_store32(p + 8, b->count);
	be_store64(p + 12, b->epoch);
	be_store64(p + 20, source);
	p += 28;
	memcpy(p, b->key_id, BATCH_KEY_ID_BYTES);
	p += BATCH_KEY_ID_BYTES;
	memcpy(p, b->nonce, BATCH_NONCE_BYTES);
	p += BATCH_NONCE_BYTES;
	seal_digest(b);
	memcpy(p, b->digest, BATCH_DIGEST_BYTES);
}

static int
body_size(const struct seal_message *msgs, uint32_t count, size_t *out)
{
	size_t total = 0;

	if (count > BATCH_MESSAGES_MAX)
		return ERR_LIMIT;
	for (uint32_t i = 0; i < count; i++) {
		if (msgs[i].headers_len > SEAL_HEADERS_MAX_BYTES ||
		    msgs[i].payload_len > BATCH_BODY_MAX_BYTES)
			return ERR_LIMIT;
		total += BATCH_RECORD_HDR_BYTES + OVERHEAD_BYTES + msgs[i].headers_len + msgs[i].payload_len;
		if (total > BATCH_BODY_MAX_BYTES)
			return ERR_LIMIT;
	}
	*out = total;
	return 0;
}

/* Writes the record of message i at p, sealed in place; *used: its bytes. */
static int
seal_record(const struct batch *b, uint32_t i, const struct seal_message *m, const uint8_t *key,
    struct ad *ad, uint8_t *p, size_t *used)
{
	uint8_t nonce[CRYPTO_NONCE_BYTES];
	size_t plain_len = HEADERS_LEN_BYTES + m->headers_len + m->payload_len;
	uint8_t *plain = p + BATCH_RECORD_HDR_BYTES;

	memcpy(p, m->message_id.b, ULID_BYTES);
	be_store32(p + ULID_BYTES, (uint32_t)(plain_len + CRYPTO_TAG_BYTES));
	be_store16(plain, (uint16_t)m->headers_len);
	if (m->headers_len > 0)
		memcpy(plain + HEADERS_LEN_BYTES, m->headers, m->headers_len);
	if (m->payload_len > 0)
		memcpy(plain + HEADERS_LEN_BYTES + m->headers_len, m->payload, m->payload_len);
	nonce_of(nonce, b, i);
	ad_set_message(ad, b->first_seq + i, p);
	*used = BATCH_RECORD_HDR_BYTES + plain_len + CRYPTO_TAG_BYTES;
	return crypto_seal(plain, plain, plain_len, ad->bytes, ad->len, nonce, key);
}

static int
seal_body(struct batch *b, const char *tenant, const struct seal_message *msgs, const uint8_t *key)
{
	struct ad ad;
	size_t at = 0, used;
	int err = ad_init(&ad, b, tenant);

	for (uint32_t i = 0; i < b->count && err == 0; i++) {
		err = seal_record(b, i, &msgs[i], key, &ad, b->body + at, &used);
		at += used;
	}
	return err;
}

int
seal_batch(const struct keyring *k, const struct ulid *stream, const char *tenant, uint64_t first_seq,
    uint64_t epoch, const struct seal_message *msgs, uint32_t count, struct batch **out)
{
	uint8_t key_id[CRYPTO_KEY_ID_BYTES], statement[STATEMENT_BYTES];
	const uint8_t *key;
	struct batch *b;
	size_t body_len;
	int err;

	MUST(count > 0 && first_seq > 0);
	err = body_size(msgs, count, &body_len);
	if (err == 0)
		err = keyring_seal_key(k, tenant, &key, key_id);
	if (err != 0)
		return err;
	b = batch_new(body_len);
	if (b == NULL)
		return ERR_NOMEM;
	b->stream_id = *stream;
	b->first_seq = first_seq;
	b->count = count;
	b->epoch = epoch;
	memcpy(b->key_id, key_id, BATCH_KEY_ID_BYTES);
	crypto_random(b->nonce, BATCH_NONCE_BYTES);
	err = seal_body(b, tenant, msgs, key);
	if (err == 0) {
		statement_make(statement, b, keyring_node_id(k));
		err = crypto_sign(
		    keyring_node_key(k), CRYPTO_CONTEXT_BATCH, statement, sizeof(statement), b->signature);
	}
	if (err != 0) {
		batch_unref(b);
		return err;
	}
	*out = b;
	return 0;
}

int
seal_verify(const struct keyring *k, const char *tenant, const uint8_t source_key[32], struct batch *b)
{
	uint8_t statement[STATEMENT_BYTES];
	const uint8_t *key;
	int err = keyring_open_key(k, tenant, b->key_id, &key);

	if (err != 0)
		return err;
	b->digested = false; /* it is from outside */
	statement_make(statement, b, crypto_node_id(source_key));
	return crypto_verify(source_key, CRYPTO_CONTEXT_BATCH, statement, sizeof(statement), b->signature);
}

int
seal_open(const struct keyring *k, const char *tenant, const struct batch *b, const struct batch_record *rec,
    uint8_t *plain, const uint8_t **headers, size_t *headers_len, const uint8_t **payload,
    size_t *payload_len)
{
	uint8_t nonce[CRYPTO_NONCE_BYTES];
	const uint8_t *key;
	struct ad ad;
	size_t n;
	int err = keyring_open_key(k, tenant, b->key_id, &key);

	if (err == 0)
		err = ad_init(&ad, b, tenant);
	if (err != 0)
		return err;
	if (rec->sealed_len < OVERHEAD_BYTES)
		return ERR_FORMAT;
	nonce_of(nonce, b, (uint32_t)(rec->seq - b->first_seq));
	ad_set_message(&ad, rec->seq, rec->message_id);
	err = crypto_open(plain, rec->sealed, rec->sealed_len, ad.bytes, ad.len, nonce, key);
	if (err != 0)
		return err;
	n = rec->sealed_len - OVERHEAD_BYTES;
	*headers_len = be_load16(plain);
	if (*headers_len > n || *headers_len > SEAL_HEADERS_MAX_BYTES)
		return ERR_FORMAT;
	*headers = plain + HEADERS_LEN_BYTES;
	*payload = plain + HEADERS_LEN_BYTES + *headers_len;
	*payload_len = n - *headers_len;
	return 0;
}
