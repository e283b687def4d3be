/* tls_files: certificate, key, authorities and revocation lists, from their files. */
#include "transportd/tls_impl.h" /* OpenSSL comes before err.h */

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/err.h"
#include "common/os/log.h"

enum { CA_MAX = 256, CRL_MAX = 256 };

void
tls_files_fini(struct tls_material *m)
{
	X509_free(m->cert);
	sk_X509_pop_free(m->chain, X509_free);
	EVP_PKEY_free(m->key);
	X509_STORE_free(m->store);
	sk_X509_CRL_pop_free(m->crls, X509_CRL_free);
	memset(m, 0, sizeof(*m));
}

static int
refuse(const char *path, const char *what, int err)
{
	log_error("tls: %s: %s", path, what);
	ERR_clear_error();
	return err;
}

static FILE *
open_file(const char *path)
{
	FILE *f = fopen(path, "re");

	if (f == NULL)
		log_error("tls: %s: %s (the file must be readable by the user transportd runs as)", path,
		    strerror(errno));
	return f;
}

int
tls_no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int
read_chain(FILE *f, const char *path, struct tls_material *m)
{
	X509 *x;

	m->cert = PEM_read_X509(f, NULL, tls_no_passphrase, NULL);
	if (m->cert == NULL)
		return refuse(path, "holds no PEM certificate", ERR_FORMAT);
	m->chain = sk_X509_new_null();
	if (m->chain == NULL)
		return ERR_NOMEM;
	while ((x = PEM_read_X509(f, NULL, tls_no_passphrase, NULL)) != NULL) {
		if (sk_X509_num(m->chain) >= TLS_CHAIN_MAX || sk_X509_push(m->chain, x) == 0) {
			X509_free(x);
			return refuse(path, "has too many certificates", ERR_LIMIT);
		}
	}
	ERR_clear_error();
	return 0;
}

static int
read_cas(FILE *f, const char *path, struct tls_material *m)
{
	X509 *x;
	int n = 0;

	m->store = X509_STORE_new();
	if (m->store == NULL)
		return ERR_NOMEM;
	while ((x = PEM_read_X509(f, NULL, tls_no_passphrase, NULL)) != NULL) {
		int ok = n < CA_MAX && X509_STORE_add_cert(m->store, x);

		X509_free(x);
		if (!ok)
			return refuse(path, "has too many certificates", ERR_LIMIT);
		n++;
	}
	ERR_clear_error();
	return n == 0 ? refuse(path, "holds no PEM certificate", ERR_FORMAT) : 0;
}

static int
read_key(FILE *f, const char *path, struct tls_material *m)
{
	struct stat st;

	m->key = PEM_read_PrivateKey(f, NULL, tls_no_passphrase, NULL);
	if (m->key == NULL)
		return refuse(path, "holds no PEM private key without passphrase", ERR_FORMAT);
	if (fstat(fileno(f), &st) == 0 && (st.st_mode & 0007) != 0)
		log_warn("tls: %s: other users may read this private key; chmod 600 it", path);
	return 0;
}

/* Revocation goes on with an old list: to refuse everybody would be worse than what it may lack. */
static void
warn_of_old(const X509_CRL *crl, const char *path)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
	char issuer[256];

	if (next == NULL || X509_cmp_current_time(next) >= 0)
		return;
	X509_NAME_oneline(X509_CRL_get_issuer(crl), issuer, sizeof(issuer));
	log_warn("tls: %s: the list of %s should have been renewed; it is still used", path, issuer);
}

static int
read_crls(FILE *f, const char *path, struct tls_material *m)
{
	X509_CRL *crl;

	m->crls = sk_X509_CRL_new_null();
	if (m->crls == NULL)
		return ERR_NOMEM;
	while ((crl = PEM_read_X509_CRL(f, NULL, tls_no_passphrase, NULL)) != NULL) {
		if (sk_X509_CRL_num(m->crls) >= CRL_MAX || sk_X509_CRL_push(m->crls, crl) == 0) {
			X509_CRL_free(crl);
			return refuse(path, "has too many revocation lists", ERR_LIMIT);
		}
		warn_of_old(crl, path);
	}
	/* Not an end of the file but something broken: half of the lists would be worse than none. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return refuse(path, "holds a revocation list that can't be read", ERR_FORMAT);
	ERR_clear_error();
	return sk_X509_CRL_num(m->crls) == 0 ? refuse(path, "holds no PEM revocation list", ERR_FORMAT) : 0;
}

static int
with_file(const char *path, struct tls_material *m, int (*fn)(FILE *, const char *, struct tls_material *))
{
	FILE *f = open_file(path);
	int err;

	if (f == NULL)
		return ERR_IO;
	err = fn(f, path, m);
	fclose(f);
	return err;
}

int
tls_files_read(struct tls_material *m, const struct tls_files *files)
{
	int err;

	if ((err = with_file(files->cert, m, read_chain)) != 0 ||
	    (err = with_file(files->key, m, read_key)) != 0 || (err = with_file(files->ca, m, read_cas)) != 0)
		return err;
	if (files->crl != NULL && (err = with_file(files->crl, m, read_crls)) != 0)
		return err;
	if (X509_check_private_key(m->cert, m->key) != 1)
		return refuse(files->key, "is not the key of the certificate in tls-cert", ERR_CRYPTO);
	if (tls_cert_uri(m->cert, m->uri) != 0)
		return refuse(files->cert, "must name the node in exactly one URI (spiffe://MESH/node/NODE)",
		    ERR_FORMAT);
	m->not_after = tls_cert_until(m->cert);
	if (X509_cmp_current_time(X509_get0_notAfter(m->cert)) < 0)
		log_warn("tls: %s: this certificate has expired: peers will refuse it", files->cert);
	return 0;
}
