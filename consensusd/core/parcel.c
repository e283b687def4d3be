/* parcel: see parcel.h. */
#include "consensusd/core/parcel.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"

enum {
	VERSION_AT = PARCEL_MARK_BYTES,
	FIRST_SEQ_AT = VERSION_AT + 1,
	COUNT_AT = FIRST_SEQ_AT + 8,
	EPOCH_AT = COUNT_AT + 4,
	KEY_ID_AT = EPOCH_AT + 8,
	NONCE_AT = KEY_ID_AT + BATCH_KEY_ID_BYTES,
	SIGNATURE_AT = NONCE_AT + BATCH_NONCE_BYTES,
};

void
parcel_put(uint8_t *out, const struct batch *b)
{
	memset(out, 0, PARCEL_MARK_BYTES);
	out[VERSION_AT] = PARCEL_VERSION;
	be_store64(out + FIRST_SEQ_AT, b->first_seq);
	be_store32(out + COUNT_AT, b->count);
	be_store64(out + EPOCH_AT, b->epoch);
	memcpy(out + KEY_ID_AT, b->key_id, BATCH_KEY_ID_BYTES);
	memcpy(out + NONCE_AT, b->nonce, BATCH_NONCE_BYTES);
	memcpy(out + SIGNATURE_AT, b->signature, BATCH_SIG_BYTES);
	memcpy(out + PARCEL_HEAD_BYTES, b->body, b->body_len);
}

int
parcel_get(const uint8_t *data, size_t len, const struct ulid *stream, struct batch **out)
{
	struct batch *b;
	int err;

	if (len < PARCEL_HEAD_BYTES)
		return ERR_SHORT;
	if (data[VERSION_AT] != PARCEL_VERSION)
		return ERR_FORMAT;
	if (len - PARCEL_HEAD_BYTES > BATCH_BODY_MAX_BYTES)
		return ERR_LIMIT;
	b = batch_new(len - PARCEL_HEAD_BYTES);
	if (b == NULL)
		return ERR_NOMEM;
	b->stream_id = *stream;
	b->first_seq = be_load64(data + FIRST_SEQ_AT);
	b->count = be_load32(data + COUNT_AT);
	b->epoch = be_load64(data + EPOCH_AT);
	memcpy(b->key_id, data + KEY_ID_AT, BATCH_KEY_ID_BYTES);
	memcpy(b->nonce, data + NONCE_AT, BATCH_NONCE_BYTES);
	memcpy(b->signature, data + SIGNATURE_AT, BATCH_SIG_BYTES);
	memcpy(b->body, data + PARCEL_HEAD_BYTES, b->body_len);
	err = batch_check(b);
	if (err != 0) {
		batch_unref(b);
		return err;
	}
	*out = b;
	return 0;
}
