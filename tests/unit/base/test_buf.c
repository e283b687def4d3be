/* Buffers: bounds on every put and get, growth, exact consumption, failing memory. */
#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

static void
test_integers_are_big_endian(void **state)
{
	static const uint8_t want[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	struct buf b, v;
	uint64_t u64;
	uint32_t u32;
	uint16_t u16;
	uint8_t u8;

	(void)state;
	buf_init(&b, 64);
	assert_int_equal(buf_put_u8(&b, 1), 0);
	assert_int_equal(buf_put_u16(&b, 0x0203), 0);
	assert_int_equal(buf_put_u32(&b, 0x04050607), 0);
	assert_int_equal(buf_put_u64(&b, 0x08090a0b0c0d0e0f), 0);
	assert_int_equal(buf_left(&b), sizeof(want));
	assert_memory_equal(buf_head(&b), want, sizeof(want));
	buf_view(&v, want, sizeof(want));
	assert_int_equal(buf_get_u8(&v, &u8), 0);
	assert_int_equal(buf_get_u16(&v, &u16), 0);
	assert_int_equal(buf_get_u32(&v, &u32), 0);
	assert_int_equal(buf_end(&v), ERR_LEFTOVER);
	assert_int_equal(buf_get_u64(&v, &u64), 0);
	assert_int_equal(buf_end(&v), 0);
	assert_int_equal(u8, 1);
	assert_int_equal(u16, 0x0203);
	assert_int_equal(u32, 0x04050607);
	assert_true(u64 == 0x08090a0b0c0d0e0f);
	buf_fini(&b);
}

/* Every get of n bytes on n - 1 bytes: ERR_SHORT, and nothing is consumed. */
static void
test_short_input_consumes_nothing(void **state)
{
	static const uint8_t bytes[8] = {7, 'a', 'b', 'c', 'd', 'e', 'f'};
	uint8_t u8, raw[8];
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	const uint8_t *ref;
	char text[16];
	struct buf v;

	(void)state;
	buf_view(&v, bytes, 0);
	assert_int_equal(buf_get_u8(&v, &u8), ERR_SHORT);
	assert_int_equal(buf_get_str8(&v, text, sizeof(text)), ERR_SHORT);
	buf_view(&v, bytes, 1);
	assert_int_equal(buf_get_u16(&v, &u16), ERR_SHORT);
	buf_view(&v, bytes, 3);
	assert_int_equal(buf_get_u32(&v, &u32), ERR_SHORT);
	buf_view(&v, bytes, 7);
	assert_int_equal(buf_get_u64(&v, &u64), ERR_SHORT);
	assert_int_equal(buf_get_bytes(&v, raw, 8), ERR_SHORT);
	assert_int_equal(buf_get_ref(&v, SIZE_MAX, &ref), ERR_SHORT);
	assert_int_equal(buf_skip(&v, 8), ERR_SHORT);
	assert_int_equal(buf_get_str8(&v, text, sizeof(text)), ERR_SHORT);
	assert_int_equal(buf_left(&v), 7);
}

static void
test_view_is_never_written(void **state)
{
	static const uint8_t bytes[4] = {1, 2, 3, 4};
	struct buf v;
	uint8_t *p;

	(void)state;
	buf_view(&v, bytes, sizeof(bytes));
	assert_int_equal(buf_room(&v), 0);
	assert_int_equal(buf_put_u8(&v, 9), ERR_LIMIT);
	assert_int_equal(buf_reserve(&v, 1, &p), ERR_LIMIT);
	assert_int_equal(buf_skip(&v, 2), 0);
	assert_int_equal(buf_put_u8(&v, 9), ERR_LIMIT);
	buf_fini(&v);
}

static void
test_fixed_stops_at_its_end(void **state)
{
	uint8_t mem[6];
	struct buf b;

	(void)state;
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_u32(&b, 1), 0);
	assert_int_equal(buf_put_u32(&b, 2), ERR_LIMIT);
	assert_int_equal(buf_put_str8(&b, "ab"), ERR_LIMIT);
	assert_int_equal(buf_left(&b), 4);
	assert_int_equal(buf_put_str8(&b, "a"), 0);
	assert_int_equal(buf_room(&b), 0);
	assert_int_equal(buf_skip(&b, 4), 0);
	buf_compact(&b);
	assert_int_equal(buf_room(&b), 4);
	assert_memory_equal(buf_head(&b), "\1a", 2);
	buf_fini(&b);
}

static void
test_owned_grows_to_max_and_no_further(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_put_u8(&b, (uint8_t)i), 0);
	assert_int_equal(buf_put_u8(&b, 0), ERR_LIMIT);
	assert_int_equal(b.cap, 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_head(&b)[i], (uint8_t)i);
	buf_reset(&b);
	assert_int_equal(buf_left(&b), 0);
	assert_int_equal(buf_put_bytes(&b, NULL, 0), 0);
	buf_fini(&b);
}

static void
test_huge_sizes_do_not_wrap(void **state)
{
	struct buf b;
	uint8_t *p;

	(void)state;
	buf_init(&b, SIZE_MAX);
	assert_int_equal(buf_put_u32(&b, 1), 0);
	assert_int_equal(buf_reserve(&b, SIZE_MAX - 3, &p), ERR_LIMIT);
	assert_int_equal(buf_reserve(&b, SIZE_MAX - 4, &p), ERR_NOMEM);
	assert_int_equal(buf_left(&b), 4);
	buf_fini(&b);
}

static void
test_empty_borrows_are_not_null(void **state)
{
	struct buf b;
	const uint8_t *p = NULL;

	(void)state;
	buf_init(&b, 10);
	assert_non_null(buf_head(&b));
	assert_int_equal(buf_get_ref(&b, 0, &p), 0);
	assert_non_null(p);
	buf_view(&b, NULL, 0);
	assert_non_null(buf_head(&b));
	assert_int_equal(buf_end(&b), 0);
	buf_compact(&b);
}

static void
test_str8(void **state)
{
	char longest[257], text[256];
	struct buf b, v;

	(void)state;
	memset(longest, 'x', 256);
	longest[256] = '\0';
	buf_init(&b, 1024);
	assert_int_equal(buf_put_str8(&b, longest), ERR_RANGE);
	longest[255] = '\0';
	assert_int_equal(buf_put_str8(&b, longest), 0);
	assert_int_equal(buf_put_str8(&b, ""), 0);
	assert_int_equal(buf_get_str8(&b, text, 255), ERR_LIMIT);
	assert_int_equal(buf_get_str8(&b, text, 256), 0);
	assert_string_equal(text, longest);
	assert_int_equal(buf_get_str8(&b, text, 1), 0);
	assert_string_equal(text, "");
	assert_int_equal(buf_end(&b), 0);
	buf_view(&v, "\3a\0b", 4);
	assert_int_equal(buf_get_str8(&v, text, sizeof(text)), ERR_FORMAT);
	assert_int_equal(buf_left(&v), 4);
	buf_fini(&b);
}

static void
test_reserve_and_commit(void **state)
{
	struct buf b;
	uint8_t *p;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(buf_reserve(&b, 3, &p), 0);
	memcpy(p, "abc", 3);
	assert_int_equal(buf_left(&b), 0);
	buf_commit(&b, 2);
	assert_int_equal(buf_left(&b), 2);
	assert_memory_equal(buf_head(&b), "ab", 2);
	buf_fini(&b);
}

/* Against a plain array: random puts, gets and compactions keep the same bytes in the same order. */
static void
test_random_operations(void **state)
{
	uint8_t model[4096], raw[64];
	size_t head = 0, tail = 0;
	struct rng r;
	struct buf b;

	(void)state;
	rng_seed(&r, 11);
	buf_init(&b, sizeof(model));
	while (tail < sizeof(model) - sizeof(raw)) {
		size_t n = rng_below(&r, sizeof(raw)), left = tail - head;

		for (size_t i = 0; i < n; i++)
			model[tail + i] = raw[i] = (uint8_t)rng_u64(&r);
		assert_int_equal(buf_put_bytes(&b, raw, n), 0);
		tail += n;
		n = rng_below(&r, left + 1) % sizeof(raw);
		assert_int_equal(buf_get_bytes(&b, raw, n), 0);
		assert_memory_equal(raw, model + head, n);
		head += n;
		if (rng_below(&r, 4) == 0)
			buf_compact(&b);
		assert_int_equal(buf_left(&b), tail - head);
	}
	buf_fini(&b);
}

static int
fill(struct buf *b)
{
	for (int i = 0; i < 500; i++) {
		int err = buf_put_u32(b, (uint32_t)i);

		if (err != 0)
			return err;
	}
	return 0;
}

static void
test_failing_memory_writes_nothing(void **state)
{
	(void)state;
	for (unsigned long k = 1;; k++) {
		struct buf b;
		size_t before;
		int err;

		buf_init(&b, 4096);
		mem_fail_at(k);
		err = fill(&b);
		mem_fail_at(0);
		before = buf_left(&b);
		assert_int_equal(before % 4, 0);
		if (err == 0) {
			assert_int_equal(before, 2000);
			assert_true(k > 1);
			buf_fini(&b);
			return;
		}
		assert_int_equal(err, ERR_NOMEM);
		assert_int_equal(buf_put_u8(&b, 1), 0);
		assert_int_equal(buf_left(&b), before + 1);
		buf_fini(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_integers_are_big_endian),
	    cmocka_unit_test(test_short_input_consumes_nothing),
	    cmocka_unit_test(test_view_is_never_written),
	    cmocka_unit_test(test_fixed_stops_at_its_end),
	    cmocka_unit_test(test_owned_grows_to_max_and_no_further),
	    cmocka_unit_test(test_huge_sizes_do_not_wrap),
	    cmocka_unit_test(test_empty_borrows_are_not_null),
	    cmocka_unit_test(test_str8),
	    cmocka_unit_test(test_reserve_and_commit),
	    cmocka_unit_test(test_random_operations),
	    cmocka_unit_test(test_failing_memory_writes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
