/*
 * tls_dial: how a session begins that this node dials: names, what is demanded of the server, and the
 * tunnel through an HTTP proxy that comes before it.
 *
 * libwebsockets takes the Host header for the name in TLS and checks what it pleases; of a proxy's answer it
 * looks at what one read gives.  So a session is put right when its handshake starts, and the
 * CONNECT is done by a BIO below it: the ClientHello is held back until the proxy has answered.
 */
#ifndef TRANSPORTD_TLS_DIAL_H
#define TRANSPORTD_TLS_DIAL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/must.h"
#include "transportd/core/tunnel.h"

struct tls_dial;

struct tls_dial_conf {
	const char *sni;     /* sent to the server, "" none */
	const char *check;   /* the certificate must be for this name or address; "" not checked */
	void *authorities;   /* of tls_authorities_read(); NULL: those of tls-ca */
	bool anonymous;      /* our certificate is not shown */
	const char *connect; /* what to say to the proxy, "" there is none */
};

/* Copies what it needs.  NULL: no memory, or a text is too long. */
struct tls_dial *tls_dial_new(const struct tls_dial_conf *conf) MUST_USE;
/* The handshake of this session (SSL, made by libwebsockets) starts.  If it can't be put right, it fails. */
void tls_dial_begin(struct tls_dial *d, void *ssl);
/* The session is up: nothing of the tunnel is left in it. */
void tls_dial_end(struct tls_dial *d, void *ssl);
/* The proxy's answer so far; NULL if no tunnel was begun.  closed: it ended the connection. */
const struct tunnel *tls_dial_tunnel(const struct tls_dial *d, bool *closed);
/* Not before its session is gone, or tls_dial_end(). */
void tls_dial_free(struct tls_dial *d);

/* Certificate authorities from a PEM file; NULL (logged) if that fails. */
void *tls_authorities_read(const char *path) MUST_USE;
void tls_authorities_free(void *authorities);

#endif
