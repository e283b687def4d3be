/* gRPC's gzip messages: limits, broken and cut streams, failing memory. */
#include "tests/unit/unit.h"

#include <zlib.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "gatewayd/gunzip.h"

static uint8_t packed[100000];

static size_t
pack(const uint8_t *data, size_t len)
{
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)len;
	z.next_out = packed;
	z.avail_out = sizeof(packed);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return sizeof(packed) - z.avail_out;
}

static int
unpack(size_t len, size_t limit, size_t *got)
{
	struct buf out;
	int rc;

	buf_init(&out, limit);
	rc = gunzip(&out, packed, len);
	*got = buf_left(&out);
	buf_fini(&out);
	return rc;
}

static void
test_sizes_and_limits(void **state)
{
	static uint8_t plain[200000];
	static const size_t sizes[] = {0, 1, 100, 16383, 16384, 16385, 200000};
	size_t got;

	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * i >> 7);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		size_t n = pack(plain, sizes[i]);

		assert_int_equal(unpack(n, sizes[i] + 1, &got), 0);
		assert_int_equal(got, sizes[i]);
		assert_int_equal(unpack(n, sizes[i], &got), 0);
		if (sizes[i] > 0)
			assert_int_equal(unpack(n, sizes[i] - 1, &got), ERR_LIMIT);
	}
}

static void
test_broken(void **state)
{
	static const uint8_t plain[] =
	    "some text that is long enough to be compressed, compressed, compressed";
	size_t n = pack(plain, sizeof(plain)), got;

	(void)state;
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(unpack(cut, 1000, &got), ERR_FORMAT);
	packed[n] = 0;
	assert_int_equal(unpack(n + 1, 1000, &got), ERR_FORMAT); /* something after the end */
	packed[n - 5] ^= 1;
	assert_int_equal(unpack(n, 1000, &got), ERR_FORMAT); /* checksum */
	memset(packed, 'x', 100);
	assert_int_equal(unpack(100, 1000, &got), ERR_FORMAT);
}

static void
test_failing_memory(void **state)
{
	size_t n = pack((const uint8_t *)"x", 1), got;
	unsigned long k = 1;
	int rc;

	(void)state;
	do {
		mem_fail_at(k++);
		rc = unpack(n, 100, &got);
		assert_true(rc == 0 || rc == ERR_NOMEM);
	} while (rc != 0);
	mem_fail_at(0);
	assert_true(k > 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes_and_limits),
	    cmocka_unit_test(test_broken),
	    cmocka_unit_test(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
