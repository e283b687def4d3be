/* The FIB: what changed from one computation to the next. */
#include "tests/unit/unit.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/fib.h"

static struct fib fib;
static uint64_t gone[8];
static unsigned gone_count;

static int
setup(void **state)
{
	(void)state;
	gone_count = 0;
	fib_init(&fib);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fib_fini(&fib);
	return 0;
}

static void
on_gone(void *arg, const struct fib_route *r)
{
	(void)arg;
	gone[gone_count++] = r->destination;
}

static enum fib_change
put(uint64_t destination, uint64_t via, uint32_t cost)
{
	struct spf_path p = {.cost = cost, .hop_count = 2, .hops = {via, destination}};
	enum fib_change change;
	struct fib_route *r;

	assert_int_equal(fib_put(&fib, destination, &p, &change, &r), 0);
	return change;
}

static void
test_changes(void **state)
{
	uint32_t id;

	(void)state;
	fib_begin(&fib);
	assert_int_equal(put(5, 1, 100), FIB_ADDED);
	assert_int_equal(put(6, 1, 100), FIB_ADDED);
	fib_end(&fib, on_gone, NULL);
	assert_int_equal(fib.version, 1);
	id = fib_get(&fib, 5)->path_id;

	fib_begin(&fib);
	assert_int_equal(put(5, 1, 100), FIB_SAME);
	assert_int_equal(put(6, 1, 100), FIB_SAME);
	fib_end(&fib, on_gone, NULL);
	assert_int_equal(fib.version, 1);
	assert_int_equal(gone_count, 0);

	fib_begin(&fib);
	assert_int_equal(put(5, 1, 101), FIB_COST);
	assert_int_equal(put(6, 2, 100), FIB_CHANGED);
	fib_end(&fib, on_gone, NULL);
	assert_int_equal(fib.version, 2);
	assert_int_equal(fib_get(&fib, 5)->path_id, id);
	assert_int_not_equal(fib_get(&fib, 6)->path_id, 0);
	assert_int_equal(fib_get(&fib, 6)->version, 2);
}

static void
test_what_is_not_put_again_goes(void **state)
{
	(void)state;
	fib_begin(&fib);
	for (uint64_t d = 1; d <= 4; d++)
		put(d, 9, 1);
	fib_end(&fib, on_gone, NULL);
	fib_begin(&fib);
	put(2, 9, 1);
	put(4, 9, 1);
	fib_end(&fib, on_gone, NULL);
	assert_int_equal(gone_count, 2);
	assert_true(gone[0] == 1 && gone[1] == 3);
	assert_int_equal(fib.count, 2);
	assert_int_equal(fib.version, 2);
	assert_null(fib_get(&fib, 1));
	assert_true(fib_from(&fib, 0)->destination == 2);
	assert_true(fib_next(&fib, fib_from(&fib, 3)) == NULL);
}

static void
test_path_ids_name_paths(void **state)
{
	uint32_t by_1, by_2;

	(void)state;
	fib_begin(&fib);
	put(5, 1, 100);
	by_1 = fib_get(&fib, 5)->path_id;
	put(5, 2, 100);
	by_2 = fib_get(&fib, 5)->path_id;
	assert_int_not_equal(by_1, by_2);
	put(5, 1, 100);
	assert_int_equal(fib_get(&fib, 5)->path_id, by_1);
}

static void
test_memory_out(void **state)
{
	struct spf_path p = {.cost = 1, .hop_count = 1, .hops = {5}};
	enum fib_change change;
	struct fib_route *r;

	(void)state;
	mem_fail_at(1);
	assert_int_equal(fib_put(&fib, 5, &p, &change, &r), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(fib.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_is_not_put_again_goes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_path_ids_name_paths, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_memory_out, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
