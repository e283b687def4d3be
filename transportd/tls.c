#include "transportd/tls_impl.h" /* OpenSSL comes before err.h */

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "transportd/token.h"

enum { READ_AHEAD_BYTES = 65536 };

static int ctx_index = -1; /* where an SSL_CTX keeps its struct tls: OpenSSL numbers them per process */

struct tls *
tls_new(tls_alert_fn *on_alert, void *arg)
{
	struct tls *t = mem_calloc(1, sizeof(*t));
	size_t seed;

	if (t == NULL)
		return NULL;
	if (ctx_index == -1)
		ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	t->on_alert = on_alert;
	t->arg = arg;
	crypto_random(&seed, sizeof(seed));
	token_init(seed);
	return t;
}

void
tls_on_dial(struct tls *t, tls_dial_fn *fn)
{
	t->on_dial = fn;
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->context_count; i++)
		SSL_CTX_free(t->contexts[i]);
	tls_files_fini(&t->m);
	mem_free(t);
}

/* --- contexts --- */

static const char *
ssl_reason(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

	return text != NULL ? text : "unknown error";
}

static int
fill(SSL_CTX *ctx, const struct tls_material *m)
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
	struct tls *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_index);

	if (where & SSL_CB_HANDSHAKE_DONE)
		t->on_alert(t->arg, SSL_get_fd(ssl), false, NULL);
	if ((where & SSL_CB_HANDSHAKE_START) != 0 && !SSL_is_server(ssl) && t->on_dial != NULL)
		t->on_dial(t->arg, SSL_get_fd(ssl));
	/* Low byte 0 is close notify: the ordinary end. */
	if ((where & SSL_CB_ALERT) == 0 || (ret & 0xff) == 0)
		return;
	/* The end of the socket is answered with "decode error", which says nothing about the peer. */
	if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return;
	t->on_alert(t->arg, SSL_get_fd(ssl), (where & SSL_CB_WRITE) != 0, SSL_alert_desc_string_long(ret));
}

/* OpenSSL's own verification, then the revocation lists in use now: this can only refuse more. */
static int
on_verify(X509_STORE_CTX *ctx, void *arg)
{
	struct tls *t = arg;

	if (X509_verify_cert(ctx) != 1)
		return 0;
	if (!tls_cert_revoked(t->m.crls, X509_STORE_CTX_get0_chain(ctx)))
		return 1;
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REVOKED);
	return 0;
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
	/* No callback here: it could only admit more. */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_verify_depth(ctx, TLS_CHAIN_MAX);
	SSL_CTX_set_cert_verify_callback(ctx, on_verify, t);
	SSL_CTX_set_info_callback(ctx, on_info);
	return 0;
}

int
tls_apply(struct tls *t, void *ssl_ctx)
{
	SSL_CTX *ctx = ssl_ctx;
	int err;

	MUST(t->context_count < TLS_CONTEXTS_MAX && t->m.cert != NULL);
	if ((err = configure(t, ctx)) != 0 || (err = fill(ctx, &t->m)) != 0)
		return err;
	SSL_CTX_up_ref(ctx);
	t->contexts[t->context_count++] = ctx;
	return 0;
}

int
tls_load(struct tls *t, const struct tls_files *files)
{
	struct tls_material fresh = {0};
	int err = tls_files_read(&fresh, files);

	for (size_t i = 0; err == 0 && i < t->context_count; i++)
		err = fill(t->contexts[i], &fresh);
	if (err != 0) {
		/* Back to what was there: a context may have taken half of the new. */
		for (size_t i = 0; i < t->context_count; i++)
			(void)fill(t->contexts[i], &t->m);
		tls_files_fini(&fresh);
		return err;
	}
	tls_files_fini(&t->m);
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

uint64_t
tls_received(void *ssl)
{
	return BIO_number_read(SSL_get_rbio(ssl));
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
	err = tls_cert_uri(cert, out);
	X509_free(cert);
	return err;
}

int64_t
tls_peer_not_after(void *ssl)
{
	X509 *cert = ssl != NULL ? SSL_get0_peer_certificate(ssl) : NULL;

	return cert != NULL ? tls_cert_until(cert) : 0;
}

bool
tls_peer_revoked(const struct tls *t, void *ssl)
{
	return ssl != NULL && tls_cert_revoked(t->m.crls, SSL_get0_verified_chain(ssl));
}

void
tls_cipher(void *ssl, char out[TLS_CIPHER_SIZE])
{
	out[0] = '\0';
	if (ssl != NULL)
		snprintf(out, TLS_CIPHER_SIZE, "%s %s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
}
