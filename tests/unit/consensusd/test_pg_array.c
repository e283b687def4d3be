/* Arrays in PostgreSQL's binary format: batches there and back, and every reason to refuse one. */
#include "tests/unit/unit.h"

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/batch.h"
#include "consensusd/pg_array.h"

enum { ROOM = 4096 };

static uint8_t mem[2][ROOM];

static struct buf
room(int which)
{
	struct buf b;

	buf_init_fixed(&b, mem[which], ROOM);
	return b;
}

/* count messages of which message i has i bytes. */
static struct batch *
sample(uint32_t count)
{
	struct batch *b = batch_new(count * (size_t)BATCH_RECORD_HDR_BYTES + count * (count - 1) / 2);
	size_t at = 0;

	assert_non_null(b);
	b->first_seq = 1;
	b->count = count;
	for (uint32_t i = 0; i < count; i++) {
		memset(b->body + at, (int)i, ULID_BYTES);
		be_store32(b->body + at + ULID_BYTES, i);
		memset(b->body + at + BATCH_RECORD_HDR_BYTES, 0x80 + (int)i, i);
		at += BATCH_RECORD_HDR_BYTES + i;
	}
	assert_int_equal(batch_check(b), 0);
	return b;
}

static void
test_batches_there_and_back(void **state)
{
	(void)state;
	for (uint32_t count = 1; count < 20; count++) {
		struct batch *b = sample(count), *again = NULL;
		struct buf ids = room(0), payloads = room(1);

		assert_int_equal(pg_array_put_ids(&ids, b), 0);
		assert_int_equal(pg_array_put_payloads(&payloads, b), 0);
		assert_int_equal(pg_array_get_batch(buf_head(&ids), buf_left(&ids), buf_head(&payloads),
				     buf_left(&payloads), &again),
		    0);
		assert_int_equal(again->count, count);
		assert_int_equal(again->body_len, b->body_len);
		assert_memory_equal(again->body, b->body, b->body_len);
		batch_unref(b);
		batch_unref(again);
	}
}

static void
test_layout(void **state)
{
	static const uint8_t expected[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0,
	    1, /* header */
	    0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 8, 255, 255, 255, 255, 255, 255, 255, 255};
	static const uint8_t empty[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17};
	struct buf b = room(0);

	(void)state;
	assert_int_equal(pg_array_begin(&b, PG_INT8, 2), 0);
	assert_int_equal(pg_array_put_int8(&b, 7), 0);
	assert_int_equal(pg_array_put_int8(&b, -1), 0);
	assert_int_equal(buf_left(&b), sizeof(expected));
	assert_memory_equal(buf_head(&b), expected, sizeof(expected));
	b = room(0);
	assert_int_equal(pg_array_begin(&b, PG_BYTEA, 0), 0);
	assert_int_equal(buf_left(&b), sizeof(empty));
	assert_memory_equal(buf_head(&b), empty, sizeof(empty));
}

static void
test_no_room_is_an_error(void **state)
{
	struct batch *b = sample(3);

	(void)state;
	for (size_t n = 0; n < 80; n++) {
		struct buf out;

		buf_init_fixed(&out, mem[0], n);
		assert_int_equal(pg_array_put_ids(&out, b), ERR_LIMIT);
		buf_init_fixed(&out, mem[0], n < 34 ? n : 34);
		assert_int_equal(pg_array_put_payloads(&out, b), ERR_LIMIT);
	}
	batch_unref(b);
}

static int
walk(const uint8_t *data, size_t len, uint32_t max)
{
	struct pg_array a;
	const uint8_t *p;
	size_t n;
	int got = pg_array_open(&a, data, len, PG_INT8, max);

	while (got == 0 && (got = pg_array_next(&a, &p, &n)) == 1)
		got = 0;
	return got;
}

/* Two numbers, with one word of the array set to something else. */
static int
walk_with(size_t at, uint32_t word)
{
	struct buf b = room(0);

	assert_int_equal(pg_array_begin(&b, PG_INT8, 2), 0);
	assert_int_equal(pg_array_put_int8(&b, 7), 0);
	assert_int_equal(pg_array_put_int8(&b, 8), 0);
	be_store32(mem[0] + at, word);
	return walk(buf_head(&b), buf_left(&b), 2);
}

static void
test_refuses_what_is_no_array(void **state)
{
	(void)state;
	assert_int_equal(walk_with(16, 5), 0); /* lower bound: any */
	assert_int_equal(walk_with(0, 2), ERR_FORMAT);
	assert_int_equal(walk_with(0, 0), ERR_LEFTOVER);
	assert_int_equal(walk_with(4, 1), ERR_FORMAT);
	assert_int_equal(walk_with(8, PG_UUID), ERR_FORMAT);
	assert_int_equal(walk_with(12, 3), ERR_LIMIT);
	assert_int_equal(walk_with(12, UINT32_MAX), ERR_LIMIT);
	assert_int_equal(walk_with(12, 1), ERR_LEFTOVER);
	assert_int_equal(walk_with(20, UINT32_MAX), ERR_FORMAT); /* NULL */
	assert_int_equal(walk_with(20, 100), ERR_SHORT);
	for (size_t len = 0; len < 44; len++)
		assert_int_equal(walk(mem[0], len, 2), ERR_SHORT);
}

static void
test_refuses_what_is_no_batch(void **state)
{
	struct batch *b = sample(3), *again;
	struct buf ids = room(0), payloads = room(1);
	size_t ids_len, payloads_len;

	(void)state;
	assert_int_equal(pg_array_put_ids(&ids, b), 0);
	assert_int_equal(pg_array_put_payloads(&payloads, b), 0);
	batch_unref(b);
	ids_len = buf_left(&ids);
	payloads_len = buf_left(&payloads);
	assert_int_equal(pg_array_get_batch(mem[1], payloads_len, mem[0], ids_len, &again), ERR_FORMAT);
	be_store32(mem[1] + 12, 2);
	assert_int_equal(pg_array_get_batch(mem[0], ids_len, mem[1], payloads_len, &again), ERR_FORMAT);
	be_store32(mem[1] + 12, 3);
	be_store32(mem[0] + 20, 15);
	assert_int_equal(pg_array_get_batch(mem[0], ids_len, mem[1], payloads_len, &again), ERR_FORMAT);
	be_store32(mem[0] + 20, 16);
	mem_fail_at(1);
	assert_int_equal(pg_array_get_batch(mem[0], ids_len, mem[1], payloads_len, &again), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(pg_array_get_batch(mem[0], ids_len, mem[1], payloads_len, &again), 0);
	batch_unref(again);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_batches_there_and_back),
	    cmocka_unit_test(test_layout),
	    cmocka_unit_test(test_no_room_is_an_error),
	    cmocka_unit_test(test_refuses_what_is_no_array),
	    cmocka_unit_test(test_refuses_what_is_no_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
