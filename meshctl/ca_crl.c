#include "meshctl/ca_crl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <time.h>

#include "common/base/mem.h"
#include "meshctl/ca_impl.h"
#include "meshctl/out.h"

struct ca_crl {
	const struct ca_x509 *ca;
	X509_CRL *list; /* being made */
};

/* Wrong, but nothing that OpenSSL has a reason for. */
static int
ours(const char *what)
{
	out_error("%s", what);
	ERR_clear_error();
	return -1;
}

/* --- begin --- */

static bool
copy_entries(X509_CRL *to, X509_CRL *from)
{
	STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(from);

	for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) {
		X509_REVOKED *e = X509_REVOKED_dup(sk_X509_REVOKED_value(entries, i));

		if (e != NULL && X509_CRL_add0_revoked(to, e) == 1)
			continue;
		X509_REVOKED_free(e);
		return false;
	}
	return true;
}

static int
take_old(struct ca_crl *l, const char *pem, size_t len)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	X509_CRL *old = bio != NULL ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;
	int r = 0;

	BIO_free(bio);
	if (old == NULL)
		return ca_impl_fail("the authority's list cannot be read");
	/* To go on without its entries would let those in who were locked out. */
	if (X509_CRL_verify(old, l->ca->key) != 1)
		r = ours("the list was not signed by this authority");
	else if (!copy_entries(l->list, old))
		r = ca_impl_fail("the authority's list cannot be copied");
	X509_CRL_free(old);
	return r;
}

struct ca_crl *
ca_crl_new(const struct ca_x509 *ca, const char *pem, size_t len)
{
	struct ca_crl *l = mem_calloc(1, sizeof(*l));

	if (l == NULL) {
		out_error("out of memory");
		return NULL;
	}
	l->ca = ca;
	l->list = X509_CRL_new();
	if (l->list == NULL || X509_CRL_set_version(l->list, X509_CRL_VERSION_2) != 1 ||
	    X509_CRL_set_issuer_name(l->list, X509_get_subject_name(ca->cert)) != 1)
		(void)ca_impl_fail("the list cannot be made");
	else if (pem == NULL || take_old(l, pem, len) == 0)
		return l;
	ca_crl_free(l);
	return NULL;
}

void
ca_crl_free(struct ca_crl *l)
{
	if (l == NULL)
		return;
	X509_CRL_free(l->list);
	mem_free(l);
}

/* --- entries --- */

static X509_REVOKED *
entry_new(X509 *cert, int64_t now_unix_s)
{
	X509_REVOKED *e = X509_REVOKED_new();
	ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)now_unix_s);
	bool ok = e != NULL && when != NULL &&
		  X509_REVOKED_set_serialNumber(e, X509_get_serialNumber(cert)) == 1 &&
		  X509_REVOKED_set_revocationDate(e, when) == 1;

	ASN1_TIME_free(when);
	if (ok)
		return e;
	X509_REVOKED_free(e);
	return NULL;
}

static int
add(struct ca_crl *l, X509 *cert, int64_t now_unix_s)
{
	X509_REVOKED *e;

	if (X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(l->ca->cert)) != 0 ||
	    X509_verify(cert, l->ca->key) != 1)
		return ours("the certificate is not one of this authority");
	if (X509_cmp(cert, l->ca->cert) == 0)
		return ours("an authority cannot revoke itself: take it out of tls-ca");
	if (X509_CRL_get0_by_serial(l->list, &e, X509_get0_serialNumber(cert)) != 0)
		return 1;
	e = entry_new(cert, now_unix_s);
	if (e != NULL && X509_CRL_add0_revoked(l->list, e) == 1)
		return 0;
	X509_REVOKED_free(e);
	return ca_impl_fail("the certificate cannot be listed");
}

int
ca_crl_add(struct ca_crl *l, const char *cert_pem, size_t len, int64_t now_unix_s)
{
	BIO *bio = BIO_new_mem_buf(cert_pem, (int)len);
	X509 *cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	int r;

	BIO_free(bio);
	if (cert == NULL)
		return ca_impl_fail("no certificate");
	r = add(l, cert, now_unix_s);
	X509_free(cert);
	return r;
}

size_t
ca_crl_count(const struct ca_crl *l)
{
	int n = sk_X509_REVOKED_num(X509_CRL_get_REVOKED(l->list));

	return n > 0 ? (size_t)n : 0;
}

/* --- signing --- */

static bool
set_times(X509_CRL *list, int64_t now_unix_s, int64_t next_update)
{
	ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)now_unix_s);
	ASN1_TIME *next = ASN1_TIME_set(NULL, (time_t)next_update);
	bool ok = now != NULL && next != NULL && X509_CRL_set1_lastUpdate(list, now) == 1 &&
		  X509_CRL_set1_nextUpdate(list, next) == 1;

	ASN1_TIME_free(now);
	ASN1_TIME_free(next);
	return ok;
}

/* RFC 5280 section 5.2 wants both; the time is a number that only grows. */
static bool
add_extensions(const struct ca_crl *l, int64_t now_unix_s)
{
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	X509V3_CTX ctx;
	X509_EXTENSION *e;
	bool ok;

	X509V3_set_ctx(&ctx, l->ca->cert, NULL, NULL, l->list, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
	ok = number != NULL && ASN1_INTEGER_set_int64(number, now_unix_s) == 1 && e != NULL &&
	     X509_CRL_add_ext(l->list, e, -1) == 1 &&
	     X509_CRL_add1_ext_i2d(l->list, NID_crl_number, number, 0, X509V3_ADD_DEFAULT) == 1;
	X509_EXTENSION_free(e);
	ASN1_INTEGER_free(number);
	return ok;
}

int
ca_crl_sign(struct ca_crl *l, int64_t now_unix_s, int64_t next_update, char **pem, size_t *pem_len)
{
	const EVP_MD *md = EVP_PKEY_is_a(l->ca->key, "ED25519") ? NULL : EVP_sha256();
	BIO *bio = BIO_new(BIO_s_mem());
	int r = -1;

	if (bio == NULL || !set_times(l->list, now_unix_s, next_update) || !add_extensions(l, now_unix_s) ||
	    X509_CRL_sort(l->list) != 1 || X509_CRL_sign(l->list, l->ca->key, md) <= 0 ||
	    PEM_write_bio_X509_CRL(bio, l->list) != 1)
		r = ca_impl_fail("the list cannot be signed");
	else if ((r = ca_impl_text(bio, pem, pem_len)) != 0)
		out_error("out of memory");
	BIO_free(bio);
	return r;
}
