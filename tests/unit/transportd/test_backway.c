/* Over which neighbour data has come lately, and what goes back over it. */
#include "transportd/core/backway.h"

#include "tests/unit/unit.h"
#include "transportd/core/fib.h"
#include "transportd/core/forward.h"

enum { SELF = 1, FAR = 2, WEST = 3, EAST = 4 };

static struct mono
at_ms(int64_t ms)
{
	return (struct mono){ms * 1000};
}

static void
remembers_for_a_while(void **state)
{
	static struct backway b;

	(void)state;
	assert_int_equal(backway_get(&b, FAR, at_ms(1)), 0);
	backway_note(&b, FAR, WEST, at_ms(1));
	assert_int_equal(backway_get(&b, FAR, at_ms(BACKWAY_FRESH_MS)), WEST);
	assert_int_equal(backway_get(&b, FAR, at_ms(1 + BACKWAY_FRESH_MS)), 0);
	backway_note(&b, FAR, EAST, at_ms(5000));
	assert_int_equal(backway_get(&b, FAR, at_ms(5001)), EAST);
	assert_int_equal(backway_get(&b, FAR + 1, at_ms(5001)), 0);
}

/* No source is told another one's way, however many there are. */
static void
shares_slots(void **state)
{
	static struct backway b;

	(void)state;
	for (uint64_t src = 1; src < 5 * BACKWAY_SLOTS; src++)
		backway_note(&b, src, src + 1000000, at_ms(10));
	for (uint64_t src = 1; src < 5 * BACKWAY_SLOTS; src++) {
		uint64_t via = backway_get(&b, src, at_ms(11));

		assert_true(via == 0 || via == src + 1000000);
	}
}

static bool west_is_up;

static bool
alive(void *arg, uint64_t node)
{
	(void)arg;
	return node == EAST || (node == WEST && west_is_up);
}

static void
goes_back(void **state)
{
	const struct fib_path paths[] = {{.path_id = 10, .weight = 1, .hop_count = 2, .hops = {EAST, FAR}},
	    {.path_id = 20, .weight = 1, .hop_count = 2, .hops = {WEST, FAR}}};
	struct fib *fib = fib_new();
	struct forward fw = {.self = SELF, .fib = fib, .alive = alive};
	struct forward_way way;

	(void)state;
	assert_int_equal(fib_set(fib, FAR, 0xf, 1, paths, 2), 0);
	west_is_up = true;
	assert_int_equal(forward_start(&fw, FAR, 0, &way), FORWARD_SEND);
	assert_int_equal(way.next, EAST);
	assert_int_equal(forward_back(&fw, FAR, 0, WEST, &way), FORWARD_SEND);
	assert_int_equal(way.next, WEST);
	assert_int_equal(way.path_id, 20);
	assert_int_equal(way.visit_count, 1);
	/* Not over a link that is down, nor over one that no path begins with. */
	west_is_up = false;
	assert_int_equal(forward_back(&fw, FAR, 0, WEST, &way), FORWARD_SEND);
	assert_int_equal(way.next, EAST);
	assert_int_equal(forward_back(&fw, FAR, 0, 99, &way), FORWARD_SEND);
	assert_int_equal(way.next, EAST);
	/* A neighbour needs no path. */
	assert_int_equal(forward_back(&fw, EAST, 0, EAST, &way), FORWARD_SEND);
	assert_int_equal(way.next, EAST);
	assert_int_equal(way.visit_count, 0);
	assert_int_equal(forward_back(&fw, 77, 0, EAST, &way), FORWARD_FAIL);
	fib_free(fib);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(remembers_for_a_while),
	    cmocka_unit_test(shares_slots),
	    cmocka_unit_test(goes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
