#include "common/base/base64.h"

#include "common/base/buf.h"
#include "common/base/err.h"

enum { BAD = 64 };

static const char *const alphabets[] = {
    [BASE64_STD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

int
base64_encode(struct buf *out, enum base64_kind kind, const void *data, size_t len)
{
	const char *alphabet = alphabets[kind];
	const uint8_t *p = data;
	int err = 0;

	for (size_t i = 0; i < len && err == 0; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v =
		    (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0u);
		char four[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63],
		    n > 1 ? alphabet[v >> 6 & 63] : '=', n > 2 ? alphabet[v & 63] : '='};

		err = buf_put_bytes(out, four, kind == BASE64_STD ? 4 : n + 1);
	}
	return err;
}

static uint32_t
value_of(char c, enum base64_kind kind)
{
	if (c >= 'A' && c <= 'Z')
		return (uint32_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint32_t)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (uint32_t)(c - '0') + 52;
	if (c == alphabets[kind][62])
		return 62;
	return c == alphabets[kind][63] ? 63 : BAD;
}

/* The length without its padding, which must be what the length asks for; 0 for a wrong one. */
static size_t
strip_padding(const char *text, size_t len)
{
	if (len % 4 != 0 || len == 0)
		return 0;
	if (text[len - 1] != '=')
		return len;
	return text[len - 2] == '=' ? len - 2 : len - 1;
}

int
base64_decode(const char *text, size_t len, enum base64_kind kind, uint8_t *out, size_t *size)
{
	size_t digits = kind == BASE64_STD ? strip_padding(text, len) : len, written = 0;
	uint32_t bits = 0;
	unsigned have = 0;

	if (digits % 4 == 1 || (digits == 0 && len != 0))
		return ERR_FORMAT;
	for (size_t i = 0; i < digits; i++) {
		uint32_t v = value_of(text[i], kind);

		if (v == BAD)
			return ERR_FORMAT;
		bits = bits << 6 | v;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (written == *size)
			return ERR_LIMIT;
		out[written++] = (uint8_t)(bits >> have);
		bits &= (1u << have) - 1;
	}
	if (bits != 0)
		return ERR_FORMAT;
	*size = written;
	return 0;
}
