/* Certificates and authorities are replaced while links stay up; old and new are valid together. */
#include "tests/rig/crl.h"
#include "tests/rig/transport.h"
#include "tests/unit/unit.h"

static struct rig r;
static struct rig_node *a, *b, *c;
static EVP_PKEY *next_key;
static X509 *next;

static bool
linked_to(void *arg)
{
	struct rig_node **pair = arg;

	return rig_has_link(pair[0], pair[1]->id) && rig_has_link(pair[1], pair[0]->id);
}

static void
wait_link(struct rig_node *x, struct rig_node *y)
{
	struct rig_node *pair[2] = {x, y};

	assert_true(rig_wait(&r, linked_to, pair, RIG_WAIT_MS));
}

static unsigned
lines_with(const struct rig_node *n, const char *words)
{
	char path[PATH_MAX], line[1024];
	unsigned count = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/transportd.log", n->dir);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		count += strstr(line, words) != NULL;
	fclose(f);
	return count;
}

struct said {
	struct rig_node *node;
	const char *words;
	unsigned before;
};

static bool
has_said(void *arg)
{
	const struct said *s = arg;

	return lines_with(s->node, s->words) > s->before;
}

/* SIGHUP, until the files are read. */
static void
reload(struct rig_node *n)
{
	struct said s = {n, "certificate read again", lines_with(n, "certificate read again")};

	kill(n->pid, SIGHUP);
	assert_true(rig_wait(&r, has_said, &s, RIG_WAIT_MS));
}

/* tls-ca of n: the first authority, the next one, or both. */
static void
authorities(struct rig_node *n, X509 *one, X509 *two)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/ca.crt", n->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, one), 1);
	if (two != NULL)
		assert_int_equal(PEM_write_X509(f, two), 1);
	fclose(f);
}

static int
setup(void **state)
{
	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	c = rig_add(&r, "c");
	next_key = EVP_EC_gen("P-256");
	next = rig_cert(next_key, "next CA", NULL, NULL, NULL, 86400);
	/* c comes from the new authority. */
	rig_issue(c, c->id, next, next_key, 86400);
	authorities(c, r.ca, next);
	rig_conf(a, "\tpeer b { address 127.0.0.1:%u }", b->port);
	crl_write(b->dir, "crl.pem", crl_new(r.ca, r.ca_key, NULL, 3600), NULL);
	rig_conf(b, "\ttls-crl crl.pem");
	rig_conf(c, "\tpeer b { address 127.0.0.1:%u }", b->port);
	rig_start(a);
	rig_start(b);
	wait_link(a, b);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	X509_free(next);
	EVP_PKEY_free(next_key);
	rig_fini(&r);
	return 0;
}

static void
from_one_authority_to_the_next(void **state)
{
	struct said refused;

	(void)state;
	refused = (struct said){b, "ended before the link handshake: TLS", 0};
	rig_start(c);
	assert_true(rig_wait(&r, has_said, &refused, RIG_WAIT_MS));
	/* Now b knows both. */
	authorities(b, r.ca, next);
	reload(b);
	wait_link(c, b);
	authorities(a, r.ca, next);
	reload(a);
	/* a and b get new certificates, and links are made with them. */
	rig_issue(a, a->id, next, next_key, 86400);
	authorities(a, r.ca, next);
	reload(a);
	rig_issue(b, b->id, next, next_key, 86400);
	authorities(b, next, NULL);
	reload(b);
	authorities(a, next, NULL);
	reload(a);
	assert_int_equal(a->link_downs + b->link_downs + c->link_downs, 0);
	assert_int_equal(a->link_ups, 1);
	assert_int_equal(rig_kill(c, SIGTERM), 0);
	authorities(c, next, NULL);
	rig_spawn(c);
	wait_link(c, b);
	assert_int_equal(a->link_downs, 0);
}

static bool
unlinked(void *arg)
{
	struct rig_node **pair = arg;

	return !rig_has_link(pair[0], pair[1]->id);
}

/* The certificate of a node as its files have it now. */
static X509 *
cert_of(const struct rig_node *n)
{
	char path[PATH_MAX];
	X509 *x;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tls.crt", n->dir);
	f = fopen(path, "r");
	assert_non_null(f);
	x = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(x);
	return x;
}

static void
revoked_and_issued_again(void **state)
{
	struct rig_node *pair[2] = {b, c};
	struct said refused = {b, "certificate revoked", 0};
	X509 *cert = cert_of(c);

	(void)state;
	crl_write(b->dir, "crl.pem", crl_new(next, next_key, cert, 3600), NULL);
	X509_free(cert);
	reload(b);
	/* The link that is up ends, and c can't come back. */
	assert_true(rig_wait(&r, unlinked, pair, RIG_WAIT_MS));
	assert_true(rig_wait(&r, has_said, &refused, RIG_WAIT_MS));
	assert_true(unlinked(pair));
	/* Another certificate of the same node. */
	rig_issue(c, c->id, next, next_key, 86400);
	authorities(c, next, NULL);
	reload(c);
	wait_link(c, b);
	assert_int_equal(a->link_downs, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(from_one_authority_to_the_next),
	    cmocka_unit_test(revoked_and_issued_again),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
