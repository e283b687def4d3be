/*
 * token: what a node shows where TLS ends at a proxy: a JWT signed with the key of its certificate.
 *
 * JWS compact (RFC 7515): base64url of the header, '.', of the claims, '.', of the signature.  The header
 * holds the certificate chain (x5c), so the verifier needs nothing but its authorities; the claims say
 * for which node the token is (aud) and for how long.  This file reads and writes the text; whether the
 * chain and the signature are right is for tls_token.h.  No clock: times are Unix seconds.
 */
#ifndef TRANSPORTD_TOKEN_H
#define TRANSPORTD_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

struct buf;

enum {
	TOKEN_MAX_BYTES = 8192,      /* of the text: nginx takes no longer header line by default */
	TOKEN_CHAIN_MAX = 8,         /* certificates */
	TOKEN_SIG_BYTES = 64,        /* of both algorithms */
	TOKEN_URI_SIZE = 128,        /* "spiffe://" ULID "/node/" node id: 54 characters */
	TOKEN_JTI_BYTES = 16,        /* random, of tokens made here */
	TOKEN_JTI_MAX = 64,          /* characters, of tokens of others */
	TOKEN_LEEWAY_S = 60,         /* clocks of two nodes may differ by this */
	TOKEN_LIFETIME_MAX_S = 3600, /* a stolen one must be worthless soon */
};

/* RFC 7518 section 3.4 and RFC 8037; nothing else is known here, "none" and HMAC least of all. */
enum token_alg { TOKEN_ES256, TOKEN_EDDSA };

/* What a verified token proves. */
struct token {
	struct ulid mesh_id;
	uint64_t node_id;
	int64_t expires;    /* of the token itself, without leeway */
	int64_t cert_until; /* the end of the certificate behind it */
};

struct token_cert {
	const uint8_t *der;
	size_t len;
};

/* A token taken apart: nothing in it is verified yet. */
struct token_parts {
	enum token_alg alg;
	char subject[TOKEN_URI_SIZE]; /* iss and sub, which are the same */
	char audience[NODEID_TEXT_SIZE];
	int64_t iat, nbf, exp;
	struct token_cert chain[TOKEN_CHAIN_MAX]; /* leaf first; points into der */
	size_t chain_count;
	size_t signed_len; /* the first bytes of the text, which the signature covers */
	uint8_t signature[TOKEN_SIG_BYTES];
	uint8_t der[TOKEN_MAX_BYTES];
};

/* Call once: a random number that keeps others from choosing what collides in hash tables. */
void token_init(size_t seed);

/*
 * Takes len bytes apart.  *why is set to a static text on errors: ERR_LIMIT, ERR_FORMAT, ERR_UNKNOWN (an
 * algorithm or a critical extension), ERR_NOMEM.
 */
int token_parse(const char *text, size_t len, struct token_parts *out, const char **why) MUST_USE;

/* Are the claims right for audience (a node id as text) at now?  Fills all of out but cert_until.
 * ERR_AUTH with *why. */
int token_claims(const struct token_parts *p, const char *audience, int64_t now_unix_s, struct token *out,
    const char **why) MUST_USE;

/* Appends header, '.', claims: what has to be signed.  Of p only alg, subject, audience, the times and the
 * chain are read.  ERR_LIMIT: longer than the room; ERR_NOMEM. */
int token_compose(struct buf *out, const struct token_parts *p, const uint8_t jti[TOKEN_JTI_BYTES]) MUST_USE;

/* Appends '.' and the signature. */
int token_seal(struct buf *out, const uint8_t signature[TOKEN_SIG_BYTES]) MUST_USE;

/* The ids in spiffe://MESH/node/NODE, spelt exactly so; ERR_FORMAT. */
int token_identity(const char *uri, struct ulid *mesh_id, uint64_t *node_id) MUST_USE;

/* Until when a connection may live on this token, in Unix seconds: its own end, with the leeway that its
 * acceptance had, or the certificate's if that comes first. */
int64_t token_until(const struct token *t);

#endif
