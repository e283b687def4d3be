#include "routerd/core/tlv.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum { TLV_HEAD_BYTES = 3, TLV_WISH_BYTES = 8, TLV_LIFETIME_BYTES = 4, PORT_MAX = 65535, PORT_DIGITS = 5 };

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

bool
label_valid(const char *text)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(text);

	return len != 0 && len < LABEL_SIZE && strspn(text, allowed) == len;
}

bool
label_has(const struct label_list *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->text[i], text) == 0)
			return true;
	return false;
}

bool
label_add(struct label_list *list, const char *text)
{
	if (list->count == LABELS_MAX || !label_valid(text) || label_has(list, text))
		return false;
	memcpy(list->text[list->count++], text, strlen(text) + 1);
	return true;
}

/* --- encoding --- */

static size_t
labels_bytes(const struct label_list *list)
{
	size_t bytes = 0;

	for (size_t i = 0; i < list->count; i++)
		bytes += 1 + strlen(list->text[i]);
	return bytes;
}

/* How many of the addresses fit beside all else, and their bytes. */
static size_t
addresses_fit(const struct node_about *a, size_t *bytes)
{
	size_t max = LSA_TLV_MAX_BYTES - 5 * TLV_HEAD_BYTES - TLV_WISH_BYTES - TLV_LIFETIME_BYTES -
		     labels_bytes(&a->services) - labels_bytes(&a->capabilities);
	size_t n;

	*bytes = 0;
	for (n = 0; n < a->addresses.count; n++) {
		size_t len = 1 + strlen(a->addresses.text[n]);

		if (*bytes + len > max)
			break;
		*bytes += len;
	}
	return n;
}

/* A list of count texts of size bytes each, which take so many bytes; none: nothing. */
static int
put_list(enum tlv_type type, const char *text, size_t size, size_t count, size_t bytes, struct buf *out)
{
	int err;

	if (count == 0)
		return 0;
	if ((err = buf_put_u8(out, (uint8_t)type)) != 0 || (err = buf_put_u16(out, (uint16_t)bytes)) != 0)
		return err;
	for (size_t i = 0; i < count; i++)
		if ((err = buf_put_str8(out, text + i * size)) != 0)
			return err;
	return 0;
}

static int
put_labels(enum tlv_type type, const struct label_list *list, struct buf *out)
{
	return put_list(type, list->text[0], LABEL_SIZE, list->count, labels_bytes(list), out);
}

static int
put_wish(uint64_t unix_ms, struct buf *out)
{
	int err;

	if (unix_ms == 0)
		return 0;
	if ((err = buf_put_u8(out, TLV_WISH)) != 0 || (err = buf_put_u16(out, TLV_WISH_BYTES)) != 0)
		return err;
	return buf_put_u64(out, unix_ms);
}

static int
put_lifetime(uint32_t seconds, struct buf *out)
{
	int err;

	if (seconds == 0)
		return 0;
	if ((err = buf_put_u8(out, TLV_LIFETIME)) != 0 || (err = buf_put_u16(out, TLV_LIFETIME_BYTES)) != 0)
		return err;
	return buf_put_u32(out, seconds);
}

int
tlv_encode(const struct node_about *a, struct buf *out)
{
	size_t bytes, n = addresses_fit(a, &bytes);
	int err = put_list(TLV_ADDRESSES, a->addresses.text[0], ADDRESS_SIZE, n, bytes, out);

	if (err == 0)
		err = put_wish(a->wish_unix_ms, out);
	if (err == 0)
		err = put_labels(TLV_SERVICES, &a->services, out);
	if (err == 0)
		err = put_labels(TLV_CAPABILITIES, &a->capabilities, out);
	if (err == 0)
		err = put_lifetime(a->lifetime_s, out);
	return err;
}

/* --- decoding --- */

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

void
tlv_labels(const uint8_t *tlv, size_t len, enum tlv_type type, struct label_list *out)
{
	char text[LABEL_SIZE];
	struct buf value;

	out->count = 0;
	if (!find(tlv, len, (uint8_t)type, &value))
		return;
	while (buf_left(&value) != 0 && buf_get_str8(&value, text, sizeof(text)) == 0)
		(void)label_add(out, text);
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

uint32_t
tlv_lifetime_s(const uint8_t *tlv, size_t len)
{
	uint32_t seconds = 0;
	struct buf value;

	if (!find(tlv, len, TLV_LIFETIME, &value) || buf_get_u32(&value, &seconds) != 0 ||
	    buf_end(&value) != 0 || seconds < LSA_LIFETIME_MIN_S || seconds > LSA_LIFETIME_MAX_S)
		return 0;
	return seconds;
}
