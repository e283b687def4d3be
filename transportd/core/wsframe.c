#include "transportd/core/wsframe.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"

/* First byte: FIN, three reserved bits, opcode.  Second: MASK, seven bits of length. */
enum { BIT_FIN = 0x80, BITS_RSV = 0x70, BITS_OPCODE = 0x0f, BIT_MASK = 0x80, BITS_LEN = 0x7f };
enum { LEN_16 = 126, LEN_64 = 127 };

static bool
opcode_known(uint8_t opcode)
{
	return opcode <= WSFRAME_BINARY || (opcode >= WSFRAME_CLOSE && opcode <= WSFRAME_PONG);
}

/* The length of the payload, which must be written in the shortest way (section 5.2). */
static int
decode_len(const uint8_t *p, size_t n, uint8_t len7, uint64_t *len, size_t *used)
{
	*len = len7;
	*used = 2;
	if (len7 == LEN_16) {
		if (n < 4)
			return ERR_SHORT;
		*len = be_load16(p + 2);
		*used = 4;
		return *len < LEN_16 ? ERR_FORMAT : 0;
	}
	if (len7 == LEN_64) {
		if (n < 10)
			return ERR_SHORT;
		*len = be_load64(p + 2);
		*used = 10;
		return *len <= UINT16_MAX ? ERR_FORMAT : 0;
	}
	return 0;
}

int
wsframe_decode(const uint8_t *p, size_t n, bool masked, size_t payload_max, struct wsframe *out)
{
	bool control;
	uint64_t len;
	int err;

	if (n < 2)
		return ERR_SHORT;
	out->opcode = p[0] & BITS_OPCODE;
	out->fin = (p[0] & BIT_FIN) != 0;
	out->masked = (p[1] & BIT_MASK) != 0;
	control = out->opcode >= WSFRAME_CLOSE;
	if ((p[0] & BITS_RSV) != 0 || !opcode_known(out->opcode) || out->masked != masked ||
	    (control && (!out->fin || (p[1] & BITS_LEN) > WSFRAME_CONTROL_MAX)))
		return ERR_FORMAT;
	if ((err = decode_len(p, n, p[1] & BITS_LEN, &len, &out->header_len)) != 0)
		return err;
	if (len > payload_max)
		return ERR_LIMIT;
	out->payload_len = (size_t)len;
	if (!masked)
		return 0;
	if (n < out->header_len + sizeof(out->mask))
		return ERR_SHORT;
	memcpy(out->mask, p + out->header_len, sizeof(out->mask));
	out->header_len += sizeof(out->mask);
	return 0;
}

/* XORed at once: compilers make vector registers of it, which a loop of words does not get from -O2. */
typedef uint32_t mask_words __attribute__((vector_size(64)));

void
wsframe_mask(uint8_t *p, size_t n, const uint8_t mask[4])
{
	mask_words masks, words;
	uint32_t m4, word;

	memcpy(&m4, mask, sizeof(m4));
	masks = (mask_words){0} + m4;
	for (; n >= sizeof(words); p += sizeof(words), n -= sizeof(words)) {
		memcpy(&words, p, sizeof(words));
		words ^= masks;
		memcpy(p, &words, sizeof(words));
	}
	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		word ^= m4;
		memcpy(p, &word, sizeof(word));
	}
	for (size_t i = 0; i < n; i++)
		p[i] ^= mask[i & 3];
}

size_t
wsframe_put_header(uint8_t *payload, size_t len, enum wsframe_opcode opcode, const uint8_t *mask)
{
	size_t size = 2 + (len >= LEN_16 ? 2u : 0u) + (mask != NULL ? 4u : 0u);
	uint8_t *h = payload - size;

	MUST(len <= UINT16_MAX);
	h[0] = (uint8_t)(BIT_FIN | opcode);
	h[1] = (uint8_t)((mask != NULL ? BIT_MASK : 0) | (len >= LEN_16 ? LEN_16 : len));
	if (len >= LEN_16)
		be_store16(h + 2, (uint16_t)len);
	if (mask != NULL) {
		memcpy(payload - 4, mask, 4);
		wsframe_mask(payload, len, mask);
	}
	return size;
}
