/* Ids of requests: unique while in use, stale ones find nothing, bounded. */
#include "tests/unit/unit.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "gatewayd/core/request_table.h"

static void
test_add_get_del(void **state)
{
	struct request_table t;
	uint32_t a, b;
	int x, y;

	(void)state;
	request_table_init(&t, 10);
	assert_int_equal(request_table_add(&t, &x, &a), 0);
	assert_int_equal(request_table_add(&t, &y, &b), 0);
	assert_int_not_equal(a, b);
	assert_int_not_equal(a, 0);
	assert_ptr_equal(request_table_get(&t, a), &x);
	assert_ptr_equal(request_table_del(&t, a), &x);
	assert_null(request_table_get(&t, a));
	assert_null(request_table_del(&t, a));
	assert_ptr_equal(request_table_get(&t, b), &y);
	assert_null(request_table_get(&t, 0));
	assert_null(request_table_get(&t, UINT32_MAX));
	assert_null(request_table_get(&t, 0xFFFF0000));
	request_table_fini(&t);
}

static void
test_stale_ids_find_nothing(void **state)
{
	struct request_table t;
	uint32_t old, now;
	int x;

	(void)state;
	request_table_init(&t, 1);
	assert_int_equal(request_table_add(&t, &x, &old), 0);
	for (int i = 0; i < 1000; i++) {
		assert_ptr_equal(request_table_del(&t, old), &x);
		assert_int_equal(request_table_add(&t, &x, &now), 0);
		assert_null(request_table_get(&t, old));
		old = now;
	}
	request_table_fini(&t);
}

static void
test_full(void **state)
{
	static int values[REQUEST_TABLE_MAX];
	static uint32_t ids[REQUEST_TABLE_MAX];
	struct request_table t;
	uint32_t id;

	(void)state;
	request_table_init(&t, REQUEST_TABLE_MAX);
	for (size_t i = 0; i < REQUEST_TABLE_MAX; i++)
		assert_int_equal(request_table_add(&t, &values[i], &ids[i]), 0);
	assert_int_equal(request_table_add(&t, values, &id), ERR_FULL);
	for (size_t i = 0; i < REQUEST_TABLE_MAX; i++)
		assert_ptr_equal(request_table_get(&t, ids[i]), &values[i]);
	assert_ptr_equal(request_table_del(&t, ids[777]), &values[777]);
	assert_int_equal(request_table_add(&t, &values[777], &id), 0);
	assert_ptr_equal(request_table_get(&t, id), &values[777]);
	request_table_fini(&t);
}

/* Against a plain array as the model. */
static void
test_random(void **state)
{
	enum { MODEL = 300 };
	static int values[MODEL];
	uint32_t ids[MODEL] = {0};
	struct request_table t;
	struct rng r;

	(void)state;
	rng_seed(&r, 11);
	request_table_init(&t, MODEL);
	for (int i = 0; i < 100000; i++) {
		size_t k = rng_below(&r, MODEL);

		if (ids[k] == 0) {
			assert_int_equal(request_table_add(&t, &values[k], &ids[k]), 0);
		} else {
			assert_ptr_equal(request_table_get(&t, ids[k]), &values[k]);
			if (rng_below(&r, 2) == 0) {
				assert_ptr_equal(request_table_del(&t, ids[k]), &values[k]);
				ids[k] = 0;
			}
		}
	}
	request_table_fini(&t);
}

static void
test_failing_memory(void **state)
{
	struct request_table t;
	uint32_t id;
	int x;

	(void)state;
	request_table_init(&t, 10);
	mem_fail_at(1);
	assert_int_equal(request_table_add(&t, &x, &id), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(request_table_add(&t, &x, &id), 0);
	request_table_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_add_get_del),
	    cmocka_unit_test(test_stale_ids_find_nothing),
	    cmocka_unit_test(test_full),
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
