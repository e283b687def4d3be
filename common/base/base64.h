/*
 * base64: RFC 4648, strict: what decodes has exactly one spelling.
 *
 * BASE64_URL is the alphabet with '-' and '_', without padding (section 5, as JWS has it); BASE64_STD
 * the one with '+' and '/', padded (section 4).  No white space; bits that encode nothing must be 0.
 */
#ifndef COMMON_BASE_BASE64_H
#define COMMON_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum base64_kind { BASE64_STD, BASE64_URL };

/* Appends the text of len bytes, without NUL; the buffer's errors. */
int base64_encode(struct buf *out, enum base64_kind kind, const void *data, size_t len) MUST_USE;

/* Decodes len characters into out; *size is its room before and the bytes written after.
 * ERR_FORMAT, ERR_LIMIT (no room). */
int base64_decode(const char *text, size_t len, enum base64_kind kind, uint8_t *out, size_t *size) MUST_USE;

#endif
