/* Sessions between two nodes in one process: what reloading changes for old and for new ones. */
#include <openssl/ssl.h>

#include "tests/rig/crl.h"
#include "tests/rig/transport.h"
#include "tests/unit/unit.h"

#include "transportd/tls.h"

enum { SERVER, CLIENT, SIDES };

static struct rig r;
static struct rig_node *nodes[SIDES];
static struct tls *tls[SIDES];
static SSL_CTX *ctx[SIDES];
static unsigned done, alerts;

static void
on_alert(void *arg, int fd, bool sent, const char *text)
{
	(void)arg;
	(void)fd;
	(void)sent;
	if (text == NULL)
		done++;
	else
		alerts++;
}

static int
load(int side, const char *crl_name)
{
	char cert[PATH_MAX], key[PATH_MAX], ca[PATH_MAX], crl[PATH_MAX];
	struct tls_files files = {.cert = cert, .key = key, .ca = ca, .crl = crl_name ? crl : NULL};

	snprintf(cert, sizeof(cert), "%s/tls.crt", nodes[side]->dir);
	snprintf(key, sizeof(key), "%s/tls.key", nodes[side]->dir);
	snprintf(ca, sizeof(ca), "%s/ca.crt", nodes[side]->dir);
	snprintf(crl, sizeof(crl), "%s/%s", nodes[side]->dir, crl_name ? crl_name : "");
	return tls_load(tls[side], &files);
}

static int
setup(void **state)
{
	static const char *const names[] = {"server", "client"};

	(void)state;
	rig_init(&r);
	for (int i = 0; i < SIDES; i++) {
		nodes[i] = rig_add(&r, names[i]);
		tls[i] = tls_new(on_alert, NULL);
		assert_int_equal(load(i, NULL), 0);
		ctx[i] = SSL_CTX_new(i == SERVER ? TLS_server_method() : TLS_client_method());
		assert_int_equal(tls_apply(tls[i], ctx[i]), 0);
	}
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	for (int i = 0; i < SIDES; i++) {
		tls_free(tls[i]);
		SSL_CTX_free(ctx[i]);
	}
	rig_fini(&r);
	return 0;
}

/* Both ends of a new session; false if one of them refuses. */
static bool
shake_hands(SSL *ssl[SIDES])
{
	BIO *bio[SIDES];
	int ret[SIDES] = {0, 0};
	bool failed = false;

	done = alerts = 0;
	assert_int_equal(BIO_new_bio_pair(&bio[SERVER], 0, &bio[CLIENT], 0), 1);
	for (int i = 0; i < SIDES; i++) {
		ssl[i] = SSL_new(ctx[i]);
		SSL_set_bio(ssl[i], bio[i], bio[i]);
	}
	SSL_set_accept_state(ssl[SERVER]);
	SSL_set_connect_state(ssl[CLIENT]);
	for (int round = 0; round < 20 && !failed; round++) {
		int i = round % 2;

		ret[i] = SSL_do_handshake(ssl[i]);
		failed = ret[i] != 1 && SSL_get_error(ssl[i], ret[i]) != SSL_ERROR_WANT_READ;
	}
	return ret[SERVER] == 1 && ret[CLIENT] == 1;
}

static void
end(SSL *ssl[SIDES])
{
	SSL_free(ssl[SERVER]);
	SSL_free(ssl[CLIENT]);
}

static bool
works(SSL *ssl[SIDES])
{
	char got[8];

	return tls_write(ssl[CLIENT], "ping", 4) == 4 && tls_read(ssl[SERVER], got, sizeof(got)) == 4 &&
	       memcmp(got, "ping", 4) == 0;
}

static void
a_session_proves_its_ends(void **state)
{
	uint8_t key[SIDES][TLS_EXPORTER_BYTES];
	char uri[TLS_URI_SIZE];
	SSL *ssl[SIDES];

	(void)state;
	assert_true(shake_hands(ssl));
	assert_int_equal(done, 2);
	assert_int_equal(alerts, 0);
	for (int i = 0; i < SIDES; i++) {
		assert_int_equal(tls_exporter(ssl[i], key[i]), 0);
		assert_int_equal(tls_peer_uri(ssl[i], uri), 0);
		assert_string_equal(uri, tls_own_uri(tls[1 - i]));
		assert_int_equal(tls_peer_not_after(ssl[i]), tls_not_after(tls[1 - i]));
		assert_false(tls_peer_revoked(tls[i], ssl[i]));
	}
	assert_memory_equal(key[0], key[1], sizeof(key[0]));
	assert_true(works(ssl));
	end(ssl);
	assert_int_equal(tls_peer_not_after(NULL), 0);
	assert_false(tls_peer_revoked(tls[SERVER], NULL));
}

/* Adds a second authority to the file of each. */
static void
add_authority(X509 *ca)
{
	for (int i = 0; i < SIDES; i++) {
		char path[PATH_MAX];
		FILE *f;

		snprintf(path, sizeof(path), "%s/ca.crt", nodes[i]->dir);
		f = fopen(path, "a");
		assert_non_null(f);
		assert_int_equal(PEM_write_X509(f, ca), 1);
		fclose(f);
	}
}

static void
only_authority(X509 *ca)
{
	for (int i = 0; i < SIDES; i++)
		rig_pem(nodes[i]->dir, "ca.crt", ca, NULL);
}

/* From one authority to another, as transportd(8) says: old sessions work all the time. */
static void
authorities_change(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *next = rig_cert(key, "next CA", NULL, NULL, NULL, 86400);
	SSL *old[SIDES], *ssl[SIDES];

	(void)state;
	assert_true(shake_hands(old));
	/* The client is too early: nobody knows its authority. */
	rig_issue(nodes[CLIENT], nodes[CLIENT]->id, next, key, 3600);
	assert_int_equal(load(CLIENT, NULL), 0);
	assert_false(shake_hands(ssl));
	assert_true(alerts > 0);
	end(ssl);
	add_authority(next);
	assert_int_equal(load(SERVER, NULL), 0);
	assert_int_equal(load(CLIENT, NULL), 0);
	assert_true(shake_hands(ssl));
	assert_int_equal(tls_peer_not_after(ssl[SERVER]), tls_not_after(tls[CLIENT]));
	end(ssl);
	/* The server follows; then nobody needs the first any more. */
	rig_issue(nodes[SERVER], nodes[SERVER]->id, next, key, 3600);
	add_authority(next);
	assert_int_equal(load(SERVER, NULL), 0);
	assert_true(shake_hands(ssl));
	end(ssl);
	only_authority(next);
	assert_int_equal(load(SERVER, NULL), 0);
	assert_int_equal(load(CLIENT, NULL), 0);
	assert_true(shake_hands(ssl));
	end(ssl);
	assert_true(works(old));
	end(old);
	for (int i = 0; i < SIDES; i++) {
		rig_issue(nodes[i], nodes[i]->id, NULL, NULL, 86400);
		assert_int_equal(load(i, NULL), 0);
	}
	X509_free(next);
	EVP_PKEY_free(key);
}

static void
revoked_peers_are_found(void **state)
{
	SSL *old[SIDES], *ssl[SIDES];
	X509 *cert;

	(void)state;
	assert_true(shake_hands(old));
	cert = SSL_get1_peer_certificate(old[SERVER]);
	crl_write(nodes[SERVER]->dir, "crl.pem", crl_new(r.ca, r.ca_key, cert, 3600), NULL);
	X509_free(cert);
	assert_int_equal(load(SERVER, "crl.pem"), 0);
	assert_true(tls_peer_revoked(tls[SERVER], old[SERVER]));
	assert_false(tls_peer_revoked(tls[CLIENT], old[CLIENT]));
	assert_false(shake_hands(ssl));
	assert_true(alerts > 0);
	end(ssl);
	/* A new certificate is another one. */
	rig_issue(nodes[CLIENT], nodes[CLIENT]->id, NULL, NULL, 86400);
	assert_int_equal(load(CLIENT, NULL), 0);
	assert_true(shake_hands(ssl));
	assert_false(tls_peer_revoked(tls[SERVER], ssl[SERVER]));
	end(ssl);
	end(old);
	assert_int_equal(load(SERVER, NULL), 0);
}

/* What is broken changes nothing, in no context. */
static void
bad_files_change_nothing(void **state)
{
	const char *was = tls_own_uri(tls[CLIENT]);
	SSL *ssl[SIDES];

	(void)state;
	rig_pem(nodes[CLIENT]->dir, "tls.crt", NULL, NULL);
	assert_int_equal(load(CLIENT, NULL), ERR_FORMAT);
	rig_pem(nodes[CLIENT]->dir, "tls.crt", r.ca, NULL);
	assert_int_equal(load(CLIENT, NULL), ERR_CRYPTO);
	assert_string_equal(tls_own_uri(tls[CLIENT]), was);
	assert_true(shake_hands(ssl));
	end(ssl);
	rig_issue(nodes[CLIENT], nodes[CLIENT]->id, NULL, NULL, 86400);
	rig_pem(nodes[CLIENT]->dir, "ca.crt", NULL, NULL);
	assert_int_equal(load(CLIENT, NULL), ERR_FORMAT);
	assert_true(shake_hands(ssl));
	end(ssl);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_session_proves_its_ends),
	    cmocka_unit_test(authorities_change),
	    cmocka_unit_test(revoked_peers_are_found),
	    cmocka_unit_test(bad_files_change_nothing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
