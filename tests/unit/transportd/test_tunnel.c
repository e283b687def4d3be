#include "transportd/core/tunnel.h"

#include "tests/unit/unit.h"
#include "transportd/core/limits.h"

/* Feeds text in pieces of step bytes; the bytes used. */
static size_t
feed(struct tunnel *t, const char *text, size_t step)
{
	size_t len = strlen(text), used = 0, n;

	tunnel_init(t);
	do {
		n = len - used < step ? len - used : step;
		n = tunnel_feed(t, (const uint8_t *)text + used, n);
		used += n;
	} while (n != 0 && t->state < TUNNEL_OPEN);
	return used;
}

static void
answers_are_read(void **state)
{
	static const struct {
		const char *text;
		enum tunnel_state state;
		unsigned status;
		size_t left;
	} cases[] = {
	    {"HTTP/1.1 200 OK\r\n\r\n", TUNNEL_OPEN, 200, 0},
	    {"HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n", TUNNEL_OPEN, 200, 0},
	    {"HTTP/1.1 204\nA: b\n\nrest", TUNNEL_OPEN, 204, 4},
	    {"HTTP/1.1 200\r\n\r\n", TUNNEL_OPEN, 200, 0},
	    {"HTTP/1.1 407 Proxy Authentication Required\r\n", TUNNEL_REFUSED, 407, 32},
	    {"HTTP/1.1 502 no", TUNNEL_REFUSED, 502, 3},
	    {"HTTP/1.1 100 Continue\r\n\r\n", TUNNEL_REFUSED, 100, 13},
	    {"HTTP/1.1 2000 OK\r\n\r\n", TUNNEL_GARBAGE, 200, 7},
	    {"HTTP/2 200 OK\r\n\r\n", TUNNEL_GARBAGE, 0, 11},
	    {"HTTP/1.1 20x OK\r\n\r\n", TUNNEL_GARBAGE, 20, 7},
	    {"SSH-2.0-OpenSSH\r\n", TUNNEL_GARBAGE, 0, 16},
	    {"HTTP/1.1 200 OK\r\nA: b\r\n", TUNNEL_LINE, 200, 0},
	    {"HTTP/1.1 20", TUNNEL_STATUS, 20, 0},
	    {"", TUNNEL_STATUS, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		for (size_t step = 1; step < 70; step += 23) {
			struct tunnel t;
			size_t used = feed(&t, cases[i].text, step);

			assert_int_equal(t.state, cases[i].state);
			assert_int_equal(t.status, cases[i].status);
			assert_int_equal(strlen(cases[i].text) - used, cases[i].left);
		}
	}
}

static void
an_answer_without_end_is_refused(void **state)
{
	static const char head[] = "HTTP/1.1 200 OK\r\n";
	uint8_t line[64];
	struct tunnel t;
	size_t used = 0;

	(void)state;
	memset(line, 'a', sizeof(line));
	(void)feed(&t, head, sizeof(head));
	while (t.state < TUNNEL_OPEN)
		used += tunnel_feed(&t, line, sizeof(line));
	assert_int_equal(t.state, TUNNEL_GARBAGE);
	assert_in_range(used, TUNNEL_ANSWER_MAX_BYTES - 64, TUNNEL_ANSWER_MAX_BYTES + 64);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_are_read),
	    cmocka_unit_test(an_answer_without_end_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
