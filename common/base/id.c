#include "common/base/id.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"

enum {
	NODEID_CHARS = NODEID_TEXT_SIZE - 1,
	ULID_CHARS = ULID_TEXT_SIZE - 1,
	ULID_TIME_BYTES = 6,
	ULID_RANDOM_BYTES = 10,
};

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* The value of a Crockford base32 character, or -1. */
static int
digit_value(char c)
{
	const char *p;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if (c == 'I' || c == 'L')
		return 1;
	if (c == 'O')
		return 0;
	p = c != '\0' ? strchr(alphabet, c) : NULL;
	return p != NULL ? (int)(p - alphabet) : -1;
}

void
nodeid_format(char out[NODEID_TEXT_SIZE], uint64_t id)
{
	for (int i = NODEID_CHARS - 1; i >= 0; i--) {
		out[i] = alphabet[id & 31];
		id >>= 5;
	}
	out[NODEID_CHARS] = '\0';
}

int
nodeid_parse(const char *text, uint64_t *out)
{
	uint64_t id = 0;

	/* 13 digits hold 65 bits: the first one has only four of its five. */
	for (int i = 0; i < NODEID_CHARS; i++) {
		int v = digit_value(text[i]);

		if (v < 0 || (i == 0 && v > 15))
			return ERR_FORMAT;
		id = id << 5 | (uint64_t)v;
	}
	if (text[NODEID_CHARS] != '\0' || id == 0)
		return ERR_FORMAT;
	*out = id;
	return 0;
}

void
ulid_make(struct ulid *out, uint64_t unix_ms, const uint8_t random[10])
{
	for (int i = ULID_TIME_BYTES - 1; i >= 0; i--) {
		out->b[i] = (uint8_t)unix_ms;
		unix_ms >>= 8;
	}
	memcpy(out->b + ULID_TIME_BYTES, random, ULID_RANDOM_BYTES);
}

/* Adds one to the random part; false if it was the last one of its millisecond. */
static bool
increment(struct ulid *u)
{
	for (int i = ULID_BYTES - 1; i >= ULID_TIME_BYTES; i--)
		if (++u->b[i] != 0)
			return true;
	return false;
}

void
ulid_next(struct ulid *out, const struct ulid *prev, uint64_t unix_ms, const uint8_t random[10])
{
	uint64_t prev_ms = ulid_unix_ms(prev);

	if (unix_ms > prev_ms) {
		ulid_make(out, unix_ms, random);
		return;
	}
	/* Same millisecond, or the wall clock was set back: stay behind prev in order. */
	*out = *prev;
	if (!increment(out))
		ulid_make(out, prev_ms + 1, random);
}

uint64_t
ulid_unix_ms(const struct ulid *u)
{
	return be_load64(u->b) >> 16;
}

void
ulid_format(char out[ULID_TEXT_SIZE], const struct ulid *u)
{
	uint64_t hi = be_load64(u->b), lo = be_load64(u->b + 8);

	for (int i = ULID_CHARS - 1; i >= 0; i--) {
		out[i] = alphabet[lo & 31];
		lo = lo >> 5 | hi << 59;
		hi >>= 5;
	}
	out[ULID_CHARS] = '\0';
}

int
ulid_parse(const char *text, struct ulid *out)
{
	uint64_t hi = 0, lo = 0;

	/* 26 digits hold 130 bits: the first one has only three of its five. */
	for (int i = 0; i < ULID_CHARS; i++) {
		int v = digit_value(text[i]);

		if (v < 0 || (i == 0 && v > 7))
			return ERR_FORMAT;
		hi = hi << 5 | lo >> 59;
		lo = lo << 5 | (uint64_t)v;
	}
	if (text[ULID_CHARS] != '\0')
		return ERR_FORMAT;
	be_store64(out->b, hi);
	be_store64(out->b + 8, lo);
	return 0;
}

int
ulid_compare(const struct ulid *a, const struct ulid *b)
{
	return memcmp(a->b, b->b, ULID_BYTES);
}

bool
ulid_is_zero(const struct ulid *u)
{
	static const struct ulid zero;

	return ulid_compare(u, &zero) == 0;
}

static bool
is_lower_or_mark(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool
tenant_valid(const char *text)
{
	size_t len = 0;

	for (; text[len] != '\0'; len++)
		if (len == TENANT_ID_MAX || !is_lower_or_mark(text[len]))
			return false;
	return len != 0;
}

bool
node_name_valid(const char *text)
{
	size_t len = 0;

	for (; text[len] != '\0'; len++) {
		bool upper = text[len] >= 'A' && text[len] <= 'Z';

		if (len == NODE_NAME_MAX || (!upper && !is_lower_or_mark(text[len])))
			return false;
	}
	return len != 0;
}

void
uuid_format(char out[UUID_TEXT_SIZE], const uint8_t id[UUID_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *p = out;

	for (int i = 0; i < UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[id[i] >> 4];
		*p++ = digits[id[i] & 15];
	}
	*p = '\0';
}
