/*
 * auth: who a client is, and whether its call may go on.
 *
 * A connection has a principal from its client certificate or from the Unix socket; a call may bring a
 * bearer token instead.  Each refusal has a text for the call's status.
 */
#ifndef GATEWAYD_AUTH_H
#define GATEWAYD_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "gatewayd/core/bearer.h"
#include "gatewayd/method.h"

enum principal_kind {
	PRINCIPAL_NONE,  /* nobody: only open methods, or a token */
	PRINCIPAL_CERT,  /* name: of the certificate */
	PRINCIPAL_LOCAL, /* name: "uid N", over the Unix socket or the control socket */
};

enum { PRINCIPAL_NAME_SIZE = 256 };

struct principal {
	enum principal_kind kind;
	char name[PRINCIPAL_NAME_SIZE];
};

/* Who the client of a call is, for consensusd: "cert:NAME", "token:NAME", "local:UID"; "": nobody known. */
enum { AUTH_CLIENT_SIZE = PRINCIPAL_NAME_SIZE + 8 };

struct auth;

/* No tokens yet. */
struct auth *auth_new(void) MUST_USE;
void auth_free(struct auth *a);
/* Reads the token file anew; on an error, which is logged, the old tokens stay.  ERR_IO, ERR_FORMAT. */
int auth_load_tokens(struct auth *a, const char *path) MUST_USE;

/* Looks at the value of an authorization header: NULL if its token is good, with who holds it in name; else
 * what to tell. */
const char *auth_token(const struct auth *a, const char *value, size_t len, char name[BEARER_NAME_SIZE]);
/* token: the name of the call's token, "" for none: it says more than the connection. */
void auth_client(const struct principal *who, const char *token, char out[AUTH_CLIENT_SIZE]);
/* NULL if the call may go on, else what to tell.  token_error: what auth_token said, or NULL if it was
 * good; has_token: there was such a header. */
const char *auth_check(
    const struct principal *who, const struct method *m, bool has_token, const char *token_error);

#endif
