/*
 * ca_x509: X.509 certificates for the mesh's own PKI (RFC 5280), from memory to memory.
 *
 * Only ca*.c of meshctl use OpenSSL.  Functions return 0, or -1 after they have printed why.  The
 * authority's certificate names the mesh in its subject alternative name (URI:spiffe://<mesh_id>), so that
 * what it issues can name it too.
 */
#ifndef MESHCTL_CA_X509_H
#define MESHCTL_CA_X509_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct ca_x509; /* an authority: certificate, private key, and the certificates above it */

enum {
	CA_X509_NAMES_MAX = 32, /* DNS names, and IP addresses, of one certificate */
	CA_X509_TEXT_SIZE = 256,
	CA_X509_URI_SIZE = 128,
	CA_X509_SHA256_BYTES = 32,
};

enum ca_x509_kind {
	CA_X509_ROOT,
	CA_X509_INTERMEDIATE,
	CA_X509_NODE,   /* both ends of a link */
	CA_X509_SERVER, /* a gateway's API */
	CA_X509_CLIENT, /* who uses the API */
};

enum ca_x509_algorithm { CA_X509_P256, CA_X509_ED25519 };

/* What a certificate is to say; all borrowed. */
struct ca_x509_request {
	enum ca_x509_kind kind;
	enum ca_x509_algorithm algorithm;
	const char *common_name;
	const char *uri; /* NULL: none */
	const char *dns[CA_X509_NAMES_MAX];
	size_t dns_count;
	const char *ip[CA_X509_NAMES_MAX];
	size_t ip_count;
	int64_t not_before, not_after; /* Unix seconds */
};

/* PEM texts on the heap: the certificate with the intermediate ones behind it, and its private key. */
struct ca_x509_pair {
	char *cert, *key;
	size_t cert_len, key_len;
};

/* Makes a key and a certificate for it, signed by ca (NULL: by itself).  Errors are printed. */
int ca_x509_issue(
    const struct ca_x509 *ca, const struct ca_x509_request *request, struct ca_x509_pair *out) MUST_USE;
/* Wipes and frees what issue made. */
void ca_x509_pair_fini(struct ca_x509_pair *p);

/* An authority from its PEM texts; the key must belong to the first certificate.  Prints errors. */
struct ca_x509 *ca_x509_open(
    const char *cert_pem, size_t cert_len, const char *key_pem, size_t key_len) MUST_USE;
void ca_x509_free(struct ca_x509 *ca);
/* The URI of the authority's certificate, "" if it has none.  Borrowed. */
const char *ca_x509_uri(const struct ca_x509 *ca);
/* Unix seconds after which the authority's own certificate is no longer valid. */
int64_t ca_x509_not_after(const struct ca_x509 *ca);

/* What `ca show` prints of one certificate. */
struct ca_x509_info {
	char subject[CA_X509_TEXT_SIZE], issuer[CA_X509_TEXT_SIZE];
	char serial[64], fingerprint[2 * CA_X509_SHA256_BYTES + 1]; /* hex */
	char algorithm[32];
	char names[1024]; /* "URI:… DNS:… IP:…" */
	char usage[64];   /* authority, server, client, server and client */
	int64_t not_before, not_after;
};
/* Calls fn for each certificate of a PEM text; the number of them, or an error that was printed. */
int ca_x509_each(
    const char *pem, size_t len, void (*fn)(void *arg, const struct ca_x509_info *), void *arg) MUST_USE;

/* SHA-256, for the token file of gatewayd. */
int ca_x509_sha256(const void *data, size_t len, uint8_t out[CA_X509_SHA256_BYTES]) MUST_USE;

#endif
