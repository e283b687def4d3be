/* ca_x509: see ca_x509.h. */
#include "meshctl/ca_impl.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"
#include "meshctl/out.h"

enum { SERIAL_BYTES = 16 };

/* One row per kind: the extensions of RFC 5280 section 4.2.1 as the kinds differ in them. */
static const struct kind {
	const char *basic, *usage, *extended;
	bool self_signed;
} kinds[] = {
    [CA_X509_ROOT] = {"critical,CA:TRUE,pathlen:1", "critical,keyCertSign,cRLSign", NULL, true},
    [CA_X509_INTERMEDIATE] = {"critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", NULL, false},
    [CA_X509_NODE] = {"critical,CA:FALSE", "critical,digitalSignature", "serverAuth,clientAuth", false},
    [CA_X509_SERVER] = {"critical,CA:FALSE", "critical,digitalSignature", "serverAuth", false},
    [CA_X509_CLIENT] = {"critical,CA:FALSE", "critical,digitalSignature", "clientAuth", false},
};

int
ca_impl_fail(const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = e != 0 ? ERR_reason_error_string(e) : NULL;

	out_error("%s: %s", what, reason != NULL ? reason : "failed");
	ERR_clear_error();
	return -1;
}

static EVP_PKEY *
key_new(enum ca_x509_algorithm algorithm)
{
	return algorithm == CA_X509_ED25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
					    : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
}

/* 127 random bits: positive and unpredictable (RFC 5280 section 4.1.2.2 allows 20 octets). */
static bool
set_serial(X509 *cert)
{
	uint8_t bytes[SERIAL_BYTES];
	BIGNUM *n;
	bool ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
	BN_free(n);
	return ok;
}

static bool
set_subject(X509 *cert, const char *common_name)
{
	X509_NAME *name = X509_get_subject_name(cert);

	return X509_NAME_add_entry_by_txt(
		   name, "O", MBSTRING_UTF8, (const unsigned char *)"mesh", -1, -1, 0) == 1 &&
	       X509_NAME_add_entry_by_txt(
		   name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1;
}

static bool
add_extension(X509 *cert, X509V3_CTX *ctx, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
	bool ok = e != NULL && X509_add_ext(cert, e, -1) == 1;

	X509_EXTENSION_free(e);
	return ok;
}

/* Adds one general name; ia5 for DNS and URI, octets for an address. */
static bool
push_name(GENERAL_NAMES *names, int type, const void *data, size_t len)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *s = type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();

	if (name == NULL || s == NULL || ASN1_STRING_set(s, data, (int)len) != 1) {
		GENERAL_NAME_free(name);
		ASN1_STRING_free(s);
		return false;
	}
	GENERAL_NAME_set0_value(name, type, s);
	if (sk_GENERAL_NAME_push(names, name) > 0)
		return true;
	GENERAL_NAME_free(name);
	return false;
}

static bool
push_address(GENERAL_NAMES *names, const char *text)
{
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(text);
	bool ok;

	if (ip == NULL) {
		out_error("'%s' is not an IP address", text);
		return false;
	}
	ok = push_name(names, GEN_IPADD, ASN1_STRING_get0_data(ip), (size_t)ASN1_STRING_length(ip));
	ASN1_OCTET_STRING_free(ip);
	return ok;
}

static bool
add_names(X509 *cert, const struct ca_x509_request *r)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	bool ok = names != NULL;

	if (ok && r->uri != NULL)
		ok = push_name(names, GEN_URI, r->uri, strlen(r->uri));
	for (size_t i = 0; ok && i < r->dns_count; i++)
		ok = push_name(names, GEN_DNS, r->dns[i], strlen(r->dns[i]));
	for (size_t i = 0; ok && i < r->ip_count; i++)
		ok = push_address(names, r->ip[i]);
	if (ok && sk_GENERAL_NAME_num(names) > 0)
		ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
	GENERAL_NAMES_free(names);
	return ok;
}

static bool
add_extensions(X509 *cert, X509 *issuer, const struct ca_x509_request *r)
{
	const struct kind *k = &kinds[r->kind];
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	return add_extension(cert, &ctx, NID_basic_constraints, k->basic) &&
	       add_extension(cert, &ctx, NID_key_usage, k->usage) &&
	       (k->extended == NULL || add_extension(cert, &ctx, NID_ext_key_usage, k->extended)) &&
	       add_extension(cert, &ctx, NID_subject_key_identifier, "hash") &&
	       (k->self_signed || add_extension(cert, &ctx, NID_authority_key_identifier, "keyid:always")) &&
	       add_names(cert, r);
}

static bool
sign(X509 *cert, EVP_PKEY *key)
{
	/* Ed25519 has its digest built in (RFC 8410). */
	const EVP_MD *md = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();

	return X509_sign(cert, key, md) > 0;
}

static X509 *
cert_new(const struct ca_x509 *ca, const struct ca_x509_request *r, EVP_PKEY *key)
{
	X509 *cert = X509_new(), *issuer = ca != NULL ? ca->cert : cert;

	if (cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
	    set_subject(cert, r->common_name) &&
	    X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1 &&
	    ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)r->not_before) != NULL &&
	    ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)r->not_after) != NULL &&
	    X509_set_pubkey(cert, key) == 1 && add_extensions(cert, issuer, r) &&
	    sign(cert, ca != NULL ? ca->key : key))
		return cert;
	X509_free(cert);
	return NULL;
}

int
ca_impl_text(BIO *bio, char **out, size_t *len)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);

	*out = n > 0 ? mem_calloc(1, (size_t)n + 1) : NULL;
	if (*out == NULL)
		return -1;
	memcpy(*out, data, (size_t)n);
	*len = (size_t)n;
	return 0;
}

/* The chain of a root's direct issue is the certificate alone: peers have the root already. */
static bool
write_chain(BIO *bio, const struct ca_x509 *ca, X509 *cert)
{
	bool ok = PEM_write_bio_X509(bio, cert) == 1;

	if (!ok || ca == NULL || X509_self_signed(ca->cert, 0) == 1)
		return ok;
	ok = PEM_write_bio_X509(bio, ca->cert) == 1;
	for (size_t i = 0; ok && i < ca->above_count; i++)
		if (X509_self_signed(ca->above[i], 0) != 1)
			ok = PEM_write_bio_X509(bio, ca->above[i]) == 1;
	return ok;
}

static int
write_pair(const struct ca_x509 *ca, X509 *cert, EVP_PKEY *key, struct ca_x509_pair *out)
{
	BIO *certs = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_secmem());
	int r = -1;

	*out = (struct ca_x509_pair){0};
	if (certs != NULL && secret != NULL && write_chain(certs, ca, cert) &&
	    PEM_write_bio_PKCS8PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1)
		r = ca_impl_text(certs, &out->cert, &out->cert_len);
	if (r == 0)
		r = ca_impl_text(secret, &out->key, &out->key_len);
	if (r != 0)
		ca_x509_pair_fini(out);
	BIO_free(certs);
	BIO_free(secret);
	return r;
}

int
ca_x509_issue(const struct ca_x509 *ca, const struct ca_x509_request *request, struct ca_x509_pair *out)
{
	EVP_PKEY *key = key_new(request->algorithm);
	X509 *cert = key != NULL ? cert_new(ca, request, key) : NULL;
	int r =
	    cert == NULL ? ca_impl_fail("the certificate could not be made") : write_pair(ca, cert, key, out);

	X509_free(cert);
	EVP_PKEY_free(key);
	return r;
}

void
ca_x509_pair_fini(struct ca_x509_pair *p)
{
	if (p->key != NULL)
		OPENSSL_cleanse(p->key, p->key_len);
	mem_free(p->key);
	mem_free(p->cert);
	*p = (struct ca_x509_pair){0};
}

/* Copies the first URI among the certificate's names into out, else "". */
static void
first_uri(X509 *cert, char *out, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	out[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
		size_t len;

		if (n->type != GEN_URI)
			continue;
		len = (size_t)ASN1_STRING_length(n->d.uniformResourceIdentifier);
		if (len >= size)
			continue;
		memcpy(out, ASN1_STRING_get0_data(n->d.uniformResourceIdentifier), len);
		out[len] = '\0';
		break;
	}
	GENERAL_NAMES_free(names);
}

static bool
read_chain(struct ca_x509 *ca, BIO *bio)
{
	X509 *next;

	ca->cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (ca->cert == NULL)
		return false;
	while (
	    ca->above_count < CA_IMPL_CHAIN_MAX && (next = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		ca->above[ca->above_count++] = next;
	ERR_clear_error(); /* the end of the file is reported as one */
	return true;
}

/* Without it OpenSSL would ask at the terminal. */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return -1;
}

struct ca_x509 *
ca_x509_open(const char *cert_pem, size_t cert_len, const char *key_pem, size_t key_len)
{
	BIO *certs = BIO_new_mem_buf(cert_pem, (int)cert_len), *key = BIO_new_mem_buf(key_pem, (int)key_len);
	struct ca_x509 *ca = mem_calloc(1, sizeof(*ca));
	const char *what = NULL;

	if (ca == NULL || certs == NULL || key == NULL)
		what = "out of memory";
	else if (!read_chain(ca, certs))
		what = "the authority's certificate cannot be read";
	else if ((ca->key = PEM_read_bio_PrivateKey(key, NULL, no_passphrase, NULL)) == NULL)
		what = "the authority's key cannot be read";
	else if (X509_check_private_key(ca->cert, ca->key) != 1)
		what = "the authority's key does not belong to its certificate";
	else if (X509_check_ca(ca->cert) != 1)
		what = "the certificate is not one of an authority";
	else
		first_uri(ca->cert, ca->uri, sizeof(ca->uri));
	BIO_free(certs);
	BIO_free(key);
	if (what == NULL)
		return ca;
	(void)ca_impl_fail(what);
	ca_x509_free(ca);
	return NULL;
}

void
ca_x509_free(struct ca_x509 *ca)
{
	if (ca == NULL)
		return;
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
	for (size_t i = 0; i < ca->above_count; i++)
		X509_free(ca->above[i]);
	mem_free(ca);
}

const char *
ca_x509_uri(const struct ca_x509 *ca)
{
	return ca->uri;
}

static int64_t
unix_seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

int64_t
ca_x509_not_after(const struct ca_x509 *ca)
{
	return unix_seconds(X509_get0_notAfter(ca->cert));
}

int
ca_x509_sha256(const void *data, size_t len, uint8_t out[CA_X509_SHA256_BYTES])
{
	unsigned n = 0;

	if (EVP_Digest(data, len, out, &n, EVP_sha256(), NULL) != 1)
		return ca_impl_fail("SHA-256");
	return n == CA_X509_SHA256_BYTES ? 0 : -1;
}

/* Copies what bio collected, cut to fit. */
static void
bio_text(BIO *bio, char *out, size_t size)
{
	int n = BIO_read(bio, out, (int)size - 1);

	out[n > 0 ? n : 0] = '\0';
}

static void
name_text(const X509_NAME *name, char *out, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());

	out[0] = '\0';
	if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0)
		bio_text(bio, out, size);
	BIO_free(bio);
}

static void
names_text(X509 *cert, char *out, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	BIO *bio = BIO_new(BIO_s_mem());

	out[0] = '\0';
	for (int i = 0; bio != NULL && i < sk_GENERAL_NAME_num(names); i++) {
		if (i > 0)
			BIO_puts(bio, " ");
		GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i));
	}
	if (bio != NULL)
		bio_text(bio, out, size);
	BIO_free(bio);
	GENERAL_NAMES_free(names);
}

static void
hex_text(const uint8_t *p, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = "0123456789abcdef"[p[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
	}
	out[2 * len] = '\0';
}

static const char *
usage_text(X509 *cert)
{
	uint32_t usage = X509_get_extended_key_usage(cert);
	bool any = usage == UINT32_MAX; /* no such extension: good for all */

	if (X509_check_ca(cert) == 1)
		return "authority";
	if (any || (usage & (XKU_SSL_SERVER | XKU_SSL_CLIENT)) == (XKU_SSL_SERVER | XKU_SSL_CLIENT))
		return "server and client";
	if (usage & XKU_SSL_SERVER)
		return "server";
	return usage & XKU_SSL_CLIENT ? "client" : "other";
}

static void
info_of(X509 *cert, struct ca_x509_info *info)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	memset(info, 0, sizeof(*info));
	name_text(X509_get_subject_name(cert), info->subject, sizeof(info->subject));
	name_text(X509_get_issuer_name(cert), info->issuer, sizeof(info->issuer));
	if (ASN1_STRING_length(serial) * 2 < (int)sizeof(info->serial))
		hex_text(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial), info->serial);
	if (X509_digest(cert, EVP_sha256(), md, &n) == 1 && n == CA_X509_SHA256_BYTES)
		hex_text(md, n, info->fingerprint);
	strncpy(info->algorithm,
	    EVP_PKEY_is_a(X509_get0_pubkey(cert), "ED25519") ? "Ed25519"
	    : EVP_PKEY_is_a(X509_get0_pubkey(cert), "EC")    ? "ECDSA"
	    : EVP_PKEY_is_a(X509_get0_pubkey(cert), "RSA")   ? "RSA"
							     : "other",
	    sizeof(info->algorithm) - 1);
	names_text(cert, info->names, sizeof(info->names));
	strncpy(info->usage, usage_text(cert), sizeof(info->usage) - 1);
	info->not_before = unix_seconds(X509_get0_notBefore(cert));
	info->not_after = unix_seconds(X509_get0_notAfter(cert));
}

int
ca_x509_each(const char *pem, size_t len, void (*fn)(void *arg, const struct ca_x509_info *), void *arg)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	struct ca_x509_info info;
	int count = 0;
	X509 *cert;

	while (bio != NULL && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		info_of(cert, &info);
		X509_free(cert);
		fn(arg, &info);
		count++;
	}
	BIO_free(bio);
	if (count == 0)
		return ca_impl_fail("no certificate");
	ERR_clear_error();
	return count;
}
