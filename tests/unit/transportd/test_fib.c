#include "transportd/core/fib.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "tests/unit/unit.h"

enum { ALL = 15 };

static struct fib_path
direct(uint64_t dst, uint32_t id)
{
	return (struct fib_path){.path_id = id, .hop_count = 1, .hops = {dst}};
}

static int
set(struct fib *f, uint64_t dst, uint32_t mask, uint32_t id)
{
	struct fib_path p = direct(dst, id);

	return fib_set(f, dst, mask, 1, &p, 1);
}

static uint32_t
path_id(const struct fib *f, uint64_t dst, uint8_t class)
{
	const struct fib_paths *p = fib_get(f, dst, class);

	return p != NULL ? p->path[0].path_id : 0;
}

static void
classes_are_separate(void **state)
{
	struct fib *f = fib_new();

	(void)state;
	assert_int_equal(set(f, 5, ALL, 1), 0);
	assert_int_equal(set(f, 5, 1u << FRAME_CLASS_CLIENT, 2), 0);
	assert_int_equal(path_id(f, 5, FRAME_CLASS_CONTROL), 1);
	assert_int_equal(path_id(f, 5, FRAME_CLASS_CLIENT), 2);
	assert_int_equal(fib_count(f), 1);
	assert_null(fib_get(f, 6, 0));
	assert_null(fib_get(f, 0, 0));
	assert_null(fib_get(f, 5, FRAME_CLASS_COUNT));
	fib_del(f, 5);
	fib_del(f, 5);
	fib_del(f, 0);
	assert_null(fib_get(f, 5, 0));
	assert_int_equal(fib_count(f), 0);
	fib_free(f);
}

static void
snapshot_swaps_at_once(void **state)
{
	struct fib *f = fib_new();

	(void)state;
	assert_int_equal(set(f, 1, ALL, 1), 0);
	assert_int_equal(set(f, 2, ALL, 1), 0);
	assert_int_equal(fib_end(f, 9), ERR_STATE);
	assert_int_equal(fib_begin(f), 0);
	assert_int_equal(set(f, 2, ALL, 7), 0);
	assert_int_equal(set(f, 3, ALL, 7), 0);
	assert_int_equal(path_id(f, 1, 0), 1);
	assert_int_equal(path_id(f, 2, 0), 1);
	assert_int_equal(path_id(f, 3, 0), 0);
	assert_int_equal(fib_end(f, 9), 0);
	assert_int_equal(path_id(f, 1, 0), 0);
	assert_int_equal(path_id(f, 2, 0), 7);
	assert_int_equal(path_id(f, 3, 0), 7);
	assert_int_equal(fib_version(f), 9);
	/* A half one is forgotten. */
	assert_int_equal(fib_begin(f), 0);
	assert_int_equal(set(f, 4, ALL, 1), 0);
	fib_abort(f);
	assert_int_equal(fib_end(f, 10), ERR_STATE);
	assert_int_equal(path_id(f, 3, 0), 7);
	assert_int_equal(fib_begin(f), 0);
	assert_int_equal(fib_begin(f), 0);
	fib_free(f);
}

static void
bad_routes(void **state)
{
	struct fib *f = fib_new();
	struct fib_path p = direct(5, 1), many[FIB_PATHS_MAX + 1];

	(void)state;
	assert_int_equal(fib_set(f, 0, ALL, 1, &p, 1), ERR_RANGE);
	assert_int_equal(fib_set(f, 5, 0, 1, &p, 1), ERR_RANGE);
	assert_int_equal(fib_set(f, 5, 16, 1, &p, 1), ERR_RANGE);
	assert_int_equal(fib_set(f, 5, ALL, 1, &p, 0), ERR_RANGE);
	assert_int_equal(fib_set(f, 6, ALL, 1, &p, 1), ERR_RANGE);
	p.hop_count = 0;
	assert_int_equal(fib_set(f, 5, ALL, 1, &p, 1), ERR_RANGE);
	p.hop_count = FIB_HOPS_MAX + 1;
	assert_int_equal(fib_set(f, 5, ALL, 1, &p, 1), ERR_RANGE);
	p = (struct fib_path){.hop_count = 2, .hops = {0, 5}};
	assert_int_equal(fib_set(f, 5, ALL, 1, &p, 1), ERR_RANGE);
	for (size_t i = 0; i <= FIB_PATHS_MAX; i++)
		many[i] = direct(5, 1);
	assert_int_equal(fib_set(f, 5, ALL, 1, many, FIB_PATHS_MAX + 1), ERR_RANGE);
	assert_int_equal(fib_set(f, 5, ALL, 1, many, FIB_PATHS_MAX), 0);
	assert_int_equal(fib_count(f), 1);
	fib_free(f);
}

/* Against a plain array, with collisions: sets, removals, growth. */
static void
model(void **state)
{
	enum { IDS = 512 };
	static uint32_t want[IDS][FRAME_CLASS_COUNT];
	struct fib *f = fib_new();
	struct rng r;

	(void)state;
	memset(want, 0, sizeof(want));
	rng_seed(&r, 7);
	for (uint32_t step = 1; step < 20000; step++) {
		uint32_t i = (uint32_t)rng_below(&r, IDS), mask = 1 + (uint32_t)rng_below(&r, ALL);
		uint64_t dst = ((uint64_t)i + 1) << 40;

		if (rng_below(&r, 3) == 0) {
			fib_del(f, dst);
			memset(want[i], 0, sizeof(want[i]));
			continue;
		}
		assert_int_equal(set(f, dst, mask, step), 0);
		for (unsigned c = 0; c < FRAME_CLASS_COUNT; c++)
			if (mask & (1u << c))
				want[i][c] = step;
	}
	for (uint32_t i = 0; i < IDS; i++)
		for (uint8_t c = 0; c < FRAME_CLASS_COUNT; c++)
			assert_int_equal(path_id(f, ((uint64_t)i + 1) << 40, c), want[i][c]);
	fib_free(f);
}

static void
count_one(void *arg, uint64_t dst, const struct fib_paths *p)
{
	(void)dst;
	(void)p;
	++*(size_t *)arg;
}

static void
each_visits_all(void **state)
{
	struct fib *f = fib_new();
	size_t n = 0;

	(void)state;
	for (uint64_t i = 1; i <= 100; i++)
		assert_int_equal(set(f, i, i % 2 == 0 ? ALL : 1, 1), 0);
	fib_each(f, FRAME_CLASS_CLIENT, count_one, &n);
	assert_int_equal(n, 50);
	fib_free(f);
}

static int
fill(struct fib *f)
{
	int err = fib_begin(f);

	for (uint64_t i = 1; err == 0 && i <= 100; i++)
		err = set(f, i, ALL, 1);
	return err != 0 ? err : fib_end(f, 1);
}

static void
no_memory(void **state)
{
	(void)state;
	for (unsigned long k = 1;; k++) {
		struct fib *f;
		int err;

		mem_fail_at(k);
		f = fib_new();
		err = f != NULL ? fill(f) : ERR_NOMEM;
		if (err == 0) {
			mem_fail_at(0);
			assert_int_equal(fib_count(f), 100);
			fib_free(f);
			break;
		}
		assert_int_equal(err, ERR_NOMEM);
		if (f != NULL) {
			/* The table in use is whole, and the next try works. */
			assert_int_equal(fib_count(f), 0);
			assert_int_equal(fill(f), 0);
			assert_int_equal(fib_count(f), 100);
		}
		fib_free(f);
	}
	mem_fail_at(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(classes_are_separate),
	    cmocka_unit_test(snapshot_swaps_at_once),
	    cmocka_unit_test(bad_routes),
	    cmocka_unit_test(model),
	    cmocka_unit_test(each_visits_all),
	    cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
