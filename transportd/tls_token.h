/*
 * tls_token: makes tokens with the node's certificate and key, and verifies those of others.
 */
#ifndef TRANSPORTD_TLS_TOKEN_H
#define TRANSPORTD_TLS_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct tls;
struct token;

/*
 * A token of this node for the node audience (13 characters), valid from now for lifetime_s.  out has
 * TOKEN_MAX_BYTES + 1 bytes and gets a string; its length is returned.  ERR_CRYPTO (the key is neither
 * P-256 nor Ed25519), ERR_FORMAT (the certificate does not name a node), ERR_LIMIT (the chain is too long),
 * ERR_NOMEM.
 */
int tls_token_make(
    struct tls *t, const char *audience, int64_t now_unix_s, int64_t lifetime_s, char *out) MUST_USE;

/*
 * Is this a token of a node, for audience, with a certificate of the authorities in use, that is not
 * revoked?  ERR_AUTH and the errors of token_parse(), then *why is set to a static text.
 */
int tls_token_check(const struct tls *t, const char *text, size_t len, const char *audience,
    int64_t now_unix_s, struct token *out, const char **why) MUST_USE;

#endif
