/*
 * Upgrade requests that are nearly right: libwebsockets reads them, inside the daemon, so it is the daemon
 * that gets them, over TLS and on the port for proxies.  Each is made from a good one by a few random
 * changes; seeds repeat.  Whatever comes, the daemon lives, lets nobody in without a token where there is
 * no certificate, and serves an honest peer as ever.
 *
 * UPGRADE_MUTANTS sets their number, UPGRADE_SEED the seed.
 */
#include "common/base/rng.h"
#include "tests/rig/raw_peer.h"
#include "tests/unit/unit.h"

enum { MUTANTS = 1500, TLS_EVERY = 5, REQUEST_MAX = 8192, CHANGES_MAX = 6, CHECK_EVERY = 250 };

static struct rig r;
static struct rig_node *node, *other;
static uint16_t proxied_port;
static struct rng rng;

static bool
knows_itself(void *arg)
{
	struct rig_node *n = arg;

	return n->consensus_up && n->router_up;
}

struct request {
	uint8_t bytes[REQUEST_MAX];
	size_t len;
};

static const char *const originals[] = {
    RAW_UPGRADE,
    RAW_REQUEST("/mesh/v1", "Sec-WebSocket-Protocol: mesh.v1, other\r\nAuthorization: Bearer e30.e30.AAAA\r\n"
			    "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n"),
    "GET /mesh/v1?x=%41%00%zz HTTP/1.1\r\nHost: [::1]:443\r\nConnection: keep-alive, Upgrade\r\n"
    "Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nContent-Length: 5\r\n\r\nhello",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
};

static size_t
below(size_t n)
{
	return (size_t)rng_below(&rng, n);
}

static void
cut(struct request *q, size_t at, size_t n)
{
	memmove(q->bytes + at, q->bytes + at + n, q->len - at - n);
	q->len -= n;
}

static void
insert(struct request *q, size_t at, const uint8_t *what, size_t n)
{
	uint8_t copy[256];

	if (n > sizeof(copy) || q->len + n > sizeof(q->bytes))
		return;
	memcpy(copy, what, n);
	memmove(q->bytes + at + n, q->bytes + at, q->len - at);
	memcpy(q->bytes + at, copy, n);
	q->len += n;
}

static void
change(struct request *q)
{
	static const char *const words[] = {"\r\n", "\n", "\r\n\r\n", "\0", " ", "\t", ":", ",", ";", "%",
	    "\xff\xfe", "Transfer-Encoding: chunked\r\n", "Upgrade: h2c\r\n", "Connection: close\r\n",
	    "HTTP/1.0", "mesh.v1", "Sec-WebSocket-Protocol: ", "Authorization: Bearer ",
	    "Sec-WebSocket-Key: "};
	size_t at = below(q->len), left = q->len - at, word = below(COUNT(words));

	switch (below(5)) {
	case 0:
		q->bytes[at] = (uint8_t)rng_u64(&rng);
		break;
	case 1:
		cut(q, at, 1 + below(left < 40 ? left : 40));
		break;
	case 2: /* something that is there already, once more */
		insert(q, below(q->len), q->bytes + at, left < 100 ? left : 1 + below(100));
		break;
	default:
		insert(q, at, (const uint8_t *)words[word], words[word][0] == '\0' ? 1 : strlen(words[word]));
	}
}

static void
mutate(struct request *q)
{
	const char *original = originals[below(COUNT(originals))];
	size_t changes = 1 + below(CHANGES_MAX);

	q->len = strlen(original);
	memcpy(q->bytes, original, q->len);
	for (size_t i = 0; i < changes && q->len > 1; i++)
		change(q);
}

/* Sends it in up to three pieces, says that this is all, and reads until the end. */
static void
try(const struct request *q, bool tls)
{
	struct raw_peer p;
	char answer[1024] = "", trash[1024];
	size_t sent = 0, used = 0;
	int n;

	RIG_MUST(tls ? raw_connect(&p, node->port, other->dir) : raw_connect_plain(&p, proxied_port));
	while (sent < q->len) {
		size_t piece = below(3) == 0 ? q->len - sent : 1 + below(q->len - sent);

		if ((n = raw_send(&p, q->bytes + sent, piece)) <= 0)
			break;
		sent += (size_t)n;
	}
	if (tls)
		(void)SSL_shutdown(p.ssl);
	(void)shutdown(p.fd, SHUT_WR);
	while (used < sizeof(answer) - 1 && (n = raw_recv(&p, answer + used, sizeof(answer) - 1 - used)) > 0)
		used += (size_t)n;
	while (used == sizeof(answer) - 1 && raw_recv(&p, trash, sizeof(trash)) > 0)
		;
	raw_free(&p);
	if (!tls && strncmp(answer, "HTTP/1.1 101", 12) == 0)
		fail_msg(
		    "let in without a certificate or a token: %.*s", (int)q->len, (const char *)q->bytes);
}

static void
honest_peer_gets_in(void)
{
	struct raw_peer p;

	assert_true(rig_alive(node));
	assert_true(raw_connect(&p, node->port, other->dir) && raw_http(&p, RAW_UPGRADE) == 101);
	raw_free(&p);
}

static unsigned long
from_env(const char *name, unsigned long fallback)
{
	const char *text = getenv(name);

	return text != NULL ? strtoul(text, NULL, 10) : fallback;
}

static void
mutants(void **state)
{
	unsigned long count = from_env("UPGRADE_MUTANTS", MUTANTS), seed = from_env("UPGRADE_SEED", 1);
	static struct request q;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	rng_seed(&rng, seed);
	rig_init(&r);
	node = rig_add(&r, "n");
	other = rig_add(&r, "o");
	proxied_port = rig_free_port();
	rig_conf(node, "\thandshake-timeout 2s\n\tlisten-proxied 127.0.0.1:%u\n", proxied_port);
	rig_start(node);
	assert_true(rig_wait(&r, knows_itself, node, RIG_WAIT_MS));
	for (unsigned long i = 0; i < count; i++) {
		mutate(&q);
		try(&q, i % TLS_EVERY == 0);
		if (i % CHECK_EVERY == 0)
			honest_peer_gets_in();
	}
	honest_peer_gets_in();
	print_message("%lu requests, seed %lu\n", count, seed);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(mutants)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
