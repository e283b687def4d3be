/* Keys and certificates: what the files hold, who signed what, and that nothing is overwritten. */
#include "tests/unit/unit.h"

#include <ftw.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "meshctl/ca_crl.h"
#include "meshctl/ca_x509.h"
#include "meshctl/node_key.h"
#include "meshctl/secfile.h"

#define MESH "spiffe://01M7YT0305ZD678C8J888Y0GTB"
#define NODE MESH "/node/012VXWFME9HJH"

static char dir[] = "/tmp/test_ca.XXXXXX";

static struct ca_x509_pair
issue(const struct ca_x509 *ca, enum ca_x509_kind kind, enum ca_x509_algorithm algorithm, const char *uri)
{
	static unsigned
	    number; /* a name of its own for each: self-issued ones don't count for path lengths */
	char name[32];
	struct ca_x509_request r = {.kind = kind,
	    .algorithm = algorithm,
	    .common_name = name,
	    .uri = uri,
	    .not_before = time(NULL) - 60,
	    .not_after = time(NULL) + 3600};
	struct ca_x509_pair pair;

	snprintf(name, sizeof(name), "test %u", ++number);
	if (kind == CA_X509_NODE || kind == CA_X509_SERVER) {
		r.dns[r.dns_count++] = "node.example";
		r.ip[r.ip_count++] = "127.0.0.1";
		r.ip[r.ip_count++] = "::1";
	}
	assert_int_equal(ca_x509_issue(ca, &r, &pair), 0);
	return pair;
}

static struct ca_x509 *
open_pair(const struct ca_x509_pair *p)
{
	struct ca_x509 *ca = ca_x509_open(p->cert, p->cert_len, p->key, p->key_len);

	assert_non_null(ca);
	return ca;
}

static X509 *
first_cert(const struct ca_x509_pair *p)
{
	BIO *bio = BIO_new_mem_buf(p->cert, (int)p->cert_len);
	X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	assert_non_null(x);
	BIO_free(bio);
	return x;
}

/* OpenSSL's verdict on the first certificate of p, for purpose, trusting root; the others of p help. */
static int
verify(const struct ca_x509_pair *root, const struct ca_x509_pair *p, int purpose)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	BIO *bio = BIO_new_mem_buf(p->cert, (int)p->cert_len);
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *r = first_cert(root), *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL), *x;
	int result;

	while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		sk_X509_push(chain, x);
	ERR_clear_error();
	X509_STORE_add_cert(store, r);
	X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT);
	X509_STORE_CTX_init(ctx, store, leaf, chain);
	X509_STORE_CTX_set_purpose(ctx, purpose);
	result = X509_verify_cert(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	sk_X509_pop_free(chain, X509_free);
	X509_free(r);
	X509_free(leaf);
	BIO_free(bio);
	return result;
}

static void
check_leaves(enum ca_x509_algorithm algorithm)
{
	struct ca_x509_pair root = issue(NULL, CA_X509_ROOT, algorithm, MESH);
	struct ca_x509 *ca = open_pair(&root);
	struct ca_x509_pair node = issue(ca, CA_X509_NODE, algorithm, NODE);
	struct ca_x509_pair server = issue(ca, CA_X509_SERVER, algorithm, MESH "/server/x");
	struct ca_x509_pair client = issue(ca, CA_X509_CLIENT, algorithm, MESH "/client/x");

	assert_string_equal(ca_x509_uri(ca), MESH);
	assert_int_equal(verify(&root, &node, X509_PURPOSE_SSL_SERVER), 1);
	assert_int_equal(verify(&root, &node, X509_PURPOSE_SSL_CLIENT), 1);
	assert_int_equal(verify(&root, &server, X509_PURPOSE_SSL_SERVER), 1);
	assert_int_equal(verify(&root, &server, X509_PURPOSE_SSL_CLIENT), 0);
	assert_int_equal(verify(&root, &client, X509_PURPOSE_SSL_CLIENT), 1);
	assert_int_equal(verify(&root, &client, X509_PURPOSE_SSL_SERVER), 0);
	ca_x509_pair_fini(&root);
	ca_x509_pair_fini(&node);
	ca_x509_pair_fini(&server);
	ca_x509_pair_fini(&client);
	ca_x509_free(ca);
}

static void
test_leaves(void **state)
{
	(void)state;
	check_leaves(CA_X509_P256);
	check_leaves(CA_X509_ED25519);
}

static void
test_names(void **state)
{
	struct ca_x509_pair root = issue(NULL, CA_X509_ROOT, CA_X509_P256, MESH);
	struct ca_x509 *ca = open_pair(&root);
	struct ca_x509_pair node = issue(ca, CA_X509_NODE, CA_X509_P256, NODE);
	X509 *x = first_cert(&node);

	(void)state;
	assert_int_equal(X509_check_host(x, "node.example", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(x, "other.example", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(x, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(x, "::1", 0), 1);
	assert_int_equal(X509_check_ip_asc(x, "127.0.0.2", 0), 0);
	X509_free(x);
	ca_x509_pair_fini(&root);
	ca_x509_pair_fini(&node);
	ca_x509_free(ca);
}

/* Certificates of an intermediate authority bring it along; the peer needs the root alone. */
static void
test_intermediate(void **state)
{
	struct ca_x509_pair root = issue(NULL, CA_X509_ROOT, CA_X509_P256, MESH);
	struct ca_x509 *ca = open_pair(&root);
	struct ca_x509_pair sub = issue(ca, CA_X509_INTERMEDIATE, CA_X509_P256, MESH);
	struct ca_x509 *sub_ca = open_pair(&sub);
	struct ca_x509_pair node = issue(sub_ca, CA_X509_NODE, CA_X509_P256, NODE);
	struct ca_x509_pair too_deep = issue(sub_ca, CA_X509_INTERMEDIATE, CA_X509_P256, MESH);
	struct ca_x509 *deep_ca = open_pair(&too_deep);
	struct ca_x509_pair deep = issue(deep_ca, CA_X509_NODE, CA_X509_P256, NODE);

	(void)state;
	assert_int_equal(verify(&root, &node, X509_PURPOSE_SSL_SERVER), 1);
	assert_int_equal(verify(&root, &deep, X509_PURPOSE_SSL_SERVER), 0); /* path length */
	ca_x509_pair_fini(&root);
	ca_x509_pair_fini(&sub);
	ca_x509_pair_fini(&node);
	ca_x509_pair_fini(&too_deep);
	ca_x509_pair_fini(&deep);
	ca_x509_free(ca);
	ca_x509_free(sub_ca);
	ca_x509_free(deep_ca);
}

static void
test_wrong_files(void **state)
{
	struct ca_x509_pair root = issue(NULL, CA_X509_ROOT, CA_X509_P256, MESH);
	struct ca_x509_pair other = issue(NULL, CA_X509_ROOT, CA_X509_P256, MESH);
	struct ca_x509 *ca = open_pair(&root);
	struct ca_x509_pair node = issue(ca, CA_X509_NODE, CA_X509_P256, NODE);

	(void)state;
	assert_null(ca_x509_open(root.cert, root.cert_len, other.key, other.key_len));
	assert_null(ca_x509_open(node.cert, node.cert_len, node.key, node.key_len));
	assert_null(ca_x509_open("x", 1, root.key, root.key_len));
	assert_null(ca_x509_open(root.cert, root.cert_len, root.cert, root.cert_len));
	ca_x509_free(ca);
	ca_x509_pair_fini(&root);
	ca_x509_pair_fini(&other);
	ca_x509_pair_fini(&node);
}

static void
count_info(void *arg, const struct ca_x509_info *i)
{
	int *n = arg;

	(*n)++;
	assert_string_equal(i->usage, "server and client");
	assert_non_null(strstr(i->names, "URI:" NODE));
	assert_int_equal(strlen(i->fingerprint), 64);
	assert_int_equal(i->not_after - i->not_before, 3660);
}

static void
test_each(void **state)
{
	struct ca_x509_pair root = issue(NULL, CA_X509_ROOT, CA_X509_P256, MESH);
	struct ca_x509 *ca = open_pair(&root);
	struct ca_x509_pair node = issue(ca, CA_X509_NODE, CA_X509_ED25519, NODE);
	int n = 0;

	(void)state;
	assert_int_equal(ca_x509_each(node.cert, node.cert_len, count_info, &n), 1);
	assert_int_equal(n, 1);
	assert_true(ca_x509_each("no", 2, count_info, &n) < 0);
	ca_x509_pair_fini(&root);
	ca_x509_pair_fini(&node);
	ca_x509_free(ca);
}

/* FIPS 180-2, appendix B.1 */
static void
test_sha256(void **state)
{
	uint8_t got[CA_X509_SHA256_BYTES];
	char hex[2 * CA_X509_SHA256_BYTES + 1];

	(void)state;
	assert_int_equal(ca_x509_sha256("abc", 3, got), 0);
	node_key_hex(hex, got, sizeof(got));
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void
test_node_key(void **state)
{
	char keyring[64], path[80];
	uint64_t id, again;
	struct stat st;

	(void)state;
	snprintf(keyring, sizeof(keyring), "%s/keyring", dir);
	snprintf(path, sizeof(path), "%s/node.key", keyring);
	assert_int_equal(node_key_new(keyring, false, &id), 0);
	assert_int_equal(stat(keyring, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(node_key_id(keyring, &again), 0);
	assert_true(id == again);
	assert_int_not_equal(node_key_new(keyring, false, &again), 0);
	assert_int_equal(node_key_id(keyring, &again), 0);
	assert_true(id == again);
	assert_int_equal(node_key_new(keyring, true, &again), 0);
	assert_true(id != again);
}

static void
test_tenant_key(void **state)
{
	uint8_t a[CRYPTO_KEY_BYTES], b[CRYPTO_KEY_BYTES], got[CRYPTO_KEY_BYTES];
	char keyring[64], path[96], *text;
	size_t len;

	(void)state;
	memset(a, 0xaa, sizeof(a));
	memset(b, 0xbb, sizeof(b));
	snprintf(keyring, sizeof(keyring), "%s/keyring2", dir);
	snprintf(path, sizeof(path), "%s/tenants/acme.key", keyring);
	assert_int_equal(node_key_add_tenant(keyring, "acme", a), 0);
	assert_int_equal(node_key_add_tenant(keyring, "acme", b), 0);
	assert_int_equal(node_key_tenant(keyring, "acme", got), 0);
	assert_memory_equal(got, b, sizeof(b));
	assert_int_equal(node_key_add_tenant(keyring, "acme", a), 0); /* moves up, is not doubled */
	assert_int_equal(secfile_read(path, &text, &len), 0);
	assert_int_equal(len, 2 * 65);
	secfile_free(text, len);
	for (uint8_t i = 0; i < 20; i++) {
		memset(got, i, sizeof(got));
		assert_int_equal(node_key_add_tenant(keyring, "acme", got), 0);
	}
	assert_int_equal(secfile_read(path, &text, &len), 0);
	assert_int_equal(len, 8 * 65); /* as many as consensusd takes */
	secfile_free(text, len);
	assert_int_not_equal(node_key_tenant(keyring, "other", got), 0);
}

static void
test_parse_key(void **state)
{
	uint8_t key[CRYPTO_KEY_BYTES];

	(void)state;
	assert_int_equal(
	    node_key_parse(" 00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\n", key), 0);
	assert_int_equal(key[31], 0xff);
	assert_int_not_equal(
	    node_key_parse("00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEF", key), 0);
	assert_int_not_equal(
	    node_key_parse("00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF0", key), 0);
	assert_int_not_equal(
	    node_key_parse("0g112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", key), 0);
	assert_int_not_equal(node_key_parse("", key), 0);
}

static void
test_secfile(void **state)
{
	char path[64], *text;
	struct stat st;
	size_t len;

	(void)state;
	snprintf(path, sizeof(path), "%s/file", dir);
	assert_int_equal(secfile_write(path, "one", 3, true, false), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_not_equal(secfile_write(path, "two", 3, false, false), 0);
	assert_int_equal(secfile_read(path, &text, &len), 0);
	assert_string_equal(text, "one");
	secfile_free(text, len);
	assert_int_equal(secfile_write(path, "two", 3, false, true), 0);
	assert_int_equal(secfile_read(path, &text, &len), 0);
	assert_string_equal(text, "two");
	secfile_free(text, len);
	assert_int_not_equal(secfile_write("/nonexistent/x", "", 0, false, false), 0);
}

static int
setup(void **state)
{
	(void)state;
	umask(022);
	return crypto_init() == 0 && mkdtemp(dir) != NULL ? 0 : -1;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int
teardown(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct ca_crl *
list_of(const struct ca_x509 *ca, const char *pem, size_t len)
{
	struct ca_crl *l = ca_crl_new(ca, pem, len);

	assert_non_null(l);
	return l;
}

static X509_CRL *
read_crl(const char *pem, size_t len)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	X509_CRL *crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(crl);
	return crl;
}

/* What was revoked once stays on every later list, and no list of another authority is taken for it. */
static void
revoked_certificates(void **state)
{
	struct ca_x509_pair root_pair = issue(NULL, CA_X509_ROOT, CA_X509_P256, MESH);
	struct ca_x509_pair other_pair = issue(NULL, CA_X509_ROOT, CA_X509_ED25519, MESH);
	struct ca_x509 *root = open_pair(&root_pair), *other = open_pair(&other_pair);
	struct ca_x509_pair one = issue(root, CA_X509_NODE, CA_X509_P256, NODE);
	struct ca_x509_pair two = issue(root, CA_X509_NODE, CA_X509_ED25519, NODE);
	struct ca_x509_pair foreign = issue(other, CA_X509_NODE, CA_X509_P256, NODE);
	struct ca_crl *l = list_of(root, NULL, 0);
	char *pem, *again;
	size_t len, again_len;
	int64_t now = time(NULL);
	X509_REVOKED *entry;
	X509_CRL *crl;
	X509 *cert;

	(void)state;
	assert_int_equal(ca_crl_count(l), 0);
	assert_int_equal(ca_crl_add(l, one.cert, one.cert_len, now), 0);
	assert_int_equal(ca_crl_add(l, one.cert, one.cert_len, now), 1);
	assert_int_equal(ca_crl_add(l, foreign.cert, foreign.cert_len, now), -1);
	assert_int_equal(ca_crl_add(l, "x", 1, now), -1);
	assert_int_equal(ca_crl_sign(l, now, now + 3600, &pem, &len), 0);
	ca_crl_free(l);

	assert_null(ca_crl_new(other, pem, len));
	assert_null(ca_crl_new(root, "x", 1));
	l = list_of(root, pem, len);
	assert_int_equal(ca_crl_count(l), 1);
	assert_int_equal(ca_crl_add(l, one.cert, one.cert_len, now), 1);
	assert_int_equal(ca_crl_add(l, two.cert, two.cert_len, now), 0);
	assert_int_equal(ca_crl_sign(l, now + 1, now + 3600, &again, &again_len), 0);
	ca_crl_free(l);

	crl = read_crl(again, again_len);
	cert = first_cert(&root_pair);
	assert_int_equal(X509_CRL_verify(crl, X509_get0_pubkey(cert)), 1);
	X509_free(cert);
	cert = first_cert(&one);
	assert_int_equal(X509_CRL_get0_by_cert(crl, &entry, cert), 1);
	X509_free(cert);
	cert = first_cert(&two);
	assert_int_equal(X509_CRL_get0_by_cert(crl, &entry, cert), 1);
	X509_free(cert);
	assert_true(X509_CRL_get_ext_by_NID(crl, NID_crl_number, -1) >= 0);
	assert_true(X509_CRL_get_ext_by_NID(crl, NID_authority_key_identifier, -1) >= 0);
	X509_CRL_free(crl);

	/* An Ed25519 authority signs lists, too. */
	l = list_of(other, NULL, 0);
	assert_int_equal(ca_crl_add(l, foreign.cert, foreign.cert_len, now), 0);
	mem_free(pem);
	assert_int_equal(ca_crl_sign(l, now, now + 3600, &pem, &len), 0);
	ca_crl_free(l);
	ca_crl_free(list_of(other, pem, len));
	mem_free(pem);
	mem_free(again);
	ca_x509_pair_fini(&one);
	ca_x509_pair_fini(&two);
	ca_x509_pair_fini(&foreign);
	ca_x509_pair_fini(&root_pair);
	ca_x509_pair_fini(&other_pair);
	ca_x509_free(root);
	ca_x509_free(other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_leaves),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_intermediate),
	    cmocka_unit_test(test_wrong_files),
	    cmocka_unit_test(test_each),
	    cmocka_unit_test(test_sha256),
	    cmocka_unit_test(test_node_key),
	    cmocka_unit_test(test_tenant_key),
	    cmocka_unit_test(test_parse_key),
	    cmocka_unit_test(test_secfile),
	    cmocka_unit_test(revoked_certificates),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
