#include "transportd/tls_dial.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/os/log.h"
#include "transportd/tls_impl.h"

enum {
	NAME_SIZE = 256,
	CONNECT_SIZE = 1024,
	HELD_BYTES = 4096, /* a ClientHello: 1.7 KB with the largest key share there is */
	READ_BYTES = 512,
	AUTHORITIES_MAX = 256,
};

struct tls_dial {
	char sni[NAME_SIZE], check[NAME_SIZE], connect[CONNECT_SIZE];
	X509_STORE *authorities;
	bool anonymous;
	BIO *bio;
	bool begun, broken, tunnelling, closed;
	struct tunnel tunnel;
	uint8_t held[HELD_BYTES]; /* what the session has written before the tunnel is open */
	size_t held_len;
};

/* --- the BIO between session and socket --- */

/* What the session writes before the tunnel is open. */
static int
hold(struct tls_dial *d, const char *data, int len)
{
	if ((size_t)len > sizeof(d->held) - d->held_len)
		return -1;
	memcpy(d->held + d->held_len, data, (size_t)len);
	d->held_len += (size_t)len;
	return len;
}

static int
on_write(BIO *b, const char *data, int len)
{
	struct tls_dial *d = BIO_get_data(b);
	int n;

	BIO_clear_retry_flags(b);
	if (d == NULL || d->broken)
		return -1;
	if (d->tunnelling && d->tunnel.state != TUNNEL_OPEN)
		return hold(d, data, len);
	n = BIO_write(BIO_next(b), data, len);
	BIO_copy_next_retry(b);
	return n;
}

/* The answer is complete: what was held goes out.  A fresh socket has room for it. */
static int
release(struct tls_dial *d, BIO *next)
{
	if (BIO_write(next, d->held, (int)d->held_len) != (int)d->held_len)
		return -1;
	d->held_len = 0;
	return 0;
}

/* Reads of the proxy's answer what is there.  0: the tunnel is open; -1: not yet, or never. */
static int
read_answer(struct tls_dial *d, BIO *b)
{
	uint8_t mem[READ_BYTES];
	BIO *next = BIO_next(b);

	while (d->tunnel.state < TUNNEL_OPEN) {
		int n = BIO_read(next, mem, sizeof(mem));

		if (n <= 0) {
			BIO_copy_next_retry(b);
			d->closed = !BIO_should_retry(b);
			return -1;
		}
		/* In TLS the client speaks first: more than the answer can't be there. */
		if (tunnel_feed(&d->tunnel, mem, (size_t)n) != (size_t)n && d->tunnel.state == TUNNEL_OPEN)
			d->tunnel.state = TUNNEL_GARBAGE;
	}
	return d->tunnel.state == TUNNEL_OPEN ? release(d, next) : -1;
}

static int
on_read(BIO *b, char *out, int size)
{
	struct tls_dial *d = BIO_get_data(b);
	int n;

	BIO_clear_retry_flags(b);
	if (d == NULL || d->broken || (d->tunnelling && d->tunnel.state > TUNNEL_OPEN))
		return -1;
	if (d->tunnelling && d->tunnel.state != TUNNEL_OPEN && read_answer(d, b) != 0)
		return -1;
	n = BIO_read(BIO_next(b), out, size);
	BIO_copy_next_retry(b);
	return n;
}

static long
on_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	BIO *next = BIO_next(b);

	return next != NULL ? BIO_ctrl(next, cmd, num, ptr) : 0;
}

static int
on_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

/* One for the process: OpenSSL numbers the types. */
static BIO_METHOD *
method(void)
{
	static BIO_METHOD *m;

	if (m != NULL)
		return m;
	m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_FILTER, "proxy tunnel");
	if (m != NULL && (BIO_meth_set_write(m, on_write) != 1 || BIO_meth_set_read(m, on_read) != 1 ||
			     BIO_meth_set_ctrl(m, on_ctrl) != 1 || BIO_meth_set_create(m, on_create) != 1)) {
		BIO_meth_free(m);
		m = NULL;
	}
	return m;
}

/* --- life --- */

static bool
take(char *out, size_t size, const char *text)
{
	int n = snprintf(out, size, "%s", text);

	return n >= 0 && (size_t)n < size;
}

struct tls_dial *
tls_dial_new(const struct tls_dial_conf *conf)
{
	struct tls_dial *d = mem_calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	if (!take(d->sni, sizeof(d->sni), conf->sni) || !take(d->check, sizeof(d->check), conf->check) ||
	    !take(d->connect, sizeof(d->connect), conf->connect) || method() == NULL ||
	    (d->bio = BIO_new(method())) == NULL) {
		ERR_clear_error();
		mem_free(d);
		return NULL;
	}
	BIO_set_data(d->bio, d);
	if (conf->authorities != NULL) {
		d->authorities = conf->authorities;
		X509_STORE_up_ref(d->authorities);
	}
	d->anonymous = conf->anonymous;
	tunnel_init(&d->tunnel);
	return d;
}

void
tls_dial_free(struct tls_dial *d)
{
	if (d == NULL)
		return;
	/* A session may still have it. */
	BIO_set_data(d->bio, NULL);
	BIO_free_all(d->bio);
	X509_STORE_free(d->authorities);
	OPENSSL_cleanse(d, sizeof(*d));
	mem_free(d);
}

/* --- one session --- */

static bool
demand_name(SSL *ssl, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
		return true;
	ERR_clear_error();
	return SSL_set1_host(ssl, name) == 1;
}

/* OpenSSL keeps the last callback when it is given none. */
static int
as_verified(int ok, X509_STORE_CTX *ctx)
{
	(void)ctx;
	return ok;
}

static bool
put_right(struct tls_dial *d, SSL *ssl)
{
	char *sni = d->sni[0] != '\0' ? d->sni : NULL;

	/* OpenSSL's own verification and nothing else, as for accepted sessions. */
	SSL_set_verify(ssl, SSL_VERIFY_PEER, as_verified);
	if (SSL_set_tlsext_host_name(ssl, sni) != 1)
		return false;
	if (d->authorities != NULL && SSL_set1_verify_cert_store(ssl, d->authorities) != 1)
		return false;
	if (d->anonymous)
		SSL_certs_clear(ssl);
	return d->check[0] == '\0' || demand_name(ssl, d->check);
}

/* Puts our BIO on the session's socket. */
static void
insert(struct tls_dial *d, SSL *ssl)
{
	BIO *socket_bio = SSL_get_rbio(ssl);

	BIO_up_ref(socket_bio);
	BIO_push(d->bio, socket_bio);
	BIO_up_ref(d->bio);
	SSL_set_bio(ssl, d->bio, d->bio);
}

void
tls_dial_begin(struct tls_dial *d, void *ssl)
{
	int len = (int)strlen(d->connect);

	if (d->begun)
		return;
	d->begun = true;
	d->broken = !put_right(d, ssl);
	d->tunnelling = len != 0 && !d->broken;
	if (d->tunnelling && BIO_write(SSL_get_wbio(ssl), d->connect, len) != len)
		d->closed = true;
	OPENSSL_cleanse(d->connect, sizeof(d->connect));
	if (d->broken || d->tunnelling)
		insert(d, ssl);
}

void
tls_dial_end(struct tls_dial *d, void *ssl)
{
	BIO *below;

	if (!d->tunnelling)
		return;
	below = BIO_next(SSL_get_rbio(ssl));
	BIO_up_ref(below);
	SSL_set_bio(ssl, below, below);
	d->tunnelling = false;
}

const struct tunnel *
tls_dial_tunnel(const struct tls_dial *d, bool *closed)
{
	*closed = d->closed;
	return d->tunnelling ? &d->tunnel : NULL;
}

/* --- authorities --- */

static int
read_all(FILE *f, X509_STORE *store)
{
	X509 *x;
	int n = 0;

	while ((x = PEM_read_X509(f, NULL, tls_no_passphrase, NULL)) != NULL) {
		int ok = n < AUTHORITIES_MAX && X509_STORE_add_cert(store, x) == 1;

		X509_free(x);
		if (!ok)
			return 0;
		n++;
	}
	return n;
}

void *
tls_authorities_read(const char *path)
{
	FILE *f = fopen(path, "re");
	X509_STORE *store;

	if (f == NULL) {
		log_error("server-ca: %s: %s (the file must be readable by the user transportd runs as)",
		    path, strerror(errno));
		return NULL;
	}
	store = X509_STORE_new();
	if (store != NULL && read_all(f, store) == 0) {
		log_error("server-ca: %s: holds no PEM certificate, or too many", path);
		X509_STORE_free(store);
		store = NULL;
	}
	fclose(f);
	ERR_clear_error();
	return store;
}

void
tls_authorities_free(void *authorities)
{
	X509_STORE_free(authorities);
}
