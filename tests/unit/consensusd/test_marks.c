/* Marks are coalesced per stream and node, whatever the order, and survive a lack of memory. */
#include "tests/unit/unit.h"

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/store_marks.h"

static struct ulid
stream_id(uint64_t n)
{
	struct ulid id = {{0}};

	be_store64(id.b + 8, n);
	return id;
}

static void
test_ranges_grow(void **state)
{
	struct store_marks m;
	struct ulid a = stream_id(1), b = stream_id(2);

	(void)state;
	store_marks_init(&m, 1);
	assert_null(store_marks_get(&m, &a, 0));
	assert_int_equal(store_marks_add(&m, &a, 7, 3, 10, 20), 0);
	assert_int_equal(store_marks_add(&m, &a, 8, 3, 1, 1), 0);
	assert_int_equal(store_marks_add(&m, &b, 7, 3, 1, 1), 0);
	assert_int_equal(store_marks_add(&m, &a, 7, 3, 21, 30), 0);
	assert_int_equal(store_marks_add(&m, &a, 7, 3, 5, 12), 0);
	assert_int_equal(m.count, 3);
	assert_int_equal(store_marks_get(&m, &a, 7)->first_seq, 5);
	assert_int_equal(store_marks_get(&m, &a, 7)->last_seq, 30);
	assert_int_equal(store_marks_get(&m, &a, 7)->src_node, 3);
	assert_null(store_marks_get(&m, &b, 8));
	store_marks_fini(&m);
}

/* Against a plain table. */
static void
test_many(void **state)
{
	enum { STREAMS = 3000, ROUNDS = 30000 };
	static uint64_t highest[STREAMS];
	struct store_marks m;
	struct rng r;
	size_t streams = 0;

	(void)state;
	rng_seed(&r, 5);
	store_marks_init(&m, rng_u64(&r));
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t n = rng_below(&r, STREAMS), seq = 1 + rng_below(&r, 1000);
		struct ulid id = stream_id(n);

		streams += highest[n] == 0;
		if (seq > highest[n])
			highest[n] = seq;
		assert_int_equal(store_marks_add(&m, &id, 0, 0, 1, seq), 0);
	}
	assert_int_equal(m.count, streams);
	for (size_t i = 0; i < m.count; i++)
		assert_int_equal(m.items[i].last_seq, highest[be_load64(m.items[i].stream_id.b + 8)]);
	store_marks_fini(&m);
}

static void
test_failing_allocations(void **state)
{
	struct store_marks m;

	(void)state;
	store_marks_init(&m, 9);
	for (uint64_t n = 0; n < 200; n++) {
		struct ulid id = stream_id(n);
		int err = ERR_NOMEM;

		for (unsigned long k = 1; err != 0; k++) {
			assert_true(k < 4);
			mem_fail_at(k);
			err = store_marks_add(&m, &id, 0, 0, n + 1, n + 1);
			mem_fail_at(0);
		}
	}
	assert_int_equal(m.count, 200);
	for (uint64_t n = 0; n < 200; n++) {
		struct ulid id = stream_id(n);

		assert_int_equal(store_marks_get(&m, &id, 0)->last_seq, n + 1);
	}
	store_marks_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ranges_grow),
	    cmocka_unit_test(test_many),
	    cmocka_unit_test(test_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
