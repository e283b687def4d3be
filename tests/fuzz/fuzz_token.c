/*
 * Tokens of links.  The first byte chooses: text as it is; or claims, or header and claims, that are signed
 * with a test key, so that what lies behind the signature is reached.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/log.h"
#include "tests/fuzz/fuzz.h"
#include "common/base/base64.h"
#include "transportd/tls.h"
#include "transportd/tls_token.h"
#include "transportd/token.h"

/* A test authority, and a node 0000000000001 of mesh 01ARZ3NDEKTSV4RRFFQ69G5FAV: good for nothing else. */
static const char ca_pem[] = "-----BEGIN CERTIFICATE-----\n"
			     "MIIBizCCATGgAwIBAgIUDgzUeFlBg1ZbTRfCYlu8VseWc9kwCgYIKoZIzj0EAwIw\n"
			     "EjEQMA4GA1UEAwwHZnV6eiBDQTAgFw0yNjExMjUyMjU2MTBaGA8yMTI2MTEwMTIy\n"
			     "NTYxMFowEjEQMA4GA1UEAwwHZnV6eiBDQTBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
			     "A0IABPhADV1rKap+Pmti39Tg3b1a0qjGfL7eejIDBOclUTJQDuZZ9NGwS1ZWEOMg\n"
			     "bPVPaYPLD2IphAc5Sfyns3JzU6mjYzBhMB0GA1UdDgQWBBQihl+Ws4ZFKaVQa1e0\n"
			     "1eST4U+0kjAfBgNVHSMEGDAWgBQihl+Ws4ZFKaVQa1e01eST4U+0kjAPBgNVHRMB\n"
			     "Af8EBTADAQH/MA4GA1UdDwEB/wQEAwIBBjAKBggqhkjOPQQDAgNIADBFAiALZKlv\n"
			     "7estp4aty123gLb8avAf/eJtsrztoPWUjRjbpAIhALaCsJBJFqChPAJv0J/rUzfT\n"
			     "T455So4izs4Rjz4OBaSy\n"
			     "-----END CERTIFICATE-----\n";
static const char cert_pem[] = "-----BEGIN CERTIFICATE-----\n"
			       "MIIBujCCAWCgAwIBAgIUaheEojuy1rYLHVS+uOPqG1zMqZIwCgYIKoZIzj0EAwIw\n"
			       "EjEQMA4GA1UEAwwHZnV6eiBDQTAgFw0yNjExMjUyMjU2MTBaGA8yMTI2MTEwMTIy\n"
			       "NTYxMFowDzENMAsGA1UEAwwEZnV6ejAqMAUGAytlcAMhAKVLMbU1fhZRY/26cY0F\n"
			       "/Q2L5t9Pvr2yzpVYkaA27ZRvo4HDMIHAMAwGA1UdEwEB/wQCMAAwDgYDVR0PAQH/\n"
			       "BAQDAgeAMB0GA1UdJQQWMBQGCCsGAQUFBwMBBggrBgEFBQcDAjBBBgNVHREEOjA4\n"
			       "hjZzcGlmZmU6Ly8wMUFSWjNOREVLVFNWNFJSRkZRNjlHNUZBVi9ub2RlLzAwMDAw\n"
			       "MDAwMDAwMDEwHQYDVR0OBBYEFIzWVKTPWpVDg80pSQu9/GdDrXmTMB8GA1UdIwQY\n"
			       "MBaAFCKGX5azhkUppVBrV7TV5JPhT7SSMAoGCCqGSM49BAMCA0gAMEUCIQC8ENER\n"
			       "4ZvLzCFDkw+/bBpACU2R79ZSGbAlmsze3m6X7gIgcSdmsNlLakyPc5w/va8b1yxQ\n"
			       "uMha0pOuIzuB/+n8dkk=\n"
			       "-----END CERTIFICATE-----\n";
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
			      "MC4CAQAwBQYDK2VwBCIEICmKT3xJYklMd4wq1m7y0GP3xZzGwR/GnMdicPyePUNn\n"
			      "-----END PRIVATE KEY-----\n";

enum { NOW = 1800000000 }; /* January 2027: within the certificates' time */

#define AUDIENCE "0000000000002"

static struct tls *tls;
static EVP_PKEY *key;
static char x5c[4096]; /* the certificate as a header has it */

static void
on_alert(void *arg, int fd, bool sent, const char *text)
{
	(void)arg;
	(void)fd;
	(void)sent;
	(void)text;
}

static void
write_file(char *path, size_t size, const char *dir, const char *name, const char *text)
{
	FILE *f;

	snprintf(path, size, "%s/%s", dir, name);
	f = fopen(path, "w");
	FUZZ_CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void
set_up(void)
{
	char dir[] = "/tmp/fuzz-token.XXXXXX", cert_path[64], key_path[64], ca_path[64];
	struct tls_files files = {.cert = cert_path, .key = key_path, .ca = ca_path};
	BIO *bio;
	struct buf b;

	log_set_level(LOG_ERROR);
	FUZZ_CHECK(mkdtemp(dir) != NULL);
	write_file(cert_path, sizeof(cert_path), dir, "cert", cert_pem);
	write_file(key_path, sizeof(key_path), dir, "key", key_pem);
	write_file(ca_path, sizeof(ca_path), dir, "ca", ca_pem);
	tls = tls_new(on_alert, NULL);
	FUZZ_CHECK(tls != NULL && tls_load(tls, &files) == 0);
	unlink(cert_path);
	unlink(key_path);
	unlink(ca_path);
	rmdir(dir);
	bio = BIO_new_mem_buf(key_pem, -1);
	key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	bio = BIO_new_mem_buf(cert_pem, -1);
	{
		X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		uint8_t *der = NULL;
		int len = i2d_X509(cert, &der);

		buf_init_fixed(&b, x5c, sizeof(x5c) - 1);
		FUZZ_CHECK(key != NULL && base64_encode(&b, BASE64_STD, der, (size_t)len) == 0);
		OPENSSL_free(der);
		X509_free(cert);
	}
	BIO_free(bio);
}

/* Whatever is accepted is what the certificate says, for us, and in its time. */
static void
check(const char *text, size_t len)
{
	static struct token_parts p;
	struct token t;
	const char *why = NULL;
	int parsed = token_parse(text, len, &p, &why);
	int err;

	FUZZ_CHECK(parsed == 0 || why != NULL);
	FUZZ_CHECK(len <= TOKEN_MAX_BYTES || parsed == ERR_LIMIT);
	if (parsed == 0) {
		FUZZ_CHECK(p.chain_count >= 1 && p.chain_count <= TOKEN_CHAIN_MAX && p.signed_len < len);
		FUZZ_CHECK(p.exp > 0 && p.iat > 0 && p.nbf > 0);
	}
	why = NULL;
	err = tls_token_check(tls, text, len, AUDIENCE, NOW, &t, &why);
	if (err != 0) {
		FUZZ_CHECK(why != NULL);
		return;
	}
	FUZZ_CHECK(parsed == 0 && t.node_id == 1 && strcmp(p.audience, AUDIENCE) == 0);
	FUZZ_CHECK(t.expires > NOW - TOKEN_LEEWAY_S);
	FUZZ_CHECK(t.expires <= NOW + 2 * TOKEN_LEEWAY_S + TOKEN_LIFETIME_MAX_S);
	FUZZ_CHECK(token_until(&t) >= NOW);
}

static void
check_signed(const char *header, size_t header_len, const uint8_t *claims, size_t claims_len)
{
	static char text[65536];
	uint8_t sig[TOKEN_SIG_BYTES];
	size_t sig_len = sizeof(sig);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct buf out;

	buf_init_fixed(&out, text, sizeof(text));
	FUZZ_CHECK(base64_encode(&out, BASE64_URL, header, header_len) == 0 && buf_put_u8(&out, '.') == 0 &&
		   base64_encode(&out, BASE64_URL, claims, claims_len) == 0);
	FUZZ_CHECK(EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
		   EVP_DigestSign(ctx, sig, &sig_len, buf_head(&out), buf_left(&out)) == 1);
	EVP_MD_CTX_free(ctx);
	FUZZ_CHECK(token_seal(&out, sig) == 0);
	check(text, buf_left(&out));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char header[8192];
	const uint8_t *cut;

	if (tls == NULL)
		set_up();
	if (size == 0 || size > 8000)
		return 0;
	switch (data[0] % 3) {
	case 0:
		check((const char *)data + 1, size - 1);
		break;
	case 1:
		snprintf(header, sizeof(header), "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"x5c\":[\"%s\"]}", x5c);
		check_signed(header, strlen(header), data + 1, size - 1);
		break;
	default:
		cut = memchr(data, '\n', size);
		if (cut != NULL)
			check_signed((const char *)data + 1, (size_t)(cut - data) - 1, cut + 1,
			    size - (size_t)(cut - data) - 1);
		break;
	}
	return 0;
}
