/* Which client data is marked: by quotas, and by how long it waits on its lane. */
#include "transportd/mark.h"

#include "common/base/frame.h"
#include "tests/unit/transportd/sched_user.h"
#include "transportd/lane.h"
#include "transportd/link.h"

enum { FRAME = 8192, SLOW = LANE_BULK, OTHER = LANE_BULK + 1 };

/* A link with two bulk lanes of which nothing is known yet. */
struct fixture {
	struct link link;
	struct lane slow, other;
};

static void
begin(struct fixture *x, const struct sched_limits *l)
{
	memset(x, 0, sizeof(*x));
	x->link.q = make(l);
	x->link.lane[SLOW] = &x->slow;
	x->link.lane[OTHER] = &x->other;
	pace_init(&x->slow.pace, MONO_ZERO);
	pace_init(&x->other.pace, MONO_ZERO);
}

/* A probe train tells the lane's rate. */
static void
rate(struct lane *n, uint32_t mbit)
{
	const uint32_t bits = 8 * PROBE_FRAME_BYTES * (PROBE_TRAIN_FRAMES - 1);
	const struct probe report = {
	    .kind = PROBE_REPORT, .train = 1, .received = PROBE_TRAIN_FRAMES, .spread_us = bits / mbit};

	assert_int_equal(pace_probed(&n->pace, 1, &report, MONO_ZERO), 0);
}

static bool
due(const struct fixture *x, uint32_t flow, uint8_t flags, unsigned lane)
{
	const struct frame f = {.class = FRAME_CLASS_CLIENT, .src = 7, .flow = flow, .flags = flags};

	return mark_due(&x->link, &f, lane);
}

/* How much the stream has queued when the next frame is marked. */
static size_t
marked_at(struct fixture *x, uint32_t flow, uint8_t flags, unsigned lane)
{
	size_t bytes = 0;

	while (!due(x, flow, flags, lane)) {
		assert_int_equal(push(x->link.q, flow, lane, FRAME, 1), 0);
		bytes += FRAME;
	}
	sched_move(x->link.q, lane, OTHER);
	drain(x->link.q, OTHER, NULL, 0);
	return bytes;
}

static void
test_time_on_the_lane(void **state)
{
	struct fixture x;

	(void)state;
	begin(&x, &wide);
	rate(&x.slow, 20);
	rate(&x.other, 100);
	assert_in_range(
	    marked_at(&x, 1, 0, SLOW), 20000 * LINK_MARK_MS / 8, 20000 * LINK_MARK_MS / 8 + FRAME);
	/* Of a faster one more, */
	assert_in_range(
	    marked_at(&x, 2, 0, OTHER), 100000 * LINK_MARK_MS / 8, 100000 * LINK_MARK_MS / 8 + FRAME);
	/* and of the slowest one still some frames. */
	rate(&x.slow, 1);
	assert_in_range(marked_at(&x, 3, 0, SLOW), LINK_MARK_MIN_BYTES, LINK_MARK_MIN_BYTES + FRAME);
	/* What others have queued there does not matter to a stream. */
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(push(x.link.q, 4, SLOW, FRAME, 1), 0);
	assert_true(due(&x, 4, 0, SLOW));
	assert_false(due(&x, 5, 0, SLOW));
	drain(x.link.q, SLOW, NULL, 0);
	assert_false(due(&x, 4, 0, SLOW));
	sched_free(x.link.q);
}

/* Without a lane, or with one of which nothing is known: half of what would be dropped. */
static void
test_quotas(void **state)
{
	struct fixture x;

	(void)state;
	begin(&x, &limits);
	assert_in_range(marked_at(&x, 1, 0, OTHER), limits.stream_bytes / 2, limits.stream_bytes / 2 + FRAME);
	assert_in_range(
	    marked_at(&x, 1, 0, SCHED_PARKED), limits.stream_bytes / 2, limits.stream_bytes / 2 + FRAME);
	/* A rate that is high enough changes nothing. */
	rate(&x.other, 1000);
	assert_in_range(marked_at(&x, 1, 0, OTHER), limits.stream_bytes / 2, limits.stream_bytes / 2 + FRAME);
	/* Nor does that of one of the lanes that a striped frame may wait on. */
	rate(&x.slow, 1);
	assert_in_range(marked_at(&x, 2, FRAME_FLAG_STRIPE, SLOW), limits.stream_bytes / 2,
	    limits.stream_bytes / 2 + FRAME);
	sched_free(x.link.q);
}

static void
test_link(void **state)
{
	const struct frame control = {.class = FRAME_CLASS_CONTROL, .src = 7, .flow = 0x10001};
	struct fixture x;
	uint32_t flow = 0x10001;

	(void)state;
	begin(&x, &limits);
	/* Many streams of many tenants, each of them modest. */
	for (; !sched_high(x.link.q); flow += 0x10000) {
		assert_false(due(&x, flow, 0, SLOW));
		assert_int_equal(push(x.link.q, flow, SLOW, FRAME, 1), 0);
	}
	assert_true(due(&x, flow, 0, OTHER));
	assert_false(mark_due(&x.link, &control, LANE_CONTROL));
	drain(x.link.q, SLOW, NULL, 0);
	assert_false(due(&x, flow, 0, OTHER));
	sched_free(x.link.q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_time_on_the_lane),
	    cmocka_unit_test(test_quotas),
	    cmocka_unit_test(test_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
