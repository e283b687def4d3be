/*
 * seal: makes and opens batches with the keyring: AEAD per message, one signature per batch.
 *
 * Associated data of a message: stream_id, seq, message_id, epoch, tenant_id.  The signature covers
 * context, stream_id, first_seq, count, epoch, source node id, key_id, nonce and the digest of the body.
 */
#ifndef CONSENSUSD_SEAL_H
#define CONSENSUSD_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "consensusd/core/batch.h"

struct keyring;

/* One message to seal; all borrowed. */
struct seal_message {
	struct ulid message_id;
	const uint8_t *headers; /* encoded map entries as in Chunk (field 8), concatenated */
	size_t headers_len;     /* at most SEAL_HEADERS_MAX_BYTES */
	const uint8_t *payload;
	size_t payload_len;
};
enum { SEAL_HEADERS_MAX_BYTES = 16384 };

/* Makes a sealed, signed batch of count consecutive messages.  ERR_NOENT: no key for the tenant. */
int seal_batch(const struct keyring *k, const struct ulid *stream, const char *tenant, uint64_t first_seq,
    uint64_t epoch, const struct seal_message *msgs, uint32_t count, struct batch **out) MUST_USE;

/* Checks the signature (source_key belongs to the source's node id) and that the key is known.
 * ERR_CRYPTO, ERR_NOENT. */
int seal_verify(
    const struct keyring *k, const char *tenant, const uint8_t source_key[32], struct batch *b) MUST_USE;

/* Sees to b->digest: the body does not change any more. */
void seal_digest(struct batch *b);

/* Opens one message of a verified batch into plain (rec->sealed_len bytes of room); then *headers and
 * *payload point into plain.  ERR_CRYPTO, ERR_NOENT, ERR_FORMAT. */
int seal_open(const struct keyring *k, const char *tenant, const struct batch *b,
    const struct batch_record *rec, uint8_t *plain, const uint8_t **headers, size_t *headers_len,
    const uint8_t **payload, size_t *payload_len) MUST_USE;

#endif
