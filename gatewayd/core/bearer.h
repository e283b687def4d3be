/*
 * bearer: bearer tokens (RFC 6750) and the file of those that are accepted.
 *
 * The file has one token a line: 64 hex digits (SHA-256 of the token), blanks, the name of who holds
 * it.  `#` starts a comment.  So the file tells nobody a token, and a look-up compares digests, all of
 * them and each in constant time.
 */
#ifndef GATEWAYD_CORE_BEARER_H
#define GATEWAYD_CORE_BEARER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum {
	BEARER_DIGEST_BYTES = 32,
	BEARER_NAME_SIZE = 64,         /* with NUL; characters as in names of nodes */
	BEARER_TOKENS_MAX = 1024,      /* lines with a token in one file */
	BEARER_TOKEN_MIN_BYTES = 16,   /* shorter ones could be guessed */
	BEARER_TOKEN_MAX_BYTES = 4096, /* of one token */
};

struct bearer_token {
	uint8_t digest[BEARER_DIGEST_BYTES];
	char name[BEARER_NAME_SIZE];
};

struct bearer_file {
	struct bearer_token *tokens; /* owned */
	size_t count;
};

/*
 * Takes the token out of the value of an authorization header ("Bearer xyz", RFC 6750 2.1; the scheme
 * in any case).  *token points into value.  ERR_UNKNOWN: another scheme; ERR_FORMAT: not a token;
 * ERR_LIMIT: too short or too long.
 */
int bearer_header(const char *value, size_t len, const char **token, size_t *token_len) MUST_USE;

/*
 * Parses a token file.  0, or ERR_FORMAT, ERR_LIMIT (too many), ERR_EXISTS (a digest twice), ERR_NOMEM;
 * *line then says where.  What f held before must have been freed.
 */
int bearer_file_parse(struct bearer_file *f, const char *text, size_t len, unsigned *line) MUST_USE;
void bearer_file_fini(struct bearer_file *f);

/* The token with this digest, or NULL.  Borrowed. */
const struct bearer_token *bearer_file_get(
    const struct bearer_file *f, const uint8_t digest[BEARER_DIGEST_BYTES]);

#endif
