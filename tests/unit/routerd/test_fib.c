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

static struct spf_path
path(uint64_t destination, uint64_t via, uint32_t cost)
{
	return (struct spf_path){.cost = cost, .hop_count = 2, .hops = {via, destination}};
}

static enum fib_change
set(uint64_t destination, size_t profile, const struct spf_path *paths, size_t count)
{
	struct fib_route *r = fib_add(&fib, destination);
	enum fib_change change;

	assert_non_null(r);
	assert_int_equal(fib_set(&fib, r, profile, paths, count, &change), 0);
	return change;
}

static enum fib_change
put(uint64_t destination, uint64_t via, uint32_t cost)
{
	struct spf_path p = path(destination, via, cost);

	return set(destination, 0, &p, 1);
}

static uint32_t
id_of(uint64_t destination)
{
	return fib_get(&fib, destination)->paths[0]->path[0].path_id;
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
	id = id_of(5);

	fib_begin(&fib);
	assert_int_equal(put(5, 1, 100), FIB_SAME);
	assert_int_equal(put(6, 1, 100), FIB_SAME);
	fib_end(&fib, on_gone, NULL);
	assert_int_equal(fib.version, 1);
	assert_int_equal(gone_count, 0);

	fib_begin(&fib);
	/* A cost that changes no weight is noted, and that is all. */
	assert_int_equal(put(5, 1, 101), FIB_SAME);
	assert_int_equal(fib_get(&fib, 5)->paths[0]->path[0].path.cost, 101);
	assert_int_equal(fib_get(&fib, 5)->paths[0]->version, 1);
	assert_int_equal(put(6, 2, 100), FIB_CHANGED);
	fib_end(&fib, on_gone, NULL);
	assert_int_equal(fib.version, 2);
	assert_int_equal(id_of(5), id);
	assert_int_not_equal(id_of(6), 0);
	assert_int_equal(fib_get(&fib, 6)->paths[0]->version, 2);
}

static void
test_alternatives(void **state)
{
	struct spf_path p[3] = {path(5, 1, 100), path(5, 2, 200), path(5, 3, 300)};
	const struct fib_paths *got;

	(void)state;
	fib_turn(&fib);
	assert_int_equal(set(5, 0, p, 2), FIB_ADDED);
	assert_int_equal(set(5, 0, p, 2), FIB_SAME);
	assert_int_equal(set(5, 0, p, 3), FIB_ALTERNATIVES);
	assert_int_equal(fib.paths, 3);
	p[2].cost = 310; /* 4 % more, then 33 % */
	assert_int_equal(set(5, 0, p, 3), FIB_SAME);
	assert_int_equal(fib_get(&fib, 5)->paths[0]->path[2].weight, 333);
	p[2].cost = 400;
	assert_int_equal(set(5, 0, p, 3), FIB_COST);
	got = fib_get(&fib, 5)->paths[0];
	assert_int_equal(got->path[0].weight, 1000);
	assert_int_equal(got->path[1].weight, 500);
	assert_int_equal(got->path[2].weight, 250);
	p[2].hops[0] = 4;
	assert_int_equal(set(5, 0, p, 3), FIB_ALTERNATIVES);
	/* The first one dies, the second takes its place. */
	assert_int_equal(set(5, 0, p + 1, 2), FIB_CHANGED);
	assert_int_equal(fib.paths, 2);
	assert_int_equal(fib.version, 1);
	/* Another profile is another matter. */
	assert_int_equal(set(5, 1, p, 1), FIB_ADDED);
	assert_int_equal(fib.paths, 3);
	assert_int_equal(fib_get(&fib, 5)->paths[0]->count, 2);
	assert_int_equal(fib.count, 1);
}

static void
test_weights(void **state)
{
	struct spf_path p[3] = {path(5, 1, 110), path(5, 2, 100), path(5, 3, 240000000)};
	const struct fib_paths *got;

	(void)state;
	fib_turn(&fib);
	set(5, 0, p, 3);
	got = fib_get(&fib, 5)->paths[0];
	/* The path that was kept, though another is a bit cheaper. */
	assert_int_equal(got->path[0].weight, 909);
	assert_int_equal(got->path[1].weight, 1000);
	assert_int_equal(got->path[2].weight, 1);
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
	fib_keep(fib_add(&fib, 4));
	fib_end(&fib, on_gone, NULL);
	assert_int_equal(gone_count, 2);
	assert_true(gone[0] == 1 && gone[1] == 3);
	assert_int_equal(fib.count, 2);
	assert_int_equal(fib.paths, 2);
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
	by_1 = id_of(5);
	put(5, 2, 100);
	by_2 = id_of(5);
	assert_int_not_equal(by_1, by_2);
	put(5, 1, 100);
	assert_int_equal(id_of(5), by_1);
}

static void
test_queues(void **state)
{
	struct fib_route *r[4];

	(void)state;
	fib_begin(&fib);
	for (uint64_t d = 0; d < 4; d++) {
		put(d + 1, 9, 1);
		r[d] = fib_add(&fib, d + 1);
	}
	fib_end(&fib, on_gone, NULL);
	assert_null(fib_waiting(&fib));
	fib_queue(&fib, r[0], FIB_BACKGROUND);
	fib_queue(&fib, r[1], FIB_BACKGROUND);
	fib_queue(&fib, r[2], FIB_URGENT);
	fib_queue(&fib, r[0], FIB_BACKGROUND);
	assert_int_equal(fib.waiting, 3);
	assert_ptr_equal(fib_waiting(&fib), r[2]);
	fib_queue(&fib, r[2], FIB_BACKGROUND); /* is urgent already */
	fib_queue(&fib, r[1], FIB_URGENT);
	assert_int_equal(fib.waiting, 3);
	fib_unqueue(&fib, r[2]);
	fib_unqueue(&fib, r[2]);
	assert_ptr_equal(fib_waiting(&fib), r[1]);
	fib_unqueue(&fib, r[1]);
	assert_ptr_equal(fib_waiting(&fib), r[0]);
	/* What is used is before what is not, among its like. */
	r[3]->used = r[2]->used = true;
	fib_queue(&fib, r[3], FIB_BACKGROUND);
	assert_ptr_equal(fib_waiting(&fib), r[3]);
	fib_queue(&fib, r[1], FIB_URGENT);
	assert_ptr_equal(fib_waiting(&fib), r[1]);
	fib_queue(&fib, r[2], FIB_URGENT);
	assert_ptr_equal(fib_waiting(&fib), r[2]);
	/* What goes waits no more. */
	fib_begin(&fib);
	fib_end(&fib, on_gone, NULL);
	assert_int_equal(fib.waiting, 0);
	assert_null(fib_waiting(&fib));
}

static void
test_all_wait(void **state)
{
	(void)state;
	fib_begin(&fib);
	for (uint64_t d = 1; d <= 4; d++) {
		put(d, 9, 1);
		fib_add(&fib, d)->used = d == 3;
	}
	fib_queue_all(&fib);
	assert_int_equal(fib.waiting, 4);
	assert_true(fib_waiting(&fib)->destination == 3);
}

static void
test_memory_out(void **state)
{
	struct spf_path p[2] = {path(5, 1, 100), path(5, 2, 200)};
	enum fib_change change;
	struct fib_route *r;

	(void)state;
	mem_fail_at(1);
	assert_null(fib_add(&fib, 5));
	mem_fail_at(0);
	assert_int_equal(fib.count, 0);
	r = fib_add(&fib, 5);
	mem_fail_at(1);
	assert_int_equal(fib_set(&fib, r, 0, p, 1, &change), ERR_NOMEM);
	mem_fail_at(0);
	assert_null(r->paths[0]);
	assert_int_equal(fib_set(&fib, r, 0, p, 1, &change), 0);
	mem_fail_at(1);
	assert_int_equal(fib_set(&fib, r, 0, p, 2, &change), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(r->paths[0]->count, 1);
	assert_int_equal(fib_set(&fib, r, 0, p, 2, &change), 0);
	/* Fewer need no memory. */
	mem_fail_at(1);
	assert_int_equal(fib_set(&fib, r, 0, p + 1, 1, &change), 0);
	mem_fail_at(0);
	assert_int_equal(fib.paths, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_alternatives, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_weights, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_is_not_put_again_goes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_path_ids_name_paths, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_queues, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_all_wait, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_memory_out, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
