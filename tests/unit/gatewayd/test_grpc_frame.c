/* gRPC's message prefix: any cut gives the same messages, limits before memory, failing memory. */
#include "tests/unit/unit.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "gatewayd/core/grpc_frame.h"

enum { LIMIT = 1000 };

static size_t
message_put(uint8_t *out, const void *data, size_t len, bool compressed)
{
	grpc_frame_prefix(out, (uint32_t)len, compressed);
	if (len > 0)
		memcpy(out + GRPC_PREFIX_BYTES, data, len);
	return GRPC_PREFIX_BYTES + len;
}

static void
test_message_in_place(void **state)
{
	uint8_t raw[64];
	struct grpc_frame f;
	struct grpc_message m;
	struct buf b;
	size_t n = message_put(raw, "hello", 5, false);

	(void)state;
	n += message_put(raw + n, "", 0, true);
	grpc_frame_init(&f, LIMIT);
	buf_view(&b, raw, n);
	assert_int_equal(grpc_frame_feed(&f, &b, &m), 1);
	assert_ptr_equal(m.data, raw + GRPC_PREFIX_BYTES);
	assert_int_equal(m.len, 5);
	assert_false(m.compressed);
	assert_int_equal(grpc_frame_feed(&f, &b, &m), 1);
	assert_int_equal(m.len, 0);
	assert_true(m.compressed);
	assert_int_equal(grpc_frame_feed(&f, &b, &m), 0);
	assert_true(grpc_frame_clean(&f));
	assert_int_equal(grpc_frame_memory(&f), 0);
	grpc_frame_fini(&f);
}

/* Random messages, cut at random places: the same messages come out. */
static void
test_any_cut(void **state)
{
	uint8_t raw[8 * (LIMIT + GRPC_PREFIX_BYTES)], body[LIMIT];
	struct rng r;

	(void)state;
	rng_seed(&r, 7);
	for (int round = 0; round < 500; round++) {
		size_t lens[8], total = 0, at = 0, got = 0;
		struct grpc_frame f;

		for (int i = 0; i < 8; i++) {
			lens[i] = rng_below(&r, 3) == 0 ? rng_below(&r, 4) : rng_below(&r, LIMIT + 1);
			memset(body, i + 1, sizeof(body));
			total += message_put(raw + total, body, lens[i], false);
		}
		grpc_frame_init(&f, LIMIT);
		while (at < total) {
			size_t step = 1 + rng_below(&r, 700);
			struct grpc_message m;
			struct buf b;

			step = step < total - at ? step : total - at;
			buf_view(&b, raw + at, step);
			at += step;
			while (grpc_frame_feed(&f, &b, &m) == 1) {
				memset(body, (int)got + 1, sizeof(body));
				assert_int_equal(m.len, lens[got]);
				assert_memory_equal(m.data, body, m.len);
				got++;
			}
			assert_int_equal(buf_left(&b), 0);
		}
		assert_int_equal(got, 8);
		assert_true(grpc_frame_clean(&f));
		grpc_frame_fini(&f);
	}
}

static void
test_limit_before_memory(void **state)
{
	uint8_t raw[GRPC_PREFIX_BYTES];
	struct grpc_frame f;
	struct grpc_message m;
	struct buf b;

	(void)state;
	grpc_frame_prefix(raw, LIMIT + 1, false);
	for (size_t cut = 0; cut <= sizeof(raw); cut++) {
		int rc = 0;

		grpc_frame_init(&f, LIMIT);
		buf_view(&b, raw, cut);
		rc = grpc_frame_feed(&f, &b, &m);
		if (cut < sizeof(raw)) {
			assert_int_equal(rc, 0);
			buf_view(&b, raw + cut, sizeof(raw) - cut);
			rc = grpc_frame_feed(&f, &b, &m);
		}
		assert_int_equal(rc, ERR_LIMIT);
		assert_int_equal(m.len, LIMIT + 1);
		assert_true(grpc_frame_memory(&f) <= 256);
		grpc_frame_fini(&f);
	}
	memset(raw, 0xFF, sizeof(raw));
	raw[0] = 0;
	grpc_frame_init(&f, LIMIT);
	buf_view(&b, raw, sizeof(raw));
	assert_int_equal(grpc_frame_feed(&f, &b, &m), ERR_LIMIT);
	grpc_frame_fini(&f);
}

static void
test_bad_flag(void **state)
{
	uint8_t raw[] = {2, 0, 0, 0, 0};
	struct grpc_frame f;
	struct grpc_message m;
	struct buf b;

	(void)state;
	grpc_frame_init(&f, LIMIT);
	buf_view(&b, raw, sizeof(raw));
	assert_int_equal(grpc_frame_feed(&f, &b, &m), ERR_FORMAT);
	grpc_frame_fini(&f);
}

static void
test_large_memory_is_given_back(void **state)
{
	enum { LARGE = 100000 };
	uint8_t *raw = mem_calloc(1, LARGE + 2 * GRPC_PREFIX_BYTES);
	struct grpc_frame f;
	struct grpc_message m;
	struct buf b;

	(void)state;
	assert_non_null(raw);
	grpc_frame_prefix(raw, LARGE, false);
	grpc_frame_init(&f, LARGE);
	buf_view(&b, raw, LARGE);
	assert_int_equal(grpc_frame_feed(&f, &b, &m), 0);
	assert_false(grpc_frame_clean(&f));
	assert_true(grpc_frame_memory(&f) >= LARGE);
	buf_view(&b, raw + LARGE, 2 * GRPC_PREFIX_BYTES);
	assert_int_equal(grpc_frame_feed(&f, &b, &m), 1);
	assert_int_equal(m.len, LARGE);
	assert_int_equal(grpc_frame_feed(&f, &b, &m), 1);
	assert_int_equal(m.len, 0);
	assert_int_equal(grpc_frame_memory(&f), 0);
	grpc_frame_fini(&f);
	mem_free(raw);
}

static void
test_failing_memory(void **state)
{
	uint8_t raw[64];
	struct grpc_frame f;
	struct grpc_message m;
	struct buf b;
	size_t n = message_put(raw, "hello", 5, false);

	(void)state;
	grpc_frame_init(&f, LIMIT);
	buf_view(&b, raw, n - 1);
	mem_fail_at(1);
	assert_int_equal(grpc_frame_feed(&f, &b, &m), ERR_NOMEM);
	mem_fail_at(0);
	grpc_frame_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_message_in_place),
	    cmocka_unit_test(test_any_cut),
	    cmocka_unit_test(test_limit_before_memory),
	    cmocka_unit_test(test_bad_flag),
	    cmocka_unit_test(test_large_memory_is_given_back),
	    cmocka_unit_test(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
