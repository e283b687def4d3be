/*
 * tls: the node's certificate and key, what is demanded of peers, and what a session proves.
 *
 * Mutual TLS 1.3 without resumption: each connection shows its certificate, so that new authorities
 * count at once.  Only the files tls*.c include OpenSSL; sessions and contexts pass through others as
 * void pointers.  The private key is used by OpenSSL alone, inside the contexts that tls_apply() fills.
 */
#ifndef TRANSPORTD_TLS_H
#define TRANSPORTD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct tls;

enum {
	TLS_EXPORTER_BYTES = 32,
	TLS_URI_SIZE = 128, /* "spiffe://" ULID "/node/" node id: 54 characters */
	TLS_CIPHER_SIZE = 64,
};

#define TLS_EXPORTER_LABEL "EXPORTER-mesh.v1"

/* An alert that ended a session: the text is the alert's ("certificate expired"); sent: by us.  NULL: none,
 * the handshake is done. */
typedef void tls_alert_fn(void *arg, int fd, bool sent, const char *text);

/* The handshake of a session that this node dials starts. */
typedef void tls_dial_fn(void *arg, int fd);

struct tls *tls_new(tls_alert_fn *on_alert, void *arg) MUST_USE;
/* Calls fn, with the same arg, for each session that is dialled: see tls_dial.h. */
void tls_on_dial(struct tls *t, tls_dial_fn *fn);
void tls_free(struct tls *t);

/* PEM files; crl (revocation lists) may be NULL. */
struct tls_files {
	const char *cert, *key, *ca, *crl;
};

/*
 * Reads certificate chain, key, authorities and revocation lists and puts them in use, in contexts applied
 * before too.  On an error (logged: which file, what is wrong) nothing changes.  ERR_IO, ERR_FORMAT,
 * ERR_CRYPTO, ERR_LIMIT, ERR_NOMEM.
 */
int tls_load(struct tls *t, const struct tls_files *files) MUST_USE;

/* Sets up a context (SSL_CTX) that libwebsockets made.  At most two: server and client. */
int tls_apply(struct tls *t, void *ssl_ctx) MUST_USE;

/* The URI in our own certificate; "" if there is none. */
const char *tls_own_uri(const struct tls *t);
/* When our certificate ends, in seconds since 1970; 0 before tls_load(). */
int64_t tls_not_after(const struct tls *t);

/* --- of one session (SSL) --- */

/* Keying material that only the two ends of this session have (RFC 8446 section 7.5). */
int tls_exporter(void *ssl, uint8_t out[TLS_EXPORTER_BYTES]) MUST_USE;
/* Reading and writing a session whose handshake is done: bytes moved, 0 if the socket must be waited
 * for, ERR_CLOSED.  A write that gave 0 must be repeated with the same bytes. */
int tls_read(void *ssl, void *out, size_t size) MUST_USE;
int tls_write(void *ssl, const void *data, size_t len) MUST_USE;
/* Whether tls_read() could go on without the socket: call it before waiting. */
bool tls_pending(void *ssl);
/* Bytes that came from the socket, of records that are not whole yet, too. */
uint64_t tls_received(void *ssl);
/* From now on tls_read() takes from the socket what is there. */
void tls_take_over(void *ssl);
/* The one URI of the peer's certificate (X.509-SVID section 2: exactly one).  ERR_NOENT, ERR_FORMAT. */
int tls_peer_uri(void *ssl, char out[TLS_URI_SIZE]) MUST_USE;
/* When the peer's certificate ends, in seconds since 1970; 0 without one. */
int64_t tls_peer_not_after(void *ssl);
/* Is the certificate that the peer showed, or one above it, on the lists that are in use now?  Ask after
 * tls_load(): new sessions are refused anyway. */
bool tls_peer_revoked(const struct tls *t, void *ssl);
/* "TLSv1.3 TLS_AES_128_GCM_SHA256". */
void tls_cipher(void *ssl, char out[TLS_CIPHER_SIZE]);

#endif
