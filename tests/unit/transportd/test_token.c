/* Tokens: what a node makes another takes, and the claims, signatures and spellings that are refused. */
#include "tests/rig/forge.h"

#include "common/base/mem.h"

static void
a_node_takes_anothers(void **state)
{
	char own[TOKEN_MAX_BYTES + 1];
	struct token t;
	const char *why;
	int len = tls_token_make(tls_a, audience, now, LIFE_S, own);

	(void)state;
	assert_true(len > 0 && strlen(own) == (size_t)len);
	assert_int_equal(tls_token_check(tls_b, own, (size_t)len, audience, now, &t, &why), 0);
	assert_int_equal(t.node_id, a->id);
	assert_int_equal(ulid_compare(&t.mesh_id, &r.mesh), 0);
	assert_int_equal(t.expires, now + LIFE_S);
	assert_int_equal(t.cert_until, tls_not_after(tls_a));
	assert_int_equal(token_until(&t), now + LIFE_S + TOKEN_LEEWAY_S);
	t.cert_until = now + 10;
	assert_int_equal(token_until(&t), now + 10);
	assert_taken(honest());
}

static void
ed25519_too(void **state)
{
	EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	char own[TOKEN_MAX_BYTES + 1], san[160];
	struct tls *t = tls_new(on_alert, NULL);
	struct token token;
	const char *why;
	struct forge f = honest();
	X509 *x;
	int len;

	(void)state;
	snprintf(san, sizeof(san), "URI:%s", uri);
	x = rig_cert(ed, "a", san, r.ca, r.ca_key, 3600);
	rig_pem(a->dir, "tls.crt", x, NULL);
	rig_pem(a->dir, "tls.key", NULL, ed);
	assert_int_equal(load(t, a, NULL), 0);
	len = tls_token_make(t, audience, now, LIFE_S, own);
	assert_true(len > 0);
	assert_int_equal(tls_token_check(tls_b, own, (size_t)len, audience, now, &token, &why), 0);
	assert_int_equal(token.node_id, a->id);
	/* The algorithm is the key's, whatever the header says. */
	f.certs[0] = x;
	f.key = ed;
	f.alg = "EdDSA";
	assert_taken(f);
	f.alg = "ES256";
	assert_refused(f, "alg is not that");
	f = honest();
	f.alg = "EdDSA";
	assert_refused(f, "alg is not that");
	rig_pem(a->dir, "tls.crt", leaf, NULL);
	rig_pem(a->dir, "tls.key", NULL, key);
	X509_free(x);
	EVP_PKEY_free(ed);
	tls_free(t);
}

static void
algorithms(void **state)
{
	static const char *const others[] = {"none", "HS256", "RS256", "ES384", "PS256", "es256", ""};
	struct forge f;

	(void)state;
	for (size_t i = 0; i < COUNT(others); i++) {
		f = honest();
		f.alg = others[i];
		assert_refused(f, "alg must be");
	}
	f = honest();
	f.alg = "none";
	f.sig = SIG_EMPTY;
	assert_refused(f, "alg must be");
	f = honest();
	f.alg = "HS256";
	f.sig = SIG_HMAC;
	assert_refused(f, "alg must be");
	f = honest();
	f.sig = SIG_HMAC; /* says ES256 */
	assert_refused(f, "64 bytes");
	f = honest();
	f.typ = "JOSE";
	assert_refused(f, "typ");
	f = honest();
	f.more_header = ", \"crit\": [\"exp\"]";
	assert_refused(f, "critical");
	f = honest();
	f.more_header = ", \"kid\": \"x\", \"jku\": \"https://example.net/\"";
	assert_taken(f);
}

static void
signatures(void **state)
{
	EVP_PKEY *other = EVP_EC_gen("P-256");
	struct forge f = honest();

	(void)state;
	f.sig = SIG_DER;
	assert_refused(f, "64 bytes");
	f.sig = SIG_EMPTY;
	assert_refused(f, "64 bytes");
	f.sig = SIG_TAMPERED;
	assert_refused(f, "wrong signature");
	f.sig = SIG_RIGHT;
	f.key = other;
	assert_refused(f, "wrong signature");
	EVP_PKEY_free(other);
}

static void
times(void **state)
{
	(void)state;
	assert_refused(timed(-400, -400, -100), "expired");
	assert_refused(timed(-400, -400, -TOKEN_LEEWAY_S), "expired");
	assert_taken(timed(-400, -400, -TOKEN_LEEWAY_S + 1));
	assert_refused(timed(0, TOKEN_LEEWAY_S + 1, 300), "not valid yet");
	assert_taken(timed(0, TOKEN_LEEWAY_S, 300));
	assert_refused(timed(TOKEN_LEEWAY_S + 1, 0, 300), "not valid yet");
	assert_taken(timed(TOKEN_LEEWAY_S, 0, 300));
	assert_taken(timed(0, 0, TOKEN_LIFETIME_MAX_S + TOKEN_LEEWAY_S));
	assert_refused(timed(0, 0, TOKEN_LIFETIME_MAX_S + TOKEN_LEEWAY_S + 1), "an hour");
	assert_refused(timed(0, 0, 0), "an hour");
	assert_refused(timed(10, 0, 5), "an hour");
	assert_refused(timed(0, 20, 10), "an hour");
}

static struct forge
claims(const char *format, ...)
{
	struct forge f = {0};
	va_list ap;

	va_start(ap, format);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	vsnprintf(f.claims, sizeof(f.claims), format, ap);
#pragma GCC diagnostic pop
	va_end(ap);
	return f;
}

#define TIMES "\"iat\": 1, \"nbf\": 1, \"exp\": 2"

static void
claims_that_lack_or_lie(void **state)
{
	char other[NODEID_TEXT_SIZE];

	(void)state;
	nodeid_format(other, b->id ^ 1);
	assert_refused(claims("[]"), "no JSON object");
	assert_refused(claims("{"), "no JSON object");
	assert_refused(claims("{} x"), "no JSON object");
	assert_refused(claims("{\"a\": 1, \"a\": 1}"), "twice");
	assert_refused(claims("{\"sub\": \"%s\"}", uri), "iss and sub");
	assert_refused(claims("{\"iss\": \"%s\"}", uri), "iss and sub");
	assert_refused(claims("{\"iss\": \"x%s\", \"sub\": \"%s\"}", uri, uri), "iss and sub");
	assert_refused(
	    claims("{\"iss\": \"%s\", \"sub\": \"%s\", \"aud\": [\"%s\"], \"jti\": \"x\", " TIMES "}", uri,
		uri, audience),
	    "aud");
	assert_refused(
	    claims("{\"iss\": \"%s\", \"sub\": \"%s\", \"aud\": \"%s\", \"jti\": \"x\", \"iat\": 1, "
		   "\"nbf\": 1}",
		uri, uri, audience),
	    "iat, nbf and exp");
	assert_refused(
	    claims("{\"iss\": \"%s\", \"sub\": \"%s\", \"aud\": \"%s\", \"jti\": \"x\", \"iat\": 1, "
		   "\"nbf\": 1, \"exp\": \"2\"}",
		uri, uri, audience),
	    "iat, nbf and exp");
	assert_refused(
	    claims("{\"iss\": \"%s\", \"sub\": \"%s\", \"aud\": \"%s\", \"jti\": \"x\", \"iat\": 1, "
		   "\"nbf\": 1, \"exp\": 9223372036854775807}",
		uri, uri, audience),
	    "iat, nbf and exp");
	assert_refused(
	    claims("{\"iss\": \"%s\", \"sub\": \"%s\", \"aud\": \"%s\", \"jti\": \"x\", \"iat\": -1, "
		   "\"nbf\": 1, \"exp\": 2}",
		uri, uri, audience),
	    "iat, nbf and exp");
	assert_refused(
	    claims("{\"iss\": \"%s\", \"sub\": \"%s\", \"aud\": \"%s\", " TIMES "}", uri, uri, audience),
	    "jti");
	assert_refused(
	    claims("{\"iss\": \"%s\", \"sub\": \"%s\", \"aud\": \"%s\", \"jti\": \"x\", \"iat\": %lld, "
		   "\"nbf\": %lld, \"exp\": %lld}",
		uri, uri, other, (long long)now, (long long)now, (long long)now + 60),
	    "another node");
}

/* A certificate with other names, and a token that says what it says. */
static void
refused_with(const char *san, const char *sub, const char *words)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	X509 *x = rig_cert(k, "x", san, r.ca, r.ca_key, 3600);
	struct forge f =
	    claims("{\"iss\": \"%s\", \"sub\": \"%s\", \"aud\": \"%s\", \"jti\": \"x\", \"iat\": "
		   "%lld, \"nbf\": %lld, \"exp\": %lld}",
		sub, sub, audience, (long long)now, (long long)now, (long long)now + 60);

	f.certs[0] = x;
	f.key = k;
	assert_refused(f, words);
	X509_free(x);
	EVP_PKEY_free(k);
}

static void
names(void **state)
{
	char san[512], other[TLS_URI_SIZE], mesh[ULID_TEXT_SIZE], lower[TLS_URI_SIZE];
	struct ulid foreign = r.mesh;

	(void)state;
	nodeid_format(san, a->id ^ 1);
	ulid_format(mesh, &r.mesh);
	snprintf(other, sizeof(other), "spiffe://%s/node/%.13s", mesh, san);
	snprintf(san, sizeof(san), "URI:%s,URI:%s", uri, other);
	refused_with(san, uri, "the only URI");
	snprintf(san, sizeof(san), "URI:%s", other);
	refused_with(san, uri, "the only URI");
	refused_with("DNS:example.net", uri, "the only URI");
	snprintf(san, sizeof(san), "URI:spiffe://%s/client/bob", mesh);
	refused_with(san, san + 4, "spiffe://MESH/node/NODE");
	foreign.b[15] ^= 1;
	ulid_format(mesh, &foreign);
	snprintf(other, sizeof(other), "spiffe://%s/node/%s", mesh, audience);
	snprintf(san, sizeof(san), "URI:%s", other);
	refused_with(san, other, "another mesh");
	snprintf(lower, sizeof(lower), "%s", uri);
	lower[strlen("spiffe://")] = 'o'; /* read as 0 */
	snprintf(san, sizeof(san), "URI:%s", lower);
	refused_with(san, lower, "spiffe://MESH/node/NODE");
}

static void
spelling(void **state)
{
	struct forge f = honest();
	size_t len;

	(void)state;
	len = forge(&f);
	memcpy(text + len, "=", 2);
	assert_refused_text(len + 1, "signature must be");
	text[len] = '.';
	assert_refused_text(len + 1, "signature must be");
	text[len] = '\0';
	assert_refused_text(len + 1, "signature must be");
	text[len] = ' ';
	assert_refused_text(len + 1, "signature must be");
	/* 64 bytes leave 2 bits of the last character: only 0 is right there. */
	text[len - 1] = text[len - 1] == 'B' ? 'C' : 'B';
	assert_refused_text(len, "signature must be");
	len = forge(&f);
	text[0] = '=';
	assert_refused_text(len, "base64url");
	len = forge(&f);
	*strchr(text, '.') = '+';
	assert_refused_text(len, "three parts");
	assert_refused_text(0, "three parts");
	text[0] = text[1] = '.';
	assert_refused_text(2, "no JSON object");
	memset(text, 'A', sizeof(text));
	assert_refused_text(TOKEN_MAX_BYTES + 1, "8 KiB");
	assert_refused_text(TOKEN_MAX_BYTES, "three parts");
	f.more_header = ", \"alg\": \"ES256\"";
	assert_refused(f, "twice");
	f.more_header = ", \"x5c\": []";
	assert_refused(f, "twice");
}

/* --- memory --- */

static void
every_allocation_may_fail(void **state)
{
	char own[TOKEN_MAX_BYTES + 1];
	struct token t;
	const char *why;
	int len, err;

	(void)state;
	for (unsigned long k = 1;; k++) {
		mem_fail_at(k);
		len = tls_token_make(tls_a, audience, now, LIFE_S, own);
		if (mem_count() < k)
			break;
		assert_true(len == ERR_NOMEM && own[0] == '\0');
	}
	mem_fail_at(0);
	assert_true(len > 0);
	for (unsigned long k = 1;; k++) {
		mem_fail_at(k);
		err = tls_token_check(tls_b, own, (size_t)len, audience, now, &t, &why);
		if (mem_count() < k)
			break;
		/* jansson does not always say that it was the memory. */
		assert_true(err == ERR_NOMEM || err == ERR_FORMAT);
	}
	mem_fail_at(0);
	assert_int_equal(err, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_node_takes_anothers),
	    cmocka_unit_test(ed25519_too),
	    cmocka_unit_test(algorithms),
	    cmocka_unit_test(signatures),
	    cmocka_unit_test(times),
	    cmocka_unit_test(claims_that_lack_or_lie),
	    cmocka_unit_test(names),
	    cmocka_unit_test(spelling),
	    cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, forge_setup, forge_teardown);
}
