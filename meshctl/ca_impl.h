/*
 * ca_impl: what ca_x509.c and ca_crl.c share.  Nobody else includes it.
 */
#ifndef MESHCTL_CA_IMPL_H
#define MESHCTL_CA_IMPL_H

#include <openssl/bio.h>
#include <openssl/x509.h>

#include "meshctl/ca_x509.h"

enum { CA_IMPL_CHAIN_MAX = 4 };

struct ca_x509 {
	X509 *cert;
	EVP_PKEY *key;
	X509 *above[CA_IMPL_CHAIN_MAX]; /* intermediate certificates behind cert in its file */
	size_t above_count;
	char uri[CA_X509_URI_SIZE];
};

/* Prints OpenSSL's reason; returns -1. */
int ca_impl_fail(const char *what);
/* Takes what was written to a memory BIO as a heap text.  -1: no memory. */
int ca_impl_text(BIO *bio, char **out, size_t *len) MUST_USE;

#endif
