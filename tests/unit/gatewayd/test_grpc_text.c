/* What gRPC writes as text: timeouts, status names and messages. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "common/base/err.h"
#include "gatewayd/core/grpc_status.h"
#include "gatewayd/core/grpc_timeout.h"

static void
test_timeouts(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} good[] = {
	    {"1H", 3600000000LL},
	    {"2M", 120000000},
	    {"3S", 3000000},
	    {"4m", 4000},
	    {"5u", 5},
	    {"1n", 1},
	    {"1000n", 1},
	    {"1001n", 2},
	    {"0n", 0},
	    {"0S", 0},
	    {"00000001S", 1000000},
	    {"99999999H", 99999999LL * 3600000000LL},
	};
	static const char *const bad[] = {"", "S", "1", "1s", "1h", "-1S", "+1S", " 1S", "1S ", "1 S", "1.5S",
	    "123456789S", "1SS", "0x1S", "99999999999999999999H"};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		int64_t us = -1;

		assert_int_equal(grpc_timeout_parse(good[i].text, strlen(good[i].text), &us), 0);
		assert_true(us == good[i].us);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		int64_t us = -1;

		assert_int_equal(grpc_timeout_parse(bad[i], strlen(bad[i]), &us), ERR_FORMAT);
		assert_true(us == -1);
	}
}

static void
test_status_names(void **state)
{
	(void)state;
	assert_string_equal(grpc_status_name(0), "OK");
	assert_string_equal(grpc_status_name(16), "UNAUTHENTICATED");
	assert_string_equal(grpc_status_name(17), "UNKNOWN");
	assert_string_equal(grpc_status_name(UINT32_MAX), "UNKNOWN");
	for (uint32_t i = 0; i < GRPC_STATUS_COUNT; i++)
		assert_int_equal(grpc_status_valid(i), i);
	assert_int_equal(grpc_status_valid(17), GRPC_UNKNOWN);
}

static void
test_message_encoding(void **state)
{
	static const struct {
		const char *plain, *encoded;
	} rows[] = {
	    {"", ""},
	    {"plain text, with 'quotes' ~", "plain text, with 'quotes' ~"},
	    {"100 %", "100 %25"},
	    {"a\nb\tc\x7f", "a%0Ab%09c%7F"},
	    {"gr\xc3\xb6\xc3\x9f"
	     "er",
		"gr%C3%B6%C3%9F"
		"er"},
	};
	char out[GRPC_MESSAGE_ENCODED_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(grpc_status_encode(out, rows[i].plain), strlen(rows[i].encoded));
		assert_string_equal(out, rows[i].encoded);
	}
}

/* A message that is too long is cut between characters, never inside one. */
static void
test_long_messages(void **state)
{
	char out[GRPC_MESSAGE_ENCODED_SIZE], text[GRPC_MESSAGE_MAX_BYTES + 64];

	(void)state;
	for (size_t shift = 0; shift < 4; shift++) {
		size_t n;

		memset(text, 'x', shift);
		for (n = shift; n + 3 < sizeof(text); n += 3)
			memcpy(text + n, "\xe2\x82\xac", 3);
		text[n] = '\0';
		n = grpc_status_encode(out, text);
		assert_true(n <= 3 * GRPC_MESSAGE_MAX_BYTES);
		assert_int_equal((n - shift) % 9, 0);
	}
	memset(text, 0x01, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(grpc_status_encode(out, text), 3 * GRPC_MESSAGE_MAX_BYTES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_timeouts),
	    cmocka_unit_test(test_status_names),
	    cmocka_unit_test(test_message_encoding),
	    cmocka_unit_test(test_long_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
