/* Connections that never become links: slow, huge and half-open upgrades, and who still gets in. */
#include "tests/rig/raw_peer.h"
#include "tests/unit/unit.h"

#include <poll.h>

enum { FLOOD = 96, PENDING_MAX = 16 };

static struct rig r;
static struct rig_node *node, *other; /* other has no daemon: it is played by hand */

static bool
knows_itself(void *arg)
{
	struct rig_node *n = arg;

	return n->consensus_up && n->router_up;
}

static void
up(const char *timeout)
{
	rig_init(&r);
	node = rig_add(&r, "n");
	other = rig_add(&r, "o");
	rig_conf(node, "\thandshake-timeout %s\n\tpending-max %d\n", timeout, PENDING_MAX);
	rig_start(node);
	assert_true(rig_wait(&r, knows_itself, node, RIG_WAIT_MS));
}

static void
down(void)
{
	assert_true(rig_alive(node));
	rig_fini(&r);
}

static bool
good_peer_gets_in(void)
{
	struct raw_peer p;
	bool in = raw_connect(&p, node->port, other->dir) && raw_http(&p, RAW_UPGRADE) == 101;

	raw_free(&p);
	return in;
}

/* A value of our metrics, by the end of its line's name. */
static unsigned
metric(const char *label)
{
	const char *at = node->metrics != NULL ? strstr(node->metrics, label) : NULL;

	return at != NULL ? (unsigned)strtoul(strchr(at, ' ') + 1, NULL, 10) : 0;
}

struct at_least {
	const char *label;
	unsigned count;
};

static bool
has_counted(void *arg)
{
	const struct at_least *want = arg;

	if (metric(want->label) >= want->count)
		return true;
	if (channel_up(node->gateway))
		RIG_MUST(channel_send(node->gateway, GT_METRICS, RIG_ASK_METRICS, NULL, 0) == 0);
	return false;
}

static void
assert_counted(const char *label, unsigned count)
{
	struct at_least want = {label, count};

	free(node->metrics);
	node->metrics = NULL;
	assert_true(rig_wait(&r, has_counted, &want, RIG_WAIT_MS));
}

static void
huge_headers(void **state)
{
	static char request[128 * 1024];
	struct raw_peer p;

	(void)state;
	up("120s");
	for (int round = 0; round < 3; round++) {
		int len = snprintf(request, sizeof(request), "GET /mesh/v1 HTTP/1.1\r\nHost: x\r\n");

		while (len < (int)sizeof(request) - 200)
			len += snprintf(request + len, sizeof(request) - (size_t)len,
			    round == 0   ? "X-Header-%d: %0100d\r\n"
			    : round == 1 ? "Cookie: %d%0100d\r\n"
					 : "%d%0100d",
			    len, 1);
		assert_true(raw_connect(&p, node->port, other->dir));
		/* The end of the connection, without an answer. */
		assert_int_equal(raw_http(&p, request), 0);
		raw_free(&p);
	}
	assert_counted("reason=\"http\"}", 3);
	assert_true(good_peer_gets_in());
	down();
}

/* One byte after the other, as fast as the other end takes it: it never ends, so time ends it. */
static void
slow_headers(void **state)
{
	struct raw_peer p;
	struct pollfd pfd;
	unsigned sent = 0;

	(void)state;
	up("1s");
	assert_true(raw_connect(&p, node->port, other->dir));
	assert_true(raw_send(&p, "GET /mesh/v1 HTTP/1.1\r\nX: ", 26) == 26);
	pfd = (struct pollfd){.fd = p.fd, .events = POLLIN};
	while (poll(&pfd, 1, 100) == 0) {
		assert_true(raw_send(&p, "x", 1) == 1);
		assert_true(++sent < 200);
	}
	raw_free(&p);
	assert_true(good_peer_gets_in());
	down();
}

/* Half-open connections from 127.0.0.last. */
static void
flood(int *fds, unsigned last)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
			       .sin_port = htons(node->port),
			       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
			   from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000 | last)};

	for (int i = 0; i < FLOOD; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_true(bind(fds[i], (struct sockaddr *)&from, sizeof(from)) == 0);
		assert_true(connect(fds[i], (struct sockaddr *)&to, sizeof(to)) == 0);
	}
}

/* The time for a handshake is two minutes here: nobody waits for it. */
static void
one_address_does_not_lock_others_out(void **state)
{
	int fds[FLOOD], more[FLOOD];
	char c;

	(void)state;
	up("120s");
	flood(fds, 2);
	assert_true(good_peer_gets_in());
	assert_counted("reason=\"pending_max\"}", FLOOD - PENDING_MAX);
	/* Nor itself: the oldest ones gave way. */
	assert_true(read(fds[0], &c, 1) <= 0);
	flood(more, 1);
	assert_true(good_peer_gets_in());
	for (int i = 0; i < FLOOD; i++) {
		close(fds[i]);
		close(more[i]);
	}
	down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(huge_headers),
	    cmocka_unit_test(slow_headers),
	    cmocka_unit_test(one_address_does_not_lock_others_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
