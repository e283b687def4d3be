/*
 * tls: TLS on accepted sockets, on OpenSSL (no other file of gatewayd includes it).
 *
 * TLS 1.2 and 1.3, ALPN "h2" or nothing.  Client certificates are asked for if there is a client CA; one
 * that does not verify ends the handshake, none at all does not: such a client may have a token.
 */
#ifndef GATEWAYD_TLS_H
#define GATEWAYD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct tls_server; /* keys and certificates; what connections use stays until they end */
struct tls;        /* one connection */

struct tls_files {
	const char *cert, *key; /* PEM; cert with its chain */
	const char *client_ca;  /* PEM, or NULL: no client certificates */
};

enum { TLS_ERROR_SIZE = 256, TLS_NAME_SIZE = 256, TLS_DIGEST_BYTES = 32 };

/* Reads the files.  NULL, and error says which file and why. */
struct tls_server *tls_server_new(const struct tls_files *files, char error[TLS_ERROR_SIZE]) MUST_USE;
void tls_server_free(struct tls_server *s);

/* A connection over fd (borrowed).  NULL: no memory. */
struct tls *tls_new(struct tls_server *s, int fd) MUST_USE;
/* Says goodbye without waiting, then frees. */
void tls_free(struct tls *t);

/* 0: done, "h2" was agreed.  ERR_AGAIN: see tls_wants_write.  ERR_AUTH: the handshake failed, error says
 * why; ERR_UNKNOWN: the client does not offer h2; ERR_CLOSED. */
int tls_handshake(struct tls *t, char error[TLS_ERROR_SIZE]) MUST_USE;
/* Bytes read or written (more than 0), ERR_AGAIN, ERR_CLOSED, or ERR_IO. */
int64_t tls_read(struct tls *t, void *out, size_t size) MUST_USE;
/* After ERR_AGAIN the same bytes (perhaps moved, perhaps more after them) must be written next. */
int64_t tls_write(struct tls *t, const void *data, size_t len) MUST_USE;
/* What the last ERR_AGAIN waits for: room to write, or (false) something to read. */
bool tls_wants_write(const struct tls *t);

/* The client's name: the first URI or DNS name of its certificate, else its common name.  ERR_NOENT: it
 * showed no certificate. */
int tls_peer_name(const struct tls *t, char out[TLS_NAME_SIZE]) MUST_USE;

void tls_sha256(uint8_t out[TLS_DIGEST_BYTES], const void *data, size_t len);

#endif
