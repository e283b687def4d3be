/* Tokens: the certificates behind them, and the lists of those that were revoked. */
#include "tests/rig/forge.h"

#include "tests/rig/crl.h"

static void
chains(void **state)
{
	EVP_PKEY *k = EVP_EC_gen("P-256"), *p384 = EVP_EC_gen("P-384"), *rsa = EVP_RSA_gen(2048);
	X509 *foreign = rig_cert(k, "another CA", NULL, NULL, NULL, 86400), *made[5];
	char san[160];
	struct forge f = honest();

	(void)state;
	snprintf(san, sizeof(san), "URI:%s", uri);
	made[0] = rig_cert(key, "a", san, foreign, k, 3600);
	made[1] = rig_cert(key, "a", san, r.ca, r.ca_key, -10);
	made[2] = rig_cert(p384, "a", san, r.ca, r.ca_key, 3600);
	made[3] = rig_cert(rsa, "a", san, r.ca, r.ca_key, 3600);
	made[4] = rig_cert(key, "a", san, NULL, NULL, 3600); /* signed by itself */
	f.certs[0] = made[0];
	assert_refused(f, "unable to get local issuer");
	f.certs[1] = foreign;
	assert_refused(f, "self-signed certificate in certificate chain");
	f.certs[1] = NULL;
	f.certs[0] = made[1];
	assert_refused(f, "certificate has expired");
	f.certs[0] = made[2];
	f.key = p384;
	f.sig = SIG_DER;
	assert_refused(f, "64 bytes");
	f.certs[0] = made[3];
	f.key = rsa;
	assert_refused(f, "64 bytes");
	f.key = NULL;
	f.sig = SIG_RIGHT;
	f.certs[0] = made[2];
	assert_refused(f, "P-256 or Ed25519");
	f.certs[0] = made[3];
	assert_refused(f, "P-256 or Ed25519");
	f.certs[0] = made[4];
	assert_refused(f, "not one of a node");
	/* An authority's certificate is no node's, not even with its key. */
	f.certs[0] = r.ca;
	f.key = r.ca_key;
	assert_refused(f, "not one of a node");
	f = honest();
	for (size_t i = 0; i < 9; i++)
		f.certs[i] = leaf;
	assert_refused(f, "1 to 8 certificates");
	for (size_t i = 0; i < COUNT(made); i++)
		X509_free(made[i]);
	X509_free(foreign);
	EVP_PKEY_free(k);
	EVP_PKEY_free(p384);
	EVP_PKEY_free(rsa);
}

/* A certificate that may only serve is no proof of a peer that dials. */
static void
purpose(void **state)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	struct forge f = honest();
	X509 *x = X509_new();
	char san[160];

	(void)state;
	snprintf(san, sizeof(san), "URI:%s", uri);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_gmtime_adj(X509_getm_notBefore(x), -10);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, k);
	X509_set_issuer_name(x, X509_get_subject_name(r.ca));
	rig_ext(x, r.ca, NID_key_usage, "critical,digitalSignature");
	rig_ext(x, r.ca, NID_ext_key_usage, "serverAuth");
	rig_ext(x, r.ca, NID_subject_alt_name, san);
	assert_true(X509_sign(x, r.ca_key, EVP_sha256()) != 0);
	f.certs[0] = x;
	f.key = k;
	assert_refused(f, "purpose");
	X509_free(x);
	EVP_PKEY_free(k);
}

static void
an_intermediate_authority(void **state)
{
	EVP_PKEY *mid_key = EVP_EC_gen("P-256");
	char san[160], path[PATH_MAX], own[TOKEN_MAX_BYTES + 1];
	struct tls *t = tls_new(on_alert, NULL);
	struct forge f = honest();
	struct token token;
	const char *why;
	X509 *mid, *x;
	FILE *file;
	int len;

	(void)state;
	/* rig_cert() makes no intermediate ones: the second root is signed again by the first. */
	mid = rig_cert(mid_key, "middle CA", NULL, NULL, NULL, 3600);
	X509_set_issuer_name(mid, X509_get_subject_name(r.ca));
	assert_true(X509_sign(mid, r.ca_key, EVP_sha256()) != 0);
	snprintf(san, sizeof(san), "URI:%s", uri);
	x = rig_cert(key, "a", san, mid, mid_key, 3600);
	f.certs[0] = x;
	assert_refused(f, "unable to get local issuer");
	f.certs[1] = mid;
	assert_taken(f);
	rig_pem(a->dir, "tls.crt", x, NULL);
	snprintf(path, sizeof(path), "%s/tls.crt", a->dir);
	file = fopen(path, "a");
	assert_int_equal(PEM_write_X509(file, mid), 1);
	fclose(file);
	assert_int_equal(load(t, a, NULL), 0);
	len = tls_token_make(t, audience, now, LIFE_S, own);
	assert_true(len > 0);
	assert_int_equal(tls_token_check(tls_b, own, (size_t)len, audience, now, &token, &why), 0);
	/* A chain of more than 8 KiB is no token. */
	file = fopen(path, "a");
	for (int i = 0; i < 7; i++)
		assert_int_equal(PEM_write_X509(file, mid), 1);
	fclose(file);
	assert_int_equal(load(t, a, NULL), 0);
	assert_int_equal(tls_token_make(t, audience, now, LIFE_S, own), ERR_LIMIT);
	rig_pem(a->dir, "tls.crt", leaf, NULL);
	X509_free(x);
	X509_free(mid);
	EVP_PKEY_free(mid_key);
	tls_free(t);
}

static void
trailing_bytes_in_a_certificate(void **state)
{
	uint8_t *der = NULL, junk[4096];
	int len = i2d_X509(leaf, &der);
	static char json[8192];
	struct buf h, out;
	struct forge f = honest();
	uint8_t sig[512];
	size_t n;

	(void)state;
	assert_true(len > 0 && len < 4000);
	memcpy(junk, der, (size_t)len);
	junk[len] = 0;
	buf_init_fixed(&h, json, sizeof(json));
	put_text(&h, "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"x5c\":[\"");
	put(&h, BASE64_STD, junk, (size_t)len + 1);
	put_text(&h, "\"]}");
	buf_init_fixed(&out, text, sizeof(text));
	put(&out, BASE64_URL, json, buf_left(&h));
	put_text(&out, ".");
	put(&out, BASE64_URL, f.claims, strlen(f.claims));
	n = sign_as(&f, &out, sig, sizeof(sig));
	put_text(&out, ".");
	put(&out, BASE64_URL, sig, n);
	assert_refused_text(buf_left(&out), "x5c holds no certificates");
	OPENSSL_free(der);
}

/* --- revocation --- */

static void
revoked(void **state)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	/* The same name as the authority's, but another key: its list means nothing here. */
	X509 *namesake = rig_cert(k, "test CA", NULL, NULL, NULL, 86400);
	X509 *foreign = rig_cert(k, "another CA", NULL, NULL, NULL, 86400);
	struct forge f = honest();
	char path[PATH_MAX];
	FILE *file;

	(void)state;
	crl_write(b->dir, "crl.pem", crl_new(r.ca, r.ca_key, NULL, 3600), NULL);
	assert_int_equal(load(tls_b, b, "crl.pem"), 0);
	assert_taken(f);
	crl_write(b->dir, "crl.pem", crl_new(r.ca, r.ca_key, leaf, 3600), NULL);
	assert_int_equal(load(tls_b, b, "crl.pem"), 0);
	assert_refused(f, "certificate revoked");
	/* Too old, and still better than nothing. */
	crl_write(b->dir, "crl.pem", crl_new(foreign, k, leaf, 3600), crl_new(r.ca, r.ca_key, leaf, -60));
	assert_int_equal(load(tls_b, b, "crl.pem"), 0);
	assert_refused(f, "certificate revoked");
	crl_write(b->dir, "crl.pem", crl_new(namesake, k, leaf, 3600), NULL);
	assert_int_equal(load(tls_b, b, "crl.pem"), 0);
	assert_taken(f);
	/* What can't be read changes nothing. */
	crl_write(b->dir, "crl.pem", crl_new(r.ca, r.ca_key, leaf, 3600), NULL);
	assert_int_equal(load(tls_b, b, "crl.pem"), 0);
	snprintf(path, sizeof(path), "%s/crl.pem", b->dir);
	file = fopen(path, "a");
	fputs("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", file);
	fclose(file);
	assert_int_equal(load(tls_b, b, "crl.pem"), ERR_FORMAT);
	assert_int_equal(load(tls_b, b, "none.pem"), ERR_IO);
	assert_int_equal(load(tls_b, b, "ca.crt"), ERR_FORMAT);
	assert_refused(f, "certificate revoked");
	assert_int_equal(load(tls_b, b, NULL), 0);
	assert_taken(f);
	X509_free(namesake);
	X509_free(foreign);
	EVP_PKEY_free(k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(chains),
	    cmocka_unit_test(purpose),
	    cmocka_unit_test(an_intermediate_authority),
	    cmocka_unit_test(trailing_bytes_in_a_certificate),
	    cmocka_unit_test(revoked),
	};

	return cmocka_run_group_tests(tests, forge_setup, forge_teardown);
}
