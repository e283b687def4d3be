/* tls: see tls.h. */
#include "gatewayd/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

struct tls_server {
	SSL_CTX *ctx;
};

struct tls {
	SSL *ssl;
	bool wants_write;
	bool broken; /* OpenSSL forbids a shutdown after a fatal error */
};

enum { READ_AHEAD_BYTES = 64 * 1024 };

/* The reason of the oldest error in OpenSSL's queue, which is emptied. */
static const char *
error_reason(void)
{
	unsigned long code = ERR_get_error();
	const char *reason = ERR_reason_error_string(code);

	ERR_clear_error();
	return reason != NULL ? reason : "unknown error";
}

/* RFC 7301: h2 or a fatal no_application_protocol. */
static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len,
    void *arg)
{
	(void)ssl, (void)arg;
	for (unsigned i = 0; i < in_len && in[i] < in_len - i; i += in[i] + 1U)
		if (in[i] == 2 && memcmp(in + i + 1, "h2", 2) == 0) {
			*out = in + i + 1;
			*out_len = 2;
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void
ctx_options(SSL_CTX *ctx)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
				     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	/* RFC 9113 9.2.2: TLS 1.2 suites without forward secrecy and AEAD are not for HTTP/2. */
	SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20:!PSK");
	/* Resumption would carry a client's certificate past its check against a new CA. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD_BYTES);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
}

static int
ctx_client_ca(SSL_CTX *ctx, const char *file)
{
	STACK_OF(X509_NAME) * names;

	if (SSL_CTX_load_verify_file(ctx, file) != 1)
		return ERR_IO;
	if ((names = SSL_load_client_CA_file(file)) == NULL)
		return ERR_IO;
	SSL_CTX_set_client_CA_list(ctx, names);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return 0;
}

/* NULL, or the name of the file that is wrong. */
static const char *
ctx_files(SSL_CTX *ctx, const struct tls_files *f)
{
	if (SSL_CTX_use_certificate_chain_file(ctx, f->cert) != 1)
		return f->cert;
	if (SSL_CTX_use_PrivateKey_file(ctx, f->key, SSL_FILETYPE_PEM) != 1)
		return f->key;
	if (SSL_CTX_check_private_key(ctx) != 1)
		return f->key;
	if (f->client_ca != NULL && ctx_client_ca(ctx, f->client_ca) != 0)
		return f->client_ca;
	return NULL;
}

struct tls_server *
tls_server_new(const struct tls_files *files, char error[TLS_ERROR_SIZE])
{
	struct tls_server *s = mem_calloc(1, sizeof(*s));
	const char *bad;

	if (s == NULL || (s->ctx = SSL_CTX_new(TLS_server_method())) == NULL) {
		snprintf(error, TLS_ERROR_SIZE, "out of memory");
		mem_free(s);
		return NULL;
	}
	ctx_options(s->ctx);
	ERR_clear_error();
	if ((bad = ctx_files(s->ctx, files)) != NULL) {
		snprintf(error, TLS_ERROR_SIZE, "%s: %s", bad, error_reason());
		tls_server_free(s);
		return NULL;
	}
	return s;
}

void
tls_server_free(struct tls_server *s)
{
	if (s == NULL)
		return;
	SSL_CTX_free(s->ctx);
	mem_free(s);
}

struct tls *
tls_new(struct tls_server *s, int fd)
{
	struct tls *t = mem_calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->ssl = SSL_new(s->ctx);
	if (t->ssl == NULL || SSL_set_fd(t->ssl, fd) != 1) {
		SSL_free(t->ssl);
		mem_free(t);
		ERR_clear_error();
		return NULL;
	}
	SSL_set_accept_state(t->ssl);
	return t;
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	if (!t->broken && SSL_is_init_finished(t->ssl))
		(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
	SSL_free(t->ssl);
	mem_free(t);
}

/* What an operation that returned n means. */
static int
result_of(struct tls *t, int n)
{
	int saved = errno;

	switch (SSL_get_error(t->ssl, n)) {
	case SSL_ERROR_WANT_READ:
		t->wants_write = false;
		return ERR_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		t->wants_write = true;
		return ERR_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return ERR_CLOSED;
	case SSL_ERROR_SYSCALL:
		t->broken = true;
		return saved == 0 || saved == ECONNRESET || saved == EPIPE ? ERR_CLOSED : ERR_IO;
	default:
		t->broken = true;
		return ERR_IO;
	}
}

int
tls_handshake(struct tls *t, char error[TLS_ERROR_SIZE])
{
	const unsigned char *proto;
	unsigned len;
	int n, rc;

	ERR_clear_error();
	n = SSL_do_handshake(t->ssl);
	if (n == 1) {
		SSL_get0_alpn_selected(t->ssl, &proto, &len);
		return len == 2 ? 0 : ERR_UNKNOWN;
	}
	rc = result_of(t, n);
	if (rc == ERR_AGAIN || rc == ERR_CLOSED)
		return rc;
	if (SSL_get_verify_result(t->ssl) != X509_V_OK) {
		snprintf(error, TLS_ERROR_SIZE, "client certificate: %s",
		    X509_verify_cert_error_string(SSL_get_verify_result(t->ssl)));
		ERR_clear_error();
	} else
		snprintf(error, TLS_ERROR_SIZE, "%s", error_reason());
	return ERR_AUTH;
}

int64_t
tls_read(struct tls *t, void *out, size_t size)
{
	size_t n;

	ERR_clear_error();
	errno = 0;
	if (SSL_read_ex(t->ssl, out, size, &n) == 1)
		return (int64_t)n;
	return result_of(t, 0);
}

int64_t
tls_write(struct tls *t, const void *data, size_t len)
{
	size_t n;

	ERR_clear_error();
	errno = 0;
	if (SSL_write_ex(t->ssl, data, len, &n) == 1)
		return (int64_t)n;
	return result_of(t, 0);
}

bool
tls_wants_write(const struct tls *t)
{
	return t->wants_write;
}

/* Copies an ASN.1 string that has no NUL inside and fits. */
static int
name_copy(char out[TLS_NAME_SIZE], const ASN1_STRING *s)
{
	int len = ASN1_STRING_length(s);

	if (len <= 0 || len >= TLS_NAME_SIZE || memchr(ASN1_STRING_get0_data(s), 0, (size_t)len) != NULL)
		return ERR_NOENT;
	memcpy(out, ASN1_STRING_get0_data(s), (size_t)len);
	out[len] = '\0';
	return 0;
}

static int
name_of_san(X509 *cert, char out[TLS_NAME_SIZE])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int rc = ERR_NOENT;

	for (int i = 0; rc != 0 && i < sk_GENERAL_NAME_num(names); i++) {
		int type;
		void *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

		if (type == GEN_URI || type == GEN_DNS)
			rc = name_copy(out, value);
	}
	GENERAL_NAMES_free(names);
	return rc;
}

static int
name_of_subject(X509 *cert, char out[TLS_NAME_SIZE])
{
	X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	if (at < 0)
		return ERR_NOENT;
	return name_copy(out, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

int
tls_peer_name(const struct tls *t, char out[TLS_NAME_SIZE])
{
	X509 *cert = SSL_get0_peer_certificate(t->ssl);

	if (cert == NULL || SSL_get_verify_mode(t->ssl) == SSL_VERIFY_NONE ||
	    SSL_get_verify_result(t->ssl) != X509_V_OK)
		return ERR_NOENT;
	if (name_of_san(cert, out) != 0 && name_of_subject(cert, out) != 0)
		snprintf(out, TLS_NAME_SIZE, "certificate without a name");
	return 0;
}

void
tls_sha256(uint8_t out[TLS_DIGEST_BYTES], const void *data, size_t len)
{
	SHA256(data, len, out);
}
