#include "transportd/core/wsframe.h"

#include "common/base/err.h"
#include "tests/unit/unit.h"

enum { MAX = 16384 };

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

/* The examples of RFC 6455 section 5.7 that mesh.v1 can meet. */
static void
rfc_examples(void **state)
{
	const uint8_t ping[] = {0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f};
	uint8_t pong[] = {0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58};
	const uint8_t big[] = {0x82, 0x7E, 0x01, 0x00};
	struct wsframe f;

	(void)state;
	assert_int_equal(wsframe_decode(ping, sizeof(ping), false, MAX, &f), 0);
	assert_int_equal(f.opcode, WSFRAME_PING);
	assert_int_equal(f.payload_len, 5);
	assert_int_equal(f.header_len, 2);
	assert_int_equal(wsframe_decode(pong, sizeof(pong), true, MAX, &f), 0);
	assert_int_equal(f.opcode, WSFRAME_PONG);
	assert_int_equal(f.header_len, 6);
	wsframe_mask(pong + f.header_len, f.payload_len, f.mask);
	assert_memory_equal(pong + f.header_len, "Hello", 5);
	assert_int_equal(wsframe_decode(big, sizeof(big), false, MAX, &f), 0);
	assert_int_equal(f.payload_len, 256);
	assert_true(f.fin);
}

static void
what_we_write_we_read(void **state)
{
	static uint8_t mem[WSFRAME_HEADROOM + 65535], copy[65535];
	static const size_t sizes[] = {0, 1, 125, 126, 127, 255, 256, 16368, 65535};
	uint8_t *payload = mem + WSFRAME_HEADROOM;

	(void)state;
	for (unsigned i = 0; i < COUNT(sizes); i++) {
		for (int masked = 0; masked < 2; masked++) {
			struct wsframe f;
			size_t header;

			for (size_t n = 0; n < sizes[i]; n++)
				payload[n] = copy[n] = (uint8_t)(n * 7 + i);
			header = wsframe_put_header(payload, sizes[i], WSFRAME_BINARY, masked ? key : NULL);
			assert_in_range(header, 2, WSFRAME_HEADROOM);
			for (size_t n = 0; n < header; n++)
				assert_int_equal(
				    wsframe_decode(payload - header, n, masked, 65535, &f), ERR_SHORT);
			assert_int_equal(wsframe_decode(payload - header, header, masked, 65535, &f), 0);
			assert_int_equal(f.header_len, header);
			assert_int_equal(f.payload_len, sizes[i]);
			assert_int_equal(f.opcode, WSFRAME_BINARY);
			assert_true(f.fin);
			if (masked)
				wsframe_mask(payload, sizes[i], f.mask);
			assert_memory_equal(payload, copy, sizes[i]);
		}
	}
}

static void
bad_frames(void **state)
{
	static const struct {
		uint8_t bytes[10];
		size_t len;
		bool masked;
		int err;
	} bad[] = {
	    {{0xc2, 0x01}, 2, false, ERR_FORMAT},             /* reserved bit */
	    {{0x83, 0x01}, 2, false, ERR_FORMAT},             /* opcode 3 */
	    {{0x8b, 0x01}, 2, false, ERR_FORMAT},             /* opcode 11 */
	    {{0x82, 0x81}, 2, false, ERR_FORMAT},             /* a server that masks */
	    {{0x82, 0x01}, 2, true, ERR_FORMAT},              /* a client that does not */
	    {{0x09, 0x01}, 2, false, ERR_FORMAT},             /* ping in pieces */
	    {{0x89, 0x7e}, 2, false, ERR_FORMAT},             /* ping too long */
	    {{0x82, 0x7e, 0x00, 0x7d}, 4, false, ERR_FORMAT}, /* length not minimal */
	    {{0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 10, false, ERR_FORMAT},
	    {{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}, 10, false, ERR_LIMIT},
	    {{0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0}, 10, false, ERR_LIMIT},
	    {{0x82, 0x7e, 0x40, 0x01}, 4, false, ERR_LIMIT}, /* one byte too many */
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(bad); i++) {
		struct wsframe f;

		assert_int_equal(
		    wsframe_decode(bad[i].bytes, bad[i].len, bad[i].masked, MAX, &f), bad[i].err);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rfc_examples),
	    cmocka_unit_test(what_we_write_we_read),
	    cmocka_unit_test(bad_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
