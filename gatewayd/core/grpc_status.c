/* grpc_status: see grpc_status.h. */
#include "gatewayd/core/grpc_status.h"

#include <string.h>

static const char *const names[GRPC_STATUS_COUNT] = {
#define X(name, value) [value] = #name,
    GRPC_STATUS_LIST(X)
#undef X
};

const char *
grpc_status_name(uint32_t code)
{
	return code < GRPC_STATUS_COUNT ? names[code] : names[GRPC_UNKNOWN];
}

enum grpc_status
grpc_status_valid(uint32_t code)
{
	return code < GRPC_STATUS_COUNT ? (enum grpc_status)code : GRPC_UNKNOWN;
}

/* The length of text to send: all, or up to the last whole character below the limit. */
static size_t
cut_length(const char *text)
{
	size_t n = strnlen(text, GRPC_MESSAGE_MAX_BYTES + 1);

	if (n <= GRPC_MESSAGE_MAX_BYTES)
		return n;
	n = GRPC_MESSAGE_MAX_BYTES;
	while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80)
		n--;
	return n;
}

size_t
grpc_status_encode(char out[GRPC_MESSAGE_ENCODED_SIZE], const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t len = cut_length(text), n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c <= 0x7E && c != '%') {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	out[n] = '\0';
	return n;
}
