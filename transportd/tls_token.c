#include "transportd/tls_token.h"

#include "transportd/tls_impl.h" /* OpenSSL comes before err.h */

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "transportd/token.h"

enum { HALF = TOKEN_SIG_BYTES / 2, DER_SIG_MAX = 80 };

static int
refuse(const char **why, const char *text)
{
	*why = text;
	ERR_clear_error();
	return ERR_AUTH;
}

/* The algorithm goes with the key and nothing else.  ERR_CRYPTO for other keys. */
static int
alg_of(const EVP_PKEY *key, enum token_alg *out)
{
	char group[32];

	if (EVP_PKEY_is_a(key, "ED25519")) {
		*out = TOKEN_EDDSA;
		return 0;
	}
	if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1 ||
	    strcmp(group, SN_X9_62_prime256v1) != 0)
		return ERR_CRYPTO;
	*out = TOKEN_ES256;
	return 0;
}

static const EVP_MD *
digest_of(enum token_alg alg)
{
	return alg == TOKEN_ES256 ? EVP_sha256() : NULL;
}

/* --- signing --- */

/* ASN.1, which OpenSSL makes, to the two numbers of RFC 7518 section 3.4. */
static bool
flatten(const uint8_t *der, size_t len, uint8_t out[TOKEN_SIG_BYTES])
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
	bool ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, HALF) == HALF &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + HALF, HALF) == HALF;

	ECDSA_SIG_free(sig);
	return ok;
}

static int
sign(EVP_PKEY *key, enum token_alg alg, const void *data, size_t len, uint8_t out[TOKEN_SIG_BYTES])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[DER_SIG_MAX];
	size_t size = sizeof(der);
	bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, digest_of(alg), NULL, key) == 1 &&
		  EVP_DigestSign(ctx, der, &size, data, len) == 1;

	EVP_MD_CTX_free(ctx);
	if (ok && alg == TOKEN_ES256)
		ok = flatten(der, size, out);
	else if (ok && size == TOKEN_SIG_BYTES)
		memcpy(out, der, size);
	else
		ok = false;
	ERR_clear_error();
	return ok ? 0 : ERR_CRYPTO;
}

/* --- making --- */

static int
add_cert(struct token_parts *p, size_t *used, X509 *cert)
{
	uint8_t *at = p->der + *used;
	int len = i2d_X509(cert, NULL);

	if (len <= 0)
		return ERR_CRYPTO;
	if (p->chain_count == TOKEN_CHAIN_MAX || (size_t)len > sizeof(p->der) - *used)
		return ERR_LIMIT;
	p->chain[p->chain_count++] = (struct token_cert){at, (size_t)len};
	*used += (size_t)len;
	return i2d_X509(cert, &at) == len ? 0 : ERR_CRYPTO;
}

static int
fill(struct token_parts *p, const struct tls_material *m)
{
	struct token t;
	size_t used = 0;
	int err;

	if ((err = alg_of(m->key, &p->alg)) != 0 ||
	    (err = token_identity(m->uri, &t.mesh_id, &t.node_id)) != 0 ||
	    (err = add_cert(p, &used, m->cert)) != 0)
		return err;
	memcpy(p->subject, m->uri, sizeof(p->subject));
	for (int i = 0; i < sk_X509_num(m->chain) && err == 0; i++)
		err = add_cert(p, &used, sk_X509_value(m->chain, i));
	return err;
}

static int
make(const struct tls_material *m, struct token_parts *p, struct buf *out)
{
	uint8_t jti[TOKEN_JTI_BYTES], signature[TOKEN_SIG_BYTES];
	int err;

	crypto_random(jti, sizeof(jti));
	if ((err = fill(p, m)) != 0 || (err = token_compose(out, p, jti)) != 0 ||
	    (err = sign(m->key, p->alg, buf_head(out), buf_left(out), signature)) != 0)
		return err;
	return token_seal(out, signature);
}

int
tls_token_make(struct tls *t, const char *audience, int64_t now_unix_s, int64_t lifetime_s, char *out)
{
	struct token_parts *p;
	struct buf b;
	int err;

	_Static_assert(
	    (int)TLS_URI_SIZE == (int)TOKEN_URI_SIZE, "a token's subject is the certificate's URI");
	MUST(t->m.cert != NULL && lifetime_s <= TOKEN_LIFETIME_MAX_S);
	p = mem_calloc(1, sizeof(*p));
	if (p == NULL)
		return ERR_NOMEM;
	snprintf(p->audience, sizeof(p->audience), "%s", audience);
	p->iat = p->nbf = now_unix_s;
	p->exp = now_unix_s + lifetime_s;
	buf_init_fixed(&b, out, TOKEN_MAX_BYTES);
	err = make(&t->m, p, &b);
	mem_free(p);
	out[err == 0 ? buf_left(&b) : 0] = '\0';
	return err == 0 ? (int)buf_left(&b) : err;
}

/* --- verifying --- */

/* The two numbers to the only ASN.1 for them; its length, 0 on errors. */
static int
unflatten(const uint8_t flat[TOKEN_SIG_BYTES], uint8_t der[DER_SIG_MAX])
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(flat, HALF, NULL), *s = BN_bin2bn(flat + HALF, HALF, NULL);
	int len = 0;

	if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL; /* they are the signature's now */
		len = i2d_ECDSA_SIG(sig, &der);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return len > 0 ? len : 0;
}

static bool
signature_right(X509 *leaf, const struct token_parts *p, const char *text)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[DER_SIG_MAX];
	int len = p->alg == TOKEN_ES256 ? unflatten(p->signature, der) : TOKEN_SIG_BYTES;
	bool ok = ctx != NULL && len != 0 &&
		  EVP_DigestVerifyInit(ctx, NULL, digest_of(p->alg), NULL, X509_get0_pubkey(leaf)) == 1 &&
		  EVP_DigestVerify(ctx, p->alg == TOKEN_ES256 ? der : p->signature, (size_t)len,
		      (const uint8_t *)text, p->signed_len) == 1;

	EVP_MD_CTX_free(ctx);
	return ok;
}

/* Exactly one certificate, and no byte behind it. */
static X509 *
decode_cert(const struct token_cert *c)
{
	const uint8_t *at = c->der;
	X509 *x = d2i_X509(NULL, &at, (long)c->len);

	if (x != NULL && at == c->der + c->len)
		return x;
	X509_free(x);
	return NULL;
}

static STACK_OF(X509) * decode_chain(const struct token_parts *p)
{
	STACK_OF(X509) *chain = sk_X509_new_null();

	for (size_t i = 0; chain != NULL && i < p->chain_count; i++) {
		X509 *x = decode_cert(&p->chain[i]);

		if (x != NULL && sk_X509_push(chain, x) != 0)
			continue;
		X509_free(x);
		sk_X509_pop_free(chain, X509_free);
		return NULL;
	}
	return chain;
}

/* NULL, or why the certificates of the token are not believed. */
static const char *
chain_wrong(const struct tls *t, STACK_OF(X509) * chain, int64_t now_unix_s)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	const char *wrong = "token: out of memory";

	if (ctx != NULL && X509_STORE_CTX_init(ctx, t->m.store, sk_X509_value(chain, 0), chain) == 1 &&
	    X509_STORE_CTX_set_default(ctx, "ssl_client") == 1) {
		X509_STORE_CTX_set_time(ctx, 0, (time_t)now_unix_s);
		X509_STORE_CTX_set_depth(ctx, TLS_CHAIN_MAX);
		if (X509_verify_cert(ctx) != 1)
			wrong = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
		else if (tls_cert_revoked(t->m.crls, X509_STORE_CTX_get0_chain(ctx)))
			wrong = X509_verify_cert_error_string(X509_V_ERR_CERT_REVOKED);
		else
			wrong = NULL;
	}
	X509_STORE_CTX_free(ctx);
	return wrong;
}

static int
check_leaf(X509 *leaf, const struct token_parts *p, const char **why)
{
	char uri[TLS_URI_SIZE];
	enum token_alg alg;

	if (X509_check_ca(leaf) != 0 || (X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE) == 0)
		return refuse(why, "token: the certificate is not one of a node");
	if (alg_of(X509_get0_pubkey(leaf), &alg) != 0)
		return refuse(why, "token: the certificate's key must be P-256 or Ed25519");
	if (alg != p->alg)
		return refuse(why, "token: alg is not that of the certificate's key");
	if (tls_cert_uri(leaf, uri) != 0 || strcmp(uri, p->subject) != 0)
		return refuse(why, "token: sub must be the only URI of the certificate");
	return 0;
}

static int
check_mesh(const struct tls *t, const struct token *token, const char **why)
{
	struct token own;

	if (token_identity(t->m.uri, &own.mesh_id, &own.node_id) == 0 &&
	    ulid_compare(&own.mesh_id, &token->mesh_id) == 0)
		return 0;
	return refuse(why, "token: of another mesh");
}

/* Signature before chain: cheaper, and it covers the chain. */
static int
check_parts(const struct tls *t, const struct token_parts *p, const char *text, int64_t now_unix_s,
    struct token *out, const char **why)
{
	STACK_OF(X509) *chain = decode_chain(p);
	const char *wrong;
	int err;

	if (chain == NULL)
		return refuse(why, "token: x5c holds no certificates");
	err = check_leaf(sk_X509_value(chain, 0), p, why);
	if (err == 0 && !signature_right(sk_X509_value(chain, 0), p, text))
		err = refuse(why, "token: wrong signature");
	if (err == 0 && (wrong = chain_wrong(t, chain, now_unix_s)) != NULL)
		err = refuse(why, wrong);
	if (err == 0)
		out->cert_until = tls_cert_until(sk_X509_value(chain, 0));
	sk_X509_pop_free(chain, X509_free);
	ERR_clear_error();
	return err;
}

int
tls_token_check(const struct tls *t, const char *text, size_t len, const char *audience, int64_t now_unix_s,
    struct token *out, const char **why)
{
	struct token_parts *p = mem_calloc(1, sizeof(*p));
	int err;

	if (p == NULL) {
		*why = "out of memory";
		return ERR_NOMEM;
	}
	if ((err = token_parse(text, len, p, why)) == 0 &&
	    (err = token_claims(p, audience, now_unix_s, out, why)) == 0 &&
	    (err = check_mesh(t, out, why)) == 0)
		err = check_parts(t, p, text, now_unix_s, out, why);
	mem_free(p);
	return err;
}
