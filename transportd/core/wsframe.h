/*
 * wsframe: WebSocket frames (RFC 6455 section 5), as far as mesh.v1 uses them: no extensions, messages
 * of at most 16 KiB.
 */
#ifndef TRANSPORTD_CORE_WSFRAME_H
#define TRANSPORTD_CORE_WSFRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum {
	WSFRAME_HEADER_MAX = 14,   /* on input */
	WSFRAME_HEADROOM = 8,      /* what wsframe_put_header() may write before a payload below 64 KiB */
	WSFRAME_CONTROL_MAX = 125, /* payload of ping, pong, close */
};

enum wsframe_opcode {
	WSFRAME_CONTINUATION = 0,
	WSFRAME_TEXT = 1,
	WSFRAME_BINARY = 2,
	WSFRAME_CLOSE = 8,
	WSFRAME_PING = 9,
	WSFRAME_PONG = 10,
};

struct wsframe {
	uint8_t opcode;
	bool fin;
	bool masked;
	uint8_t mask[4];
	size_t header_len, payload_len;
};

/*
 * Reads a header of the n bytes at p; the payload follows it.  masked: what the other side must do (a
 * client masks, a server does not).  Total: 0, ERR_SHORT (more bytes are needed), ERR_FORMAT
 * (reserved bits, opcode, masking, length not minimal, control frame in pieces), ERR_LIMIT (payload).
 */
int wsframe_decode(const uint8_t *p, size_t n, bool masked, size_t payload_max, struct wsframe *out) MUST_USE;

/* XORs n bytes with the mask, beginning with its first byte; twice gives back the original. */
void wsframe_mask(uint8_t *p, size_t n, const uint8_t mask[4]);

/*
 * Puts the header of a whole message right before its payload of len bytes (at most 65535), where
 * WSFRAME_HEADROOM bytes are free, and masks the payload if mask is not NULL.  The header's length.
 */
size_t wsframe_put_header(uint8_t *payload, size_t len, enum wsframe_opcode opcode, const uint8_t *mask);

#endif
