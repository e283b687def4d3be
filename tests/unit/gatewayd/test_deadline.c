/* The heap of deadlines against a model, and the guard against pings. */
#include "tests/unit/unit.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "gatewayd/core/deadline.h"
#include "gatewayd/core/ping_guard.h"

static void
test_order(void **state)
{
	struct deadline d[5] = {0};
	static const int64_t at[5] = {50, 10, 30, 10, 20};
	struct deadline_heap h;
	int64_t last = 0;

	(void)state;
	deadline_heap_init(&h);
	assert_true(mono_is_never(deadline_next(&h)));
	for (int i = 0; i < 5; i++)
		assert_int_equal(deadline_add(&h, &d[i], (struct mono){at[i]}), 0);
	assert_true(deadline_next(&h).us == 10);
	assert_null(deadline_pop(&h, (struct mono){9}));
	for (int i = 0; i < 4; i++) {
		struct deadline *p = deadline_pop(&h, (struct mono){30});

		assert_non_null(p);
		assert_true(p->at.us >= last);
		assert_int_equal(p->place, 0);
		last = p->at.us;
	}
	assert_null(deadline_pop(&h, (struct mono){49}));
	deadline_del(&h, &d[0]);
	deadline_del(&h, &d[0]);
	assert_true(mono_is_never(deadline_next(&h)));
	deadline_heap_fini(&h);
}

static void
test_random(void **state)
{
	enum { N = 200 };
	static struct deadline d[N];
	struct deadline_heap h;
	struct rng r;

	(void)state;
	rng_seed(&r, 3);
	deadline_heap_init(&h);
	for (int round = 0; round < 50000; round++) {
		size_t k = rng_below(&r, N);
		int64_t least = INT64_MAX;

		if (d[k].place == 0)
			assert_int_equal(
			    deadline_add(&h, &d[k], (struct mono){(int64_t)rng_below(&r, 1000)}), 0);
		else if (rng_below(&r, 3) != 0)
			deadline_del(&h, &d[k]);
		if (round % 16 != 0)
			continue;
		for (int i = 0; i < N; i++)
			if (d[i].place != 0 && d[i].at.us < least)
				least = d[i].at.us;
		assert_true(deadline_next(&h).us == least);
	}
	deadline_heap_fini(&h);
}

static void
test_failing_memory(void **state)
{
	struct deadline d = {0};
	struct deadline_heap h;

	(void)state;
	deadline_heap_init(&h);
	mem_fail_at(1);
	assert_int_equal(deadline_add(&h, &d, MONO_ZERO), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(d.place, 0);
	assert_int_equal(deadline_add(&h, &d, MONO_ZERO), 0);
	deadline_heap_fini(&h);
}

static struct mono
at_ms(int64_t ms)
{
	return (struct mono){ms * 1000};
}

static void
test_pings(void **state)
{
	struct ping_guard g = {0};

	(void)state;
	/* Every ten seconds for ever. */
	for (int i = 0; i < 100; i++)
		assert_false(ping_guard_ping(&g, at_ms(10000 * i)));
	/* Two too early, then one too many. */
	assert_false(ping_guard_ping(&g, at_ms(990001)));
	assert_false(ping_guard_ping(&g, at_ms(990002)));
	assert_true(ping_guard_ping(&g, at_ms(990003)));
	/* What is sent forgives everything. */
	for (int i = 0; i < 100; i++) {
		ping_guard_sent(&g);
		assert_false(ping_guard_ping(&g, at_ms(990004 + i)));
		assert_false(ping_guard_ping(&g, at_ms(990004 + i)));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_failing_memory),
	    cmocka_unit_test(test_pings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
