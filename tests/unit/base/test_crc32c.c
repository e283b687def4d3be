/* CRC32C: RFC 3720 appendix B.4, and both implementations equal. */
#include "tests/unit/unit.h"

#include "common/base/crc32c.h"
#include "common/base/rng.h"

static void
test_vectors(void **state)
{
	static const uint8_t iscsi_read[48] = {
	    0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02};
	uint8_t bytes[32];

	(void)state;
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i;
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(31 - i);
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x113fdb5c);
	assert_int_equal(crc32c(0, iscsi_read, sizeof(iscsi_read)), 0xd9963a56);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c_portable(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, "", 0), 0);
}

static void
test_implementations_agree(void **state)
{
	uint8_t bytes[300];
	struct rng r;

	(void)state;
	rng_seed(&r, 5);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)rng_u64(&r);
	for (size_t at = 0; at < 9; at++)
		for (size_t len = 0; len + at <= sizeof(bytes); len++)
			assert_int_equal(crc32c(7, bytes + at, len), crc32c_portable(7, bytes + at, len));
}

static void
test_pieces_equal_the_whole(void **state)
{
	static const char text[] = "in order, exactly once, through crashes of any process";
	uint32_t whole = crc32c(0, text, sizeof(text));

	(void)state;
	for (size_t cut = 0; cut <= sizeof(text); cut++)
		assert_int_equal(crc32c(crc32c(0, text, cut), text + cut, sizeof(text) - cut), whole);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_implementations_agree),
	    cmocka_unit_test(test_pieces_equal_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
