#include "transportd/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"

enum { CONTEXTS_MAX = 2, CHAIN_MAX = 8, CA_MAX = 256, READ_AHEAD_BYTES = 65536 };

/* What the three files hold; replaced as a whole. */
struct material {
	X509 *cert;
	STACK_OF(X509) * chain;
	EVP_PKEY *key;
	X509_STORE *store;
	char uri[TLS_URI_SIZE];
	int64_t not_after;
};

struct tls {
	struct material m;
	SSL_CTX *contexts[CONTEXTS_MAX];
	size_t context_count;
	tls_alert_fn *on_alert;
	void *arg;
};

static int ctx_index = -1; /* where an SSL_CTX keeps its struct tls: OpenSSL numbers them per process */

struct tls *
tls_new(tls_alert_fn *on_alert, void *arg)
{
	struct tls *t = mem_calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	if (ctx_index == -1)
		ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	t->on_alert = on_alert;
	t->arg = arg;
	return t;
}

static void
material_fini(struct material *m)
{
	X509_free(m->cert);
	sk_X509_pop_free(m->chain, X509_free);
	EVP_PKEY_free(m->key);
	X509_STORE_free(m->store);
	memset(m, 0, sizeof(*m));
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->context_count; i++)
		SSL_CTX_free(t->contexts[i]);
	material_fini(&t->m);
	mem_free(t);
}

/* --- reading files --- */

static const char *
ssl_reason(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

	return text != NULL ? text : "unknown error";
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

/* There is nobody to ask. */
static int
no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int
read_chain(FILE *f, const char *path, struct material *m)
{
	X509 *x;

	m->cert = PEM_read_X509(f, NULL, no_passphrase, NULL);
	if (m->cert == NULL)
		return refuse(path, "holds no PEM certificate", ERR_FORMAT);
	m->chain = sk_X509_new_null();
	if (m->chain == NULL)
		return ERR_NOMEM;
	while ((x = PEM_read_X509(f, NULL, no_passphrase, NULL)) != NULL) {
		if (sk_X509_num(m->chain) >= CHAIN_MAX || sk_X509_push(m->chain, x) == 0) {
			X509_free(x);
			return refuse(path, "has too many certificates", ERR_LIMIT);
		}
	}
	ERR_clear_error();
	return 0;
}

static int
read_cas(FILE *f, const char *path, struct material *m)
{
	X509 *x;
	int n = 0;

	m->store = X509_STORE_new();
	if (m->store == NULL)
		return ERR_NOMEM;
	while ((x = PEM_read_X509(f, NULL, no_passphrase, NULL)) != NULL) {
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
read_key(FILE *f, const char *path, struct material *m)
{
	struct stat st;

	m->key = PEM_read_PrivateKey(f, NULL, no_passphrase, NULL);
	if (m->key == NULL)
		return refuse(path, "holds no PEM private key without passphrase", ERR_FORMAT);
	if (fstat(fileno(f), &st) == 0 && (st.st_mode & 0007) != 0)
		log_warn("tls: %s: other users may read this private key; chmod 600 it", path);
	return 0;
}

static int
with_file(const char *path, struct material *m, int (*fn)(FILE *, const char *, struct material *))
{
	FILE *f = open_file(path);
	int err;

	if (f == NULL)
		return ERR_IO;
	err = fn(f, path, m);
	fclose(f);
	return err;
}

/* --- certificates --- */

/* The only URI of a certificate. */
static int
cert_uri(X509 *cert, char out[TLS_URI_SIZE])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int err = ERR_NOENT;

	for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		int len;

		if (name->type != GEN_URI)
			continue;
		len = ASN1_STRING_length(name->d.uniformResourceIdentifier);
		if (err == 0 || len <= 0 || len >= TLS_URI_SIZE ||
		    memchr(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), 0, (size_t)len) !=
			NULL) {
			err = ERR_FORMAT;
			break;
		}
		memcpy(out, ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), (size_t)len);
		out[len] = '\0';
		err = 0;
	}
	GENERAL_NAMES_free(names);
	return err;
}

static int64_t
cert_not_after(X509 *cert)
{
	struct tm tm;

	return ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int
material_read(struct material *m, const char *cert_path, const char *key_path, const char *ca_path)
{
	int err;

	if ((err = with_file(cert_path, m, read_chain)) != 0 ||
	    (err = with_file(key_path, m, read_key)) != 0 || (err = with_file(ca_path, m, read_cas)) != 0)
		return err;
	if (X509_check_private_key(m->cert, m->key) != 1)
		return refuse(key_path, "is not the key of the certificate in tls-cert", ERR_CRYPTO);
	if (cert_uri(m->cert, m->uri) != 0)
		return refuse(
		    cert_path, "must name the node in exactly one URI (spiffe://MESH/node/NODE)", ERR_FORMAT);
	m->not_after = cert_not_after(m->cert);
	if (X509_cmp_current_time(X509_get0_notAfter(m->cert)) < 0)
		log_warn("tls: %s: this certificate has expired: peers will refuse it", cert_path);
	return 0;
}

/* --- contexts --- */

static int
fill(SSL_CTX *ctx, const struct material *m)
{
	/* Certificate and chain before the key: changing the certificate drops a key that does not fit. */
	if (SSL_CTX_use_certificate(ctx, m->cert) != 1 || SSL_CTX_set1_chain(ctx, m->chain) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, m->key) != 1) {
		log_error("tls: certificate can't be used: %s", ssl_reason());
		ERR_clear_error();
		return ERR_CRYPTO;
	}
	SSL_CTX_set1_cert_store(ctx, m->store);
	return 0;
}

static void
on_info(const SSL *ssl, int where, int ret)
{
	struct tls *t;

	/* Low byte 0 is close notify: the ordinary end. */
	if ((where & SSL_CB_ALERT) == 0 || (ret & 0xff) == 0)
		return;
	t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_index);
	t->on_alert(t->arg, SSL_get_fd(ssl), (where & SSL_CB_WRITE) != 0, SSL_alert_desc_string_long(ret));
}

static int
configure(struct tls *t, SSL_CTX *ctx)
{
	if (SSL_CTX_set_ex_data(ctx, ctx_index, t) != 1 ||
	    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(
		ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") != 1 ||
	    SSL_CTX_set_num_tickets(ctx, 0) != 1)
		return ERR_CRYPTO;
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	/* OpenSSL's own verification and nothing else: a callback could only admit more. */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_verify_depth(ctx, CHAIN_MAX);
	SSL_CTX_set_info_callback(ctx, on_info);
	return 0;
}

int
tls_apply(struct tls *t, void *ssl_ctx)
{
	SSL_CTX *ctx = ssl_ctx;
	int err;

	MUST(t->context_count < CONTEXTS_MAX && t->m.cert != NULL);
	if ((err = configure(t, ctx)) != 0 || (err = fill(ctx, &t->m)) != 0)
		return err;
	SSL_CTX_up_ref(ctx);
	t->contexts[t->context_count++] = ctx;
	return 0;
}

int
tls_load(struct tls *t, const char *cert_path, const char *key_path, const char *ca_path)
{
	struct material fresh = {0};
	int err = material_read(&fresh, cert_path, key_path, ca_path);

	for (size_t i = 0; err == 0 && i < t->context_count; i++)
		err = fill(t->contexts[i], &fresh);
	if (err != 0) {
		/* Back to what was there: a context may have taken half of the new. */
		for (size_t i = 0; i < t->context_count; i++)
			(void)fill(t->contexts[i], &t->m);
		material_fini(&fresh);
		return err;
	}
	material_fini(&t->m);
	t->m = fresh;
	return 0;
}

const char *
tls_own_uri(const struct tls *t)
{
	return t->m.uri;
}

int64_t
tls_not_after(const struct tls *t)
{
	return t->m.not_after;
}

/* --- sessions --- */

int
tls_exporter(void *ssl, uint8_t out[TLS_EXPORTER_BYTES])
{
	if (ssl == NULL || SSL_export_keying_material(ssl, out, TLS_EXPORTER_BYTES, TLS_EXPORTER_LABEL,
			       sizeof(TLS_EXPORTER_LABEL) - 1, NULL, 0, 0) != 1) {
		ERR_clear_error();
		return ERR_CRYPTO;
	}
	return 0;
}

/* What SSL_read() and SSL_write() returned, as ours. */
static int
io_result(SSL *ssl, int n)
{
	if (n > 0)
		return n;
	switch (SSL_get_error(ssl, n)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	default:
		ERR_clear_error();
		return ERR_CLOSED;
	}
}

int
tls_read(void *ssl, void *out, size_t size)
{
	ERR_clear_error();
	return io_result(ssl, SSL_read(ssl, out, (int)size));
}

int
tls_write(void *ssl, const void *data, size_t len)
{
	ERR_clear_error();
	return io_result(ssl, SSL_write(ssl, data, (int)len));
}

bool
tls_pending(void *ssl)
{
	return SSL_has_pending(ssl) == 1;
}

void
tls_take_over(void *ssl)
{
	/* One read(2) for several records instead of two for each. */
	SSL_set_read_ahead(ssl, 1);
	SSL_set_default_read_buffer_len(ssl, READ_AHEAD_BYTES);
}

int
tls_peer_uri(void *ssl, char out[TLS_URI_SIZE])
{
	X509 *cert = ssl != NULL ? SSL_get1_peer_certificate(ssl) : NULL;
	int err;

	if (cert == NULL)
		return ERR_NOENT;
	err = cert_uri(cert, out);
	X509_free(cert);
	return err;
}

void
tls_cipher(void *ssl, char out[TLS_CIPHER_SIZE])
{
	out[0] = '\0';
	if (ssl != NULL)
		snprintf(out, TLS_CIPHER_SIZE, "%s %s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
}
