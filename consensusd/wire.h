/*
 * wire: the few pieces of protobuf's wire format (https://protobuf.dev/programming-guides/encoding/)
 * that the path of each message writes and reads by hand; everything else goes through nanopb.
 *
 * The caller has made sure that there is room: a varint takes at most WIRE_VARINT_MAX bytes, a tag of
 * fields 1 to 15 one.
 */
#ifndef CONSENSUSD_WIRE_H
#define CONSENSUSD_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { WIRE_VARINT_MAX = 10 };

static inline uint8_t *
wire_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static inline uint8_t *
wire_number(uint8_t *p, unsigned field, uint64_t v)
{
	*p++ = (uint8_t)(field << 3);
	return wire_varint(p, v);
}

/* Tag and length; the bytes follow. */
static inline uint8_t *
wire_head(uint8_t *p, unsigned field, size_t len)
{
	*p++ = (uint8_t)(field << 3 | 2);
	return wire_varint(p, len);
}

static inline uint8_t *
wire_bytes(uint8_t *p, unsigned field, const void *data, size_t len)
{
	p = wire_head(p, field, len);
	if (len > 0)
		memcpy(p, data, len);
	return p + len;
}

/* Reads a varint of a length below 2^31; 0, or -1 if it is not one. */
static inline int
wire_length(const uint8_t **p, const uint8_t *end, size_t *out)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 35; shift += 7) {
		if (*p == end)
			return -1;
		v |= (uint64_t)(**p & 0x7f) << shift;
		if ((*(*p)++ & 0x80) == 0) {
			*out = (size_t)v;
			return v <= INT32_MAX ? 0 : -1;
		}
	}
	return -1;
}

#endif
