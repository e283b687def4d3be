/*
 * forge: tokens made by hand, right and wrong, and who takes them: node a makes, node b verifies.
 *
 * Header-only and with static state, because tests are single files.
 */
#ifndef TESTS_RIG_FORGE_H
#define TESTS_RIG_FORGE_H

#include "tests/rig/transport.h"
#include "tests/unit/unit.h"

#include <openssl/core_names.h>
#include <openssl/hmac.h>

#include "common/base/base64.h"
#include "transportd/tls.h"
#include "transportd/tls_token.h"
#include "transportd/token.h"

enum { LIFE_S = 300 };

static struct rig r;
static struct rig_node *a, *b; /* a makes tokens, b verifies them */
static struct tls *tls_a, *tls_b;
static EVP_PKEY *key; /* a's, as rig_issue() wrote it */
static X509 *leaf;
static char uri[TLS_URI_SIZE], audience[NODEID_TEXT_SIZE];
static int64_t now;

static inline void
on_alert(void *arg, int fd, bool sent, const char *text)
{
	(void)arg;
	(void)fd;
	(void)sent;
	(void)text;
}

static inline int
load(struct tls *t, const struct rig_node *n, const char *crl_name)
{
	char cert[PATH_MAX], key_path[PATH_MAX], ca[PATH_MAX], crl[PATH_MAX];
	struct tls_files files = {.cert = cert, .key = key_path, .ca = ca, .crl = crl_name ? crl : NULL};

	snprintf(cert, sizeof(cert), "%s/tls.crt", n->dir);
	snprintf(key_path, sizeof(key_path), "%s/tls.key", n->dir);
	snprintf(ca, sizeof(ca), "%s/ca.crt", n->dir);
	snprintf(crl, sizeof(crl), "%s/%s", n->dir, crl_name ? crl_name : "");
	return tls_load(t, &files);
}

static inline void *
read_pem(const struct rig_node *n, const char *name, bool cert)
{
	char path[PATH_MAX];
	FILE *f;
	void *p;

	snprintf(path, sizeof(path), "%s/%s", n->dir, name);
	f = fopen(path, "r");
	assert_non_null(f);
	p = cert ? (void *)PEM_read_X509(f, NULL, NULL, NULL)
		 : (void *)PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(p);
	return p;
}

static inline int
forge_setup(void **state)
{
	char mesh[ULID_TEXT_SIZE], node[NODEID_TEXT_SIZE];

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	tls_a = tls_new(on_alert, NULL);
	tls_b = tls_new(on_alert, NULL);
	assert_int_equal(load(tls_a, a, NULL), 0);
	assert_int_equal(load(tls_b, b, NULL), 0);
	key = read_pem(a, "tls.key", false);
	leaf = read_pem(a, "tls.crt", true);
	ulid_format(mesh, &r.mesh);
	nodeid_format(node, a->id);
	snprintf(uri, sizeof(uri), "spiffe://%s/node/%s", mesh, node);
	nodeid_format(audience, b->id);
	now = (int64_t)(clock_unix_ms() / 1000);
	return 0;
}

static inline int
forge_teardown(void **state)
{
	(void)state;
	X509_free(leaf);
	EVP_PKEY_free(key);
	tls_free(tls_a);
	tls_free(tls_b);
	rig_fini(&r);
	return 0;
}

/* --- forging --- */

enum sig_kind { SIG_RIGHT, SIG_DER, SIG_HMAC, SIG_EMPTY, SIG_TAMPERED };

struct forge {
	const char *alg, *typ;
	const char *more_header; /* ", \"x\": 1" */
	char claims[1024];
	X509 *certs[10]; /* NULL: a's only */
	EVP_PKEY *key;   /* NULL: a's */
	enum sig_kind sig;
};

static char text[16384];

static inline void
put(struct buf *out, enum base64_kind kind, const void *data, size_t len)
{
	assert_int_equal(base64_encode(out, kind, data, len), 0);
}

static inline void
put_text(struct buf *out, const char *s)
{
	assert_int_equal(buf_put_bytes(out, s, strlen(s)), 0);
}

static inline void
put_header(struct buf *out, const struct forge *f)
{
	static char json[16384];
	X509 *only[] = {leaf, NULL}, *const *certs = f->certs[0] != NULL ? f->certs : only;
	struct buf h;

	buf_init_fixed(&h, json, sizeof(json));
	put_text(&h, "{\"alg\": \"");
	put_text(&h, f->alg != NULL ? f->alg : "ES256");
	put_text(&h, "\", \"typ\": \"");
	put_text(&h, f->typ != NULL ? f->typ : "JWT");
	put_text(&h, "\", \"x5c\": [");
	for (size_t i = 0; i < COUNT(f->certs) && certs[i] != NULL; i++) {
		uint8_t *der = NULL;
		int len = i2d_X509(certs[i], &der);

		put_text(&h, i == 0 ? "\"" : ", \"");
		put(&h, BASE64_STD, der, (size_t)len);
		put_text(&h, "\"");
		OPENSSL_free(der);
	}
	put_text(&h, "]");
	put_text(&h, f->more_header != NULL ? f->more_header : "");
	put_text(&h, "}");
	put(out, BASE64_URL, json, buf_left(&h));
}

static inline size_t
sign_as(const struct forge *f, const struct buf *in, uint8_t *out, size_t size)
{
	EVP_PKEY *k = f->key != NULL ? f->key : key;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ed = EVP_PKEY_is_a(k, "ED25519");
	const uint8_t *der = out;
	ECDSA_SIG *sig;

	assert_int_equal(EVP_DigestSignInit(ctx, NULL, ed ? NULL : EVP_sha256(), NULL, k), 1);
	assert_int_equal(EVP_DigestSign(ctx, out, &size, buf_head(in), buf_left(in)), 1);
	EVP_MD_CTX_free(ctx);
	if (ed || f->sig == SIG_DER || !EVP_PKEY_is_a(k, "EC"))
		return size;
	sig = d2i_ECDSA_SIG(NULL, &der, (long)size);
	assert_non_null(sig);
	BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32);
	ECDSA_SIG_free(sig);
	return 64;
}

/* RFC 8725 section 2.1: HMAC keyed with what everybody knows. */
static inline size_t
hmac_as(const struct buf *in, uint8_t *out)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	unsigned n = 0;

	HMAC(EVP_sha256(), der, len, buf_head(in), buf_left(in), out, &n);
	OPENSSL_free(der);
	return n;
}

/* Makes text from f; its length. */
static inline size_t
forge(struct forge *f)
{
	uint8_t sig[512] = {0};
	size_t n = 0;
	struct buf out;

	buf_init_fixed(&out, text, sizeof(text) - 1);
	put_header(&out, f);
	put_text(&out, ".");
	put(&out, BASE64_URL, f->claims, strlen(f->claims));
	if (f->sig == SIG_HMAC)
		n = hmac_as(&out, sig);
	else if (f->sig != SIG_EMPTY)
		n = sign_as(f, &out, sig, sizeof(sig));
	if (f->sig == SIG_TAMPERED)
		sig[10] ^= 1;
	put_text(&out, ".");
	put(&out, BASE64_URL, sig, n);
	text[buf_left(&out)] = '\0';
	return buf_left(&out);
}

/* The right claims, times relative to now. */
static inline struct forge
honest(void)
{
	struct forge f = {0};

	snprintf(f.claims, sizeof(f.claims),
	    "{\"iss\": \"%s\", \"sub\": \"%s\", \"aud\": \"%s\", \"iat\": %lld, \"nbf\": %lld, \"exp\": "
	    "%lld, "
	    "\"jti\": \"x\"}",
	    uri, uri, audience, (long long)now, (long long)now, (long long)now + LIFE_S);
	return f;
}

static inline struct forge
timed(int64_t iat, int64_t nbf, int64_t exp)
{
	struct forge f = {0};

	snprintf(f.claims, sizeof(f.claims),
	    "{\"iss\": \"%s\", \"sub\": \"%s\", \"aud\": \"%s\", \"iat\": %lld, \"nbf\": %lld, \"exp\": "
	    "%lld, "
	    "\"jti\": \"x\"}",
	    uri, uri, audience, (long long)(now + iat), (long long)(now + nbf), (long long)(now + exp));
	return f;
}

static inline int
check(size_t len, struct token *out, const char **why)
{
	*why = "";
	return tls_token_check(tls_b, text, len, audience, now, out, why);
}

static inline void
assert_refused_text(size_t len, const char *words)
{
	struct token t;
	const char *why;

	assert_int_not_equal(check(len, &t, &why), 0);
	if (strstr(why, words) == NULL)
		fail_msg("refused because of \"%s\", not \"%s\"", why, words);
}

static inline void
assert_refused(struct forge f, const char *words)
{
	assert_refused_text(forge(&f), words);
}

static inline void
assert_taken(struct forge f)
{
	struct token t;
	const char *why;

	if (check(forge(&f), &t, &why) != 0)
		fail_msg("refused: %s", why);
	assert_int_equal(t.node_id, a->id);
}

#endif
