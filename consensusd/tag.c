/* tag: see tag.h. */
#include "consensusd/tag.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/os/crypto.h"
#include "consensusd/keyring.h"
#include "proto/pb.h"

bool
tag_needed(uint32_t msg_type)
{
	switch (msg_type) {
	case mesh_e2e_MsgType_MSG_ACK:
	case mesh_e2e_MsgType_MSG_OPENED:
	case mesh_e2e_MsgType_MSG_CLOSE:
	case mesh_e2e_MsgType_MSG_CLOSED:
	case mesh_e2e_MsgType_MSG_SKIP:
		return true;
	default:
		return false;
	}
}

bool
tag_expected(const mesh_e2e_Header *h)
{
	return tag_needed(h->msg_type) || (h->msg_type == mesh_e2e_MsgType_MSG_OPEN && h->nonce.size != 0);
}

/* The tag covers the header as it is encoded, without the tag and the checksum, and then the payload. */
static int
compute(const uint8_t *key, const char *context, const mesh_e2e_Header *h, const void *payload, size_t len,
    uint8_t out[CRYPTO_HASH_BYTES])
{
	uint8_t mem[FRAME_E2E_MAX_BYTES];
	mesh_e2e_Header plain = *h;
	struct buf header;
	int err;

	memset(&plain.signature, 0, sizeof(plain.signature));
	plain.crc32c = 0;
	buf_init_fixed(&header, mem, sizeof(mem));
	err = pb_pack(&header, mesh_e2e_Header_fields, &plain);
	if (err != 0)
		return err;
	crypto_mac(out, key, context, buf_head(&header), buf_left(&header), payload, len);
	return 0;
}

int
tag_make(const struct keyring *k, mesh_e2e_Header *h, const void *payload, size_t len)
{
	const uint8_t *key;
	int err = keyring_seal_key(k, h->tenant_id, &key, h->key_id.bytes);

	if (err != 0)
		return err;
	h->key_id.size = CRYPTO_KEY_ID_BYTES;
	err = compute(key, CRYPTO_CONTEXT_TAG, h, payload, len, h->signature.bytes);
	if (err == 0)
		h->signature.size = CRYPTO_HASH_BYTES;
	return err;
}

int
tag_check(
    const struct keyring *k, const mesh_e2e_Header *h, const void *payload, size_t len, uint64_t now_unix_ms)
{
	uint8_t expected[CRYPTO_HASH_BYTES];
	const uint8_t *key;
	int err;

	if (h->key_id.size != CRYPTO_KEY_ID_BYTES || h->signature.size != CRYPTO_HASH_BYTES)
		return ERR_CRYPTO;
	err = keyring_tag_key(k, h->tenant_id, h->key_id.bytes, now_unix_ms, &key);
	if (err == 0)
		err = compute(key, CRYPTO_CONTEXT_TAG, h, payload, len, expected);
	if (err != 0)
		return err;
	return crypto_equal(expected, h->signature.bytes, sizeof(expected)) ? 0 : ERR_CRYPTO;
}

int
tag_make_refusal(const uint8_t pair_key[32], mesh_e2e_Header *h, const void *payload, size_t len)
{
	int err = compute(pair_key, CRYPTO_CONTEXT_REFUSED, h, payload, len, h->signature.bytes);

	if (err == 0)
		h->signature.size = CRYPTO_HASH_BYTES;
	return err;
}

int
tag_check_refusal(const uint8_t pair_key[32], const mesh_e2e_Header *h, const void *payload, size_t len)
{
	uint8_t expected[CRYPTO_HASH_BYTES];
	int err;

	if (h->signature.size != CRYPTO_HASH_BYTES)
		return ERR_CRYPTO;
	err = compute(pair_key, CRYPTO_CONTEXT_REFUSED, h, payload, len, expected);
	if (err != 0)
		return err;
	return crypto_equal(expected, h->signature.bytes, sizeof(expected)) ? 0 : ERR_CRYPTO;
}
