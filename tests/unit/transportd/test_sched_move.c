/* Streams that go from lane to lane: because one has died, came back, or was added. */
#include "transportd/core/sched.h"

#include "tests/unit/transportd/sched_user.h"

static void
moving(void **state)
{
	struct sched *s = make(&limits);

	(void)state;
	sched_move(s, 2, 3);
	assert_int_equal(push(s, 9, 2, 100, 'i'), 0);
	expect(s, 2, "i");
	assert_int_equal(push(s, 1, 2, 100, 'a'), 0);
	assert_int_equal(push(s, 1, 2, 100, 'b'), 0);
	assert_int_equal(push_class(s, FRAME_CLASS_DB, 2, 100, 'm'), 0);
	assert_int_equal(push_striped(s, 1, 2, 100, 's'), 0);
	assert_int_equal(resend(s, 2, FRAME_CLASS_CLIENT, 100, 'r'), 0);
	assert_int_equal(push(s, 2, 3, 100, 'x'), 0);
	assert_int_equal(push_striped(s, 2, 3, 100, 'y'), 0);
	assert_int_equal(push_class(s, FRAME_CLASS_DB, 3, 100, 'l'), 0);
	assert_int_equal(resend(s, 3, FRAME_CLASS_CLIENT, 100, 'q'), 0);
	/* To a lane that was never used, on to one that has something, and what comes meanwhile. */
	sched_move(s, 2, SCHED_PARKED);
	assert_int_equal(lane_of(s, 1), SCHED_PARKED);
	assert_int_equal(lane_of(s, 9), SCHED_PARKED);
	assert_int_equal(push(s, 1, 3, 100, 'c'), 0);
	assert_int_equal(sched_lane_bytes(s, SCHED_PARKED), 600);
	sched_move(s, SCHED_PARKED, SCHED_PARKED);
	sched_move(s, SCHED_PARKED, 3);
	assert_true(sched_lane_empty(s, SCHED_PARKED));
	assert_int_equal(lane_of(s, 1), 3);
	assert_int_equal(lane_of(s, 9), 3);
	assert_int_equal(push(s, 1, 2, 100, 'd'), 0);
	expect(s, 3, "lmqrxysabcd");
	assert_int_equal(sched_bytes(s), 0);
	sched_free(s);
}

static void
moving_a_part(void **state)
{
	struct sched *s = make(&limits);

	(void)state;
	assert_int_equal(sched_move_streams(s, 1, SCHED_PARKED), 0);
	assert_int_equal(push(s, 1, 1, 100, 'a'), 0);
	assert_int_equal(push_striped(s, 1, 1, 100, 's'), 0);
	assert_int_equal(resend(s, 1, FRAME_CLASS_CLIENT, 100, 'r'), 0);
	assert_int_equal(push_class(s, FRAME_CLASS_DB, 1, 100, 'm'), 0);
	assert_int_equal(push_class(s, FRAME_CLASS_SYSTEM, 1, 100, 'k'), 0);
	assert_int_equal(resend(s, 1, FRAME_CLASS_DB, 100, 'l'), 0);
	mem_fail_at(1);
	assert_int_equal(sched_move_streams(s, 1, SCHED_PARKED), ERR_NOMEM);
	mem_fail_at(1);
	assert_int_equal(sched_move_class(s, 1, SCHED_PARKED, FRAME_CLASS_DB), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(lane_of(s, 1), 1);
	assert_int_equal(sched_move_streams(s, 1, SCHED_PARKED), 0);
	assert_int_equal(sched_move_streams(s, 1, 1), 0);
	assert_int_equal(lane_of(s, 1), SCHED_PARKED);
	assert_int_equal(sched_lane_bytes(s, SCHED_PARKED), 300);
	assert_int_equal(sched_lane_bytes(s, 1), 300);
	assert_int_equal(sched_move_class(s, 1, 3, FRAME_CLASS_DB), 0);
	assert_int_equal(sched_lane_bytes(s, 3), 200);
	assert_int_equal(push(s, 1, 1, 100, 'b'), 0);
	expect(s, 1, "k");
	expect(s, 3, "lm");
	assert_int_equal(sched_move_streams(s, SCHED_PARKED, 2), 0);
	assert_int_equal(lane_of(s, 1), 2);
	expect(s, 2, "rsab");
	assert_int_equal(sched_bytes(s), 0);
	sched_free(s);
}

/* A lane is added: every second stream goes there with all it has, in order, and stays there. */
static void
spreading(void **state)
{
	struct sched *s = make(&wide);
	unsigned moved = 0;

	(void)state;
	for (uint32_t flow = 1; flow <= 9; flow++)
		for (uint32_t n = 0; n < 3; n++)
			assert_int_equal(push(s, flow, 2, 100, flow << 8 | n), 0);
	assert_int_equal(push_striped(s, 1, 2, 100, 's'), 0);
	assert_int_equal(push_class(s, FRAME_CLASS_DB, 2, 100, 'd'), 0);
	assert_int_equal(sched_spread(s, 2, 3), 0);
	assert_int_equal(sched_spread(s, 5, 3), 0);
	for (uint32_t flow = 1; flow <= 9; flow++)
		moved += lane_of(s, flow) == 3;
	assert_int_equal(moved, 4);
	assert_int_equal(sched_lane_bytes(s, 3), moved * 300);
	assert_int_equal(sched_lane_bytes(s, 2), (9 - moved) * 300 + 200);
	for (unsigned lane = 2; lane <= 3; lane++) {
		uint32_t next[10] = {0};

		while (!sched_lane_empty(s, lane)) {
			uint8_t out[100];
			unsigned frames;
			size_t size;
			uint32_t mark;

			assert_int_equal(sched_take(s, lane, out, sizeof(out), &frames), 100);
			mark = frame_at(out, &size);
			if (mark < 256)
				continue;
			assert_int_equal(lane_of(s, mark >> 8), lane);
			assert_int_equal(next[mark >> 8]++, mark & 255);
		}
	}
	assert_int_equal(sched_bytes(s), 0);
	/* What is to be resent keeps them all. */
	assert_int_equal(push(s, 1, 2, 100, 'a'), 0);
	assert_int_equal(resend(s, 2, FRAME_CLASS_CLIENT, 100, 'r'), 0);
	assert_int_equal(sched_spread(s, 2, 4), 0);
	assert_int_equal(sched_lane_bytes(s, 4), 0);
	sched_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(moving),
	    cmocka_unit_test(moving_a_part),
	    cmocka_unit_test(spreading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
