#include "transportd/core/spread.h"

#include "tests/unit/unit.h"

enum { DST = 7, FRAME = 10000, WAYS = 3 };

static struct spread *s;
static struct spread_path way[WAYS];
static struct mono now;

static int
setup(void **state)
{
	(void)state;
	s = spread_new();
	now = (struct mono){1000000};
	for (uint32_t i = 0; i < WAYS; i++)
		way[i] =
		    (struct spread_path){.path_id = 10 + i, .weight = 1, .window = 100000, .alive = true};
	return s != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	spread_free(s);
	return 0;
}

static int
pick(uint32_t flow)
{
	return spread_pick(s, DST, flow, FRAME, way, WAYS, now);
}

static void
the_best_one_while_it_is_easy(void **state)
{
	(void)state;
	for (uint32_t flow = 0; flow < 100; flow++)
		assert_int_equal(pick(flow), 0);
	way[0].alive = false;
	assert_int_equal(pick(1000), 1);
	way[1].badness = 1;
	assert_int_equal(pick(1001), 2);
	way[2].badness = 5;
	assert_int_equal(pick(1002), 1);
	way[1].alive = way[2].alive = false;
	assert_int_equal(pick(1003), -1);
}

/* Above half of its window new streams take turns, in proportion. */
static void
streams_take_turns(void **state)
{
	unsigned count[WAYS] = {0};

	(void)state;
	way[0].in_flight = 60000;
	way[0].weight = 6;
	way[1].weight = 3;
	for (uint32_t flow = 0; flow < 1000; flow++)
		count[pick(flow)]++;
	assert_in_range(count[0], 590, 610);
	assert_in_range(count[1], 290, 310);
	assert_in_range(count[2], 90, 110);
	/* What was measured counts for more; the others are scaled to it. */
	way[0].rate = 1000000;
	way[1].rate = 4000000;
	memset(count, 0, sizeof(count));
	for (uint32_t flow = 1000; flow < 2000; flow++)
		count[pick(flow)]++;
	assert_true(count[1] > 3 * count[0] && count[1] < 5 * count[0]);
	assert_true(count[2] > count[0] / 3 && count[2] < count[0]);
}

static void
a_stream_stays(void **state)
{
	int first;

	(void)state;
	way[0].in_flight = 60000;
	(void)pick(1);
	first = pick(2);
	assert_int_not_equal(first, 0);
	way[0].in_flight = 0;
	for (int i = 0; i < 9; i++) {
		now = mono_add_ms(now, SPREAD_FLOWLET_MS - 1);
		assert_int_equal(pick(2), first);
	}
	/* Not for ever... */
	now = mono_add_ms(now, 2 * (SPREAD_FLOWLET_MS - 1));
	assert_int_equal(pick(2), 0);
	/* ...nor longer than it is busy. */
	way[0].in_flight = 60000;
	assert_int_equal(pick(2), 0);
	way[0].full = true;
	first = pick(2);
	assert_int_not_equal(first, 0);
	way[0].full = false;
	assert_int_equal(pick(2), first);
	way[0].in_flight = 0;
	now = mono_add_ms(now, SPREAD_FLOWLET_MS);
	assert_int_equal(pick(2), 0);
	/* A path that has become bad is left at once. */
	way[0].badness = 1;
	assert_int_not_equal(pick(2), 0);
}

static void
room(void **state)
{
	(void)state;
	assert_true(spread_room(way, WAYS));
	way[0].full = way[1].full = true;
	assert_true(spread_room(way, WAYS));
	/* The one with room is not to be used. */
	way[2].badness = 1;
	assert_false(spread_room(way, WAYS));
	way[2].badness = 0;
	way[2].full = true;
	assert_false(spread_room(way, WAYS));
	/* Then they are all used nevertheless: the frame is here. */
	assert_in_range(pick(1), 0, WAYS - 1);
	/* Nobody waits for nothing. */
	for (int i = 0; i < WAYS; i++)
		way[i].alive = false;
	assert_true(spread_room(way, WAYS));
	assert_true(spread_room(way, 0));
}

/* Extreme weights and rates overflow nothing, and nobody starves. */
static void
extremes(void **state)
{
	unsigned count[WAYS] = {0};

	(void)state;
	way[0].in_flight = way[0].window;
	way[0].weight = UINT32_MAX;
	way[1].weight = 0;
	way[2].rate = UINT64_MAX;
	for (uint32_t flow = 0; flow < 100000; flow++) {
		count[pick(flow)]++;
		for (int i = 0; i < WAYS; i++)
			assert_true(
			    way[i].credit >= -SPREAD_CREDIT_BYTES && way[i].credit <= SPREAD_CREDIT_BYTES);
	}
	for (int i = 0; i < WAYS; i++)
		assert_true(count[i] > 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_best_one_while_it_is_easy),
	    TEST(streams_take_turns),
	    TEST(a_stream_stays),
	    TEST(room),
	    TEST(extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
