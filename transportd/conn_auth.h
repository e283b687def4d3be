/*
 * conn_auth: a connection's proofs of identity, from the handshake to its end.
 *
 * The handshake proves the node key; a certificate or a token says whose key it is, and ends some day.  Fresh
 * tokens are shown on the open connection before that (core/reauth.h); without them it is closed.
 */
#ifndef TRANSPORTD_CONN_AUTH_H
#define TRANSPORTD_CONN_AUTH_H

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct frame;
struct hello;
struct transport;

/* Does the certificate, or the token, name the node of the hello? */
bool conn_auth_names(const struct conn *c, const struct hello *h);
/* Has its certificate been revoked since TLS was done? */
bool conn_auth_revoked(const struct conn *c);
/* The connection is a lane now: from here on its proofs are kept fresh. */
void conn_auth_begin(struct conn *c);
void conn_auth_end(struct conn *c);
/* A TOKEN frame of the peer. */
void conn_auth_token(struct conn *c, const struct frame *f);
/* Certificate, authorities or revocation lists were read again: shows the peers the new certificate, and
 * ends connections whose certificate is revoked. */
void conn_auth_reload(struct transport *t);
/* "certificate" or "token", and until when the peer's proof holds, in Unix milliseconds. */
const char *conn_auth_kind(const struct conn *c);
uint64_t conn_auth_until_ms(const struct conn *c);

#endif
