/* Bodies of batches: walking them, and every reason to refuse one. */
#include "tests/unit/unit.h"

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/batch.h"

enum { TWO_RECORDS_BYTES = 2 * BATCH_RECORD_HDR_BYTES + 3 };

/* Two records, with 3 and with 0 sealed bytes. */
static struct batch *
two_records(void)
{
	struct batch *b = batch_new(TWO_RECORDS_BYTES);

	assert_non_null(b);
	b->first_seq = 41;
	b->count = 2;
	memset(b->body, 0xaa, ULID_BYTES);
	be_store32(b->body + 16, 3);
	memcpy(b->body + 20, "abc", 3);
	memset(b->body + 23, 0xbb, ULID_BYTES);
	be_store32(b->body + 39, 0);
	return b;
}

static void
test_walks_records_in_order(void **state)
{
	struct batch *b = two_records();
	struct batch_iter it;
	struct batch_record rec;

	(void)state;
	assert_int_equal(batch_check(b), 0);
	assert_int_equal(batch_last_seq(b), 42);
	batch_iter_init(&it, b);
	assert_int_equal(batch_next(&it, &rec), 1);
	assert_int_equal(rec.seq, 41);
	assert_int_equal(rec.message_id[0], 0xaa);
	assert_int_equal(rec.sealed_len, 3);
	assert_memory_equal(rec.sealed, "abc", 3);
	assert_int_equal(rec.record_offset, 0);
	assert_int_equal(batch_next(&it, &rec), 1);
	assert_int_equal(rec.seq, 42);
	assert_int_equal(rec.message_id[15], 0xbb);
	assert_int_equal(rec.sealed_len, 0);
	assert_int_equal(rec.record_offset, 23);
	assert_int_equal(batch_next(&it, &rec), 0);
	assert_int_equal(batch_next(&it, &rec), 0);
	batch_unref(b);
}

static int
check_with(uint64_t first_seq, uint32_t count, size_t body_len, uint32_t last_len)
{
	struct batch *b = two_records();
	int err;

	b->first_seq = first_seq;
	b->count = count;
	b->body_len = body_len;
	be_store32(b->body + 39, last_len);
	err = batch_check(b);
	batch_unref(b);
	return err;
}

static void
test_refuses_what_does_not_fit(void **state)
{
	(void)state;
	assert_int_equal(check_with(1, 2, TWO_RECORDS_BYTES, 0), 0);
	assert_int_equal(check_with(1, 0, TWO_RECORDS_BYTES, 0), ERR_FORMAT);
	assert_int_equal(check_with(0, 2, TWO_RECORDS_BYTES, 0), ERR_FORMAT);
	assert_int_equal(check_with(UINT64_MAX, 2, TWO_RECORDS_BYTES, 0), ERR_FORMAT);
	assert_int_equal(check_with(INT64_MAX, 2, TWO_RECORDS_BYTES, 0), ERR_FORMAT);
	assert_int_equal(check_with(INT64_MAX - 1, 2, TWO_RECORDS_BYTES, 0), 0);
	assert_int_equal(check_with(1, BATCH_MESSAGES_MAX + 1, TWO_RECORDS_BYTES, 0), ERR_LIMIT);
	assert_int_equal(check_with(1, 1, TWO_RECORDS_BYTES, 0), ERR_LEFTOVER);
	assert_int_equal(check_with(1, 3, TWO_RECORDS_BYTES, 0), ERR_SHORT);
	assert_int_equal(check_with(1, 2, TWO_RECORDS_BYTES, 1), ERR_SHORT);
	assert_int_equal(check_with(1, 2, TWO_RECORDS_BYTES, UINT32_MAX), ERR_SHORT);
	for (size_t len = 0; len < TWO_RECORDS_BYTES; len++)
		assert_int_equal(check_with(1, 2, len, 0), ERR_SHORT);
}

static void
test_counts_references(void **state)
{
	struct batch *b = two_records();

	(void)state;
	assert_int_equal(b->refs, 1);
	assert_ptr_equal(batch_ref(b), b);
	assert_int_equal(b->refs, 2);
	batch_unref(b);
	assert_int_equal(b->refs, 1);
	batch_unref(b);
	batch_unref(NULL);
}

static void
test_memory_is_bounded(void **state)
{
	struct batch *b = batch_new(BATCH_BODY_MAX_BYTES);

	(void)state;
	assert_non_null(b);
	batch_unref(b);
	assert_null(batch_new(BATCH_BODY_MAX_BYTES + 1));
	assert_null(batch_new(SIZE_MAX));
	mem_fail_at(1);
	assert_null(batch_new(1));
	mem_fail_at(0);
}

/* Random damage either leaves a body that can be walked to its end, or is refused. */
static void
test_random_bodies(void **state)
{
	struct rng r;

	(void)state;
	rng_seed(&r, 11);
	for (int round = 0; round < 20000; round++) {
		struct batch *b = two_records();
		struct batch_iter it;
		struct batch_record rec;
		uint64_t walked = 0;

		b->body[rng_below(&r, b->body_len)] ^= (uint8_t)(1u << rng_below(&r, 8));
		b->count = 1 + (uint32_t)rng_below(&r, 3);
		if (batch_check(b) == 0) {
			batch_iter_init(&it, b);
			while (batch_next(&it, &rec) != 0)
				walked += BATCH_RECORD_HDR_BYTES + rec.sealed_len;
			assert_int_equal(walked, b->body_len);
		}
		batch_unref(b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_walks_records_in_order),
	    cmocka_unit_test(test_refuses_what_does_not_fit),
	    cmocka_unit_test(test_counts_references),
	    cmocka_unit_test(test_memory_is_bounded),
	    cmocka_unit_test(test_random_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
