/*
 * id: node ids and ULIDs, binary and as text.
 *
 * A node id is the first 8 bytes of BLAKE2b-256(Ed25519 public key), big endian, held in a
 * uint64_t and shown as 13 Crockford base32 characters.  0 is never a valid node id.
 * A ULID is 48 bits of Unix milliseconds and 80 random bits, shown as 26 characters
 * (https://github.com/ulid/spec).  Parsing takes lower case too, and I, L as 1, O as 0.
 */
#ifndef COMMON_BASE_ID_H
#define COMMON_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"

enum {
	NODEID_TEXT_SIZE = 14, /* 13 characters and NUL */
	ULID_BYTES = 16,
	ULID_TEXT_SIZE = 27, /* 26 characters and NUL */
	UUID_BYTES = 16,
	UUID_TEXT_SIZE = 37, /* 36 characters and NUL */
	TENANT_ID_MAX = 64,  /* characters of [a-z0-9._-] */
	TENANT_TEXT_SIZE = 65,
	NODE_NAME_MAX = 63, /* characters of a node's name: [A-Za-z0-9._-] */
	NODE_NAME_SIZE = 64,
};

struct ulid {
	uint8_t b[ULID_BYTES];
};

void nodeid_format(char out[NODEID_TEXT_SIZE], uint64_t id);
/* 0, or ERR_FORMAT (length, alphabet, overflow, the id 0); out is untouched on error. */
int nodeid_parse(const char *text, uint64_t *out) MUST_USE;

/* Makes a ULID from Unix milliseconds and 10 random bytes that the caller drew. */
void ulid_make(struct ulid *out, uint64_t unix_ms, const uint8_t random[10]);
/*
 * The next ULID of one generator: monotonic within one millisecond (the random part of prev is
 * incremented, as the specification has it).  prev may be all zero.
 */
void ulid_next(struct ulid *out, const struct ulid *prev, uint64_t unix_ms, const uint8_t random[10]);
uint64_t ulid_unix_ms(const struct ulid *u);
void ulid_format(char out[ULID_TEXT_SIZE], const struct ulid *u);
int ulid_parse(const char *text, struct ulid *out) MUST_USE;
int ulid_compare(const struct ulid *a, const struct ulid *b);
bool ulid_is_zero(const struct ulid *u);

/* As PostgreSQL and RFC 4122 write them: small hexadecimal digits in groups of 8, 4, 4, 4 and 12. */
void uuid_format(char out[UUID_TEXT_SIZE], const uint8_t id[UUID_BYTES]);

/* True for 1-64 characters of [a-z0-9._-]. */
bool tenant_valid(const char *text);
/* True for 1-63 characters of [A-Za-z0-9._-]. */
bool node_name_valid(const char *text);

#endif
