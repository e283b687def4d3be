#include "routerd/core/tlv.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum { TLV_HEAD_BYTES = 3, TLV_WISH_BYTES = 8, PORT_MAX = 65535, PORT_DIGITS = 5 };

static bool
port_valid(const char *text)
{
	static const char digits[] = "0123456789";
	uint32_t port = 0;

	if (strlen(text) > PORT_DIGITS || strspn(text, digits) != strlen(text))
		return false;
	for (; *text != '\0'; text++)
		port = port * 10 + (uint32_t)(*text - '0');
	return port >= 1 && port <= PORT_MAX;
}

bool
address_valid(const char *text)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]";
	const char *colon = strrchr(text, ':');
	size_t host = colon != NULL ? (size_t)(colon - text) : 0;

	if (host == 0 || strlen(text) >= ADDRESS_SIZE || strspn(text, allowed) != strlen(text))
		return false;
	/* Colons in the host: an IPv6 address, in brackets; brackets: nowhere else. */
	if (text[0] == '[')
		return host > 2 && strspn(text + 1, "0123456789abcdefABCDEF.:") == host - 2 &&
		       text[host - 1] == ']' && port_valid(colon + 1);
	return strcspn(text, ":[]") == host && port_valid(colon + 1);
}

bool
address_add(struct address_list *list, const char *text)
{
	if (list->count == ADDRESSES_MAX || !address_valid(text))
		return false;
	memcpy(list->text[list->count++], text, strlen(text) + 1);
	return true;
}

/* How many of them fit beside a wish, and their bytes. */
static size_t
addresses_fit(const struct address_list *list, size_t *bytes)
{
	size_t max = LSA_TLV_MAX_BYTES - 2 * TLV_HEAD_BYTES - TLV_WISH_BYTES, n;

	*bytes = 0;
	for (n = 0; n < list->count; n++) {
		size_t len = 1 + strlen(list->text[n]);

		if (*bytes + len > max)
			break;
		*bytes += len;
	}
	return n;
}

static int
put_addresses(const struct address_list *list, struct buf *out)
{
	size_t bytes, n = addresses_fit(list, &bytes);
	int err;

	if (n == 0)
		return 0;
	if ((err = buf_put_u8(out, TLV_ADDRESSES)) != 0 || (err = buf_put_u16(out, (uint16_t)bytes)) != 0)
		return err;
	for (size_t i = 0; i < n; i++)
		if ((err = buf_put_str8(out, list->text[i])) != 0)
			return err;
	return 0;
}

int
tlv_encode(const struct address_list *list, uint64_t wish_unix_ms, struct buf *out)
{
	int err = put_addresses(list, out);

	if (err != 0 || wish_unix_ms == 0)
		return err;
	if ((err = buf_put_u8(out, TLV_WISH)) != 0 || (err = buf_put_u16(out, TLV_WISH_BYTES)) != 0)
		return err;
	return buf_put_u64(out, wish_unix_ms);
}

/* The first extension of that type. */
static bool
find(const uint8_t *tlv, size_t len, uint8_t want, struct buf *value)
{
	const uint8_t *data;
	uint16_t value_len;
	struct buf in;
	uint8_t type;

	buf_view(&in, tlv, len);
	while (buf_get_u8(&in, &type) == 0 && buf_get_u16(&in, &value_len) == 0 &&
	       buf_get_ref(&in, value_len, &data) == 0) {
		if (type != want)
			continue;
		buf_view(value, data, value_len);
		return true;
	}
	return false;
}

void
tlv_addresses(const uint8_t *tlv, size_t len, struct address_list *out)
{
	char text[ADDRESS_SIZE];
	struct buf value;

	out->count = 0;
	if (!find(tlv, len, TLV_ADDRESSES, &value))
		return;
	while (buf_left(&value) != 0 && buf_get_str8(&value, text, sizeof(text)) == 0)
		(void)address_add(out, text);
}

uint64_t
tlv_wish(const uint8_t *tlv, size_t len)
{
	uint64_t wish = 0;
	struct buf value;

	if (!find(tlv, len, TLV_WISH, &value) || buf_get_u64(&value, &wish) != 0 || buf_end(&value) != 0)
		return 0;
	return wish;
}
