/*
 * tls_impl: what the files tls*.c share.  Nobody else includes it.
 */
#ifndef TRANSPORTD_TLS_IMPL_H
#define TRANSPORTD_TLS_IMPL_H

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "transportd/tls.h"

enum { TLS_CONTEXTS_MAX = 2, TLS_CHAIN_MAX = 8 };

/* What the files hold; replaced as a whole. */
struct tls_material {
	X509 *cert;
	STACK_OF(X509) * chain; /* the certificates above it, without the root */
	EVP_PKEY *key;
	X509_STORE *store;
	STACK_OF(X509_CRL) * crls; /* NULL: none */
	char uri[TLS_URI_SIZE];
	int64_t not_after;
};

struct tls {
	struct tls_material m;
	SSL_CTX *contexts[TLS_CONTEXTS_MAX];
	size_t context_count;
	tls_alert_fn *on_alert;
	tls_dial_fn *on_dial;
	void *arg;
};

/* --- tls_files.c --- */

/* Fills an empty *m; what is wrong is logged, and *m is to be given to fini in any case. */
int tls_files_read(struct tls_material *m, const struct tls_files *files) MUST_USE;
void tls_files_fini(struct tls_material *m);
/* For readers of PEM: there is nobody to ask. */
int tls_no_passphrase(char *out, int size, int writing, void *arg);

/* --- tls_cert.c --- */

/* The only URI of a certificate.  ERR_NOENT, ERR_FORMAT (several, or a wrong one). */
int tls_cert_uri(X509 *cert, char out[TLS_URI_SIZE]) MUST_USE;
/* Its end in Unix seconds. */
int64_t tls_cert_until(X509 *cert);
/* Does a list that the issuer has signed name a certificate of the chain (leaf first, root last)? */
bool tls_cert_revoked(STACK_OF(X509_CRL) * crls, STACK_OF(X509) * chain);

#endif
