/*
 * batch: consecutive messages of one stream, the unit that is stored, signed, sent and acknowledged.
 *
 * The body is the wire form: per message the message id (16 bytes), the length of the sealed payload
 * (u32, big endian) and the sealed payload.  A sealed payload is the AEAD of
 * {u16 headers_len, headers, payload}, where headers is a protobuf map<string,string> as in Chunk, and behind
 * its entries the field digest of Chunk, if there is one (consensusd/digest.h).
 * Sealing is done outside (consensusd/seal.h); this module only builds, checks and walks bodies.
 */
#ifndef CONSENSUSD_CORE_BATCH_H
#define CONSENSUSD_CORE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

enum {
	BATCH_MESSAGES_MAX = 4096,
	BATCH_RECORD_HDR_BYTES = 20,
	/* One message of the largest size, or several up to batch-bytes. */
	BATCH_BODY_MAX_BYTES = 4 * 1024 * 1024 + 256 * 1024,
	BATCH_KEY_ID_BYTES = 8,
	BATCH_NONCE_BYTES = 24,
	BATCH_SIG_BYTES = 64,
	BATCH_DIGEST_BYTES = 32,
};

struct batch {
	struct ulid stream_id;
	uint64_t first_seq;
	uint32_t count;
	uint64_t epoch; /* producer epoch */
	uint8_t key_id[BATCH_KEY_ID_BYTES];
	uint8_t nonce[BATCH_NONCE_BYTES]; /* of message i: last 4 bytes + i, big endian, mod 2^32 */
	uint8_t signature[BATCH_SIG_BYTES];
	uint8_t digest[BATCH_DIGEST_BYTES]; /* crypto_digest() of the body, once somebody has computed it */
	bool digested;
	bool by_id;    /* at the source: publishers know some of its messages by their ids alone */
	uint32_t refs; /* shared by store, window and reassembly */
	size_t body_len;
	uint8_t body[];
};

/* A batch with room for body_len bytes, refs 1; NULL: no memory. */
struct batch *batch_new(size_t body_len) MUST_USE;
struct batch *batch_ref(struct batch *b);
void batch_unref(struct batch *b);
uint64_t batch_last_seq(const struct batch *b);

struct batch_record {
	uint64_t seq;
	const uint8_t *message_id; /* 16 bytes */
	const uint8_t *sealed;
	uint32_t sealed_len;
	size_t record_offset; /* of the record in the body */
};

struct batch_iter {
	const struct batch *batch;
	size_t offset;
	uint32_t index;
};
void batch_iter_init(struct batch_iter *it, const struct batch *b);
/* 1 and the next record, 0 at the end.  The batch must have passed batch_check(). */
int batch_next(struct batch_iter *it, struct batch_record *out);

/* Checks a body from outside: exactly count records that fill body_len.  ERR_SHORT, ERR_LEFTOVER,
 * ERR_LIMIT, ERR_FORMAT (count 0, first_seq 0, seq overflow). */
int batch_check(const struct batch *b) MUST_USE;

#endif
