#include "transportd/core/credit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/rng.h"
#include "tests/unit/unit.h"
#include "transportd/core/limits.h"

enum { WINDOW = 1024 * 1024, FRAMES = 1000, SIZE = 1000 };

static struct mono
at_ms(int64_t ms)
{
	return mono_add_ms((struct mono){5000000}, ms);
}

static void
codec(void **state)
{
	struct window w = {1, UINT64_MAX, 3, 0x0102030405060708}, got;
	uint8_t mem[WINDOW_PAYLOAD_BYTES + 1] = {0};
	struct buf out;

	(void)state;
	buf_init_fixed(&out, mem, WINDOW_PAYLOAD_BYTES);
	assert_int_equal(window_encode(&w, &out), 0);
	assert_int_equal(buf_left(&out), WINDOW_PAYLOAD_BYTES);
	assert_int_equal(mem[24], 1);
	assert_int_equal(window_decode(mem, WINDOW_PAYLOAD_BYTES, &got), 0);
	assert_memory_equal(&got, &w, sizeof(w));
	for (size_t n = 0; n < WINDOW_PAYLOAD_BYTES; n++) {
		assert_int_equal(window_decode(mem, n, &got), ERR_SHORT);
		buf_init_fixed(&out, mem, n);
		assert_int_equal(window_encode(&w, &out), ERR_LIMIT);
	}
	assert_int_equal(window_decode(mem, WINDOW_PAYLOAD_BYTES + 1, &got), ERR_LEFTOVER);
}

/* --- the sender --- */

static int
tell(struct credit_tx *c, uint64_t acked_frames, uint64_t acked_bytes, uint64_t limit_frames,
    uint64_t limit_bytes, size_t *acked)
{
	const struct window w = {acked_frames, acked_bytes, limit_frames, limit_bytes};

	return credit_tx_window(c, &w, acked);
}

static void
room_shrinks_and_grows(void **state)
{
	struct credit_tx c;
	size_t acked;

	(void)state;
	credit_tx_init(&c, 10 * SIZE, 20);
	assert_int_equal(credit_tx_room(&c), 10 * SIZE);
	credit_tx_sent(&c, 10 * SIZE, 10);
	assert_int_equal(credit_tx_room(&c), 0);
	assert_int_equal(credit_tx_unacked(&c), 10 * SIZE);
	assert_int_equal(tell(&c, 4, 4 * SIZE, 24, 14 * SIZE, &acked), 0);
	assert_int_equal(acked, 4 * SIZE);
	assert_int_equal(credit_tx_room(&c), 4 * SIZE);
	assert_int_equal(credit_tx_unacked(&c), 6 * SIZE);
	/* The same again, and an older one: nothing. */
	assert_int_equal(tell(&c, 4, 4 * SIZE, 24, 14 * SIZE, &acked), 0);
	assert_int_equal(acked, 0);
	assert_int_equal(tell(&c, 2, 2 * SIZE, 22, 12 * SIZE, &acked), 0);
	assert_int_equal(acked, 0);
	assert_int_equal(credit_tx_room(&c), 4 * SIZE);
	/* Room only: the receiver had none before. */
	assert_int_equal(tell(&c, 4, 4 * SIZE, 24, 19 * SIZE, &acked), 0);
	assert_int_equal(acked, 0);
	assert_int_equal(credit_tx_room(&c), 9 * SIZE);
}

static void
frames_limit_too(void **state)
{
	struct credit_tx c;
	size_t acked;

	(void)state;
	credit_tx_init(&c, WINDOW, 5);
	credit_tx_sent(&c, 5 * SIZE, 5);
	assert_int_equal(credit_tx_room(&c), 0);
	assert_int_equal(tell(&c, 1, SIZE, 6, WINDOW, &acked), 0);
	assert_int_equal(credit_tx_room(&c), WINDOW - 5 * SIZE);
	/* A message of many frames went past the limit: no room, and no wrap. */
	credit_tx_sent(&c, 100 * SIZE, 100);
	assert_int_equal(credit_tx_room(&c), 0);
}

static void
refused(struct credit_tx *c, uint64_t acked_frames, uint64_t acked_bytes, uint64_t limit_frames,
    uint64_t limit_bytes)
{
	struct credit_tx before = *c;
	size_t acked = 1;

	assert_int_equal(tell(c, acked_frames, acked_bytes, limit_frames, limit_bytes, &acked), ERR_RANGE);
	assert_int_equal(acked, 0);
	assert_memory_equal(c, &before, sizeof(before));
}

static void
lies_are_refused(void **state)
{
	struct credit_tx c;
	size_t acked;

	(void)state;
	credit_tx_init(&c, WINDOW, FRAMES);
	credit_tx_sent(&c, 10 * SIZE, 10);
	assert_int_equal(tell(&c, 5, 5 * SIZE, FRAMES, WINDOW, &acked), 0);
	/* What was not sent. */
	refused(&c, 11, 10 * SIZE, FRAMES, WINDOW);
	refused(&c, 10, 10 * SIZE + 1, FRAMES, WINDOW);
	refused(&c, UINT64_MAX, UINT64_MAX, FRAMES, WINDOW);
	/* Bytes without frames, frames without bytes, frames smaller than a header, in what is
	 * acknowledged and in what is left. */
	refused(&c, 5, 5 * SIZE + 1, FRAMES, WINDOW);
	refused(&c, 6, 5 * SIZE, FRAMES, WINDOW);
	refused(&c, 6, 5 * SIZE + FRAME_HDR_BYTES - 1, FRAMES, WINDOW);
	refused(&c, 6, 10 * SIZE, FRAMES, WINDOW);
	refused(&c, 10, 9 * SIZE, FRAMES, WINDOW);
	/* One count older, the other not. */
	refused(&c, 4, 5 * SIZE, FRAMES, WINDOW);
	refused(&c, 4, 6 * SIZE, FRAMES, WINDOW);
	refused(&c, 5, 4 * SIZE, FRAMES, WINDOW);
	refused(&c, 6, 4 * SIZE, FRAMES, WINDOW);
	/* Limits out of bounds. */
	refused(&c, 5, 5 * SIZE, FRAMES, 5 * SIZE + (uint64_t)LANE_WINDOW_MAX_BYTES + 1);
	refused(&c, 5, 5 * SIZE, FRAMES, UINT64_MAX);
	refused(&c, 5, 5 * SIZE, UINT64_MAX, WINDOW);
	refused(&c, 4, 4 * SIZE, FRAMES, UINT64_MAX);
	/* The bounds themselves. */
	assert_int_equal(tell(&c, 5, 5 * SIZE, 5 + (uint64_t)UINT32_MAX,
			     5 * SIZE + (uint64_t)LANE_WINDOW_MAX_BYTES, &acked),
	    0);
	assert_int_equal(tell(&c, 6, 5 * SIZE + FRAME_HDR_BYTES, FRAMES, 0, &acked), 0);
	assert_int_equal(acked, FRAME_HDR_BYTES);
	assert_int_equal(tell(&c, 10, 10 * SIZE, 0, 0, &acked), 0);
	assert_int_equal(credit_tx_unacked(&c), 0);
}

/* --- the receiver --- */

static void
due_by_bytes_frames_and_time(void **state)
{
	struct credit_rx c;
	struct window w;

	(void)state;
	credit_rx_init(&c, WINDOW, FRAMES);
	assert_false(credit_rx_due(&c, at_ms(1000)));
	assert_true(mono_is_never(credit_rx_next(&c)));
	/* By time, from the first frame on. */
	assert_int_equal(credit_rx_received(&c, SIZE, at_ms(0)), 0);
	assert_int_equal(credit_rx_received(&c, SIZE, at_ms(3)), 0);
	assert_int_equal(credit_rx_next(&c).us, at_ms(CREDIT_ACK_DELAY_MS).us);
	assert_false(credit_rx_due(&c, at_ms(CREDIT_ACK_DELAY_MS - 1)));
	assert_true(credit_rx_due(&c, at_ms(CREDIT_ACK_DELAY_MS)));
	credit_rx_grant(&c, UINT64_MAX, &w);
	assert_int_equal(w.acked_frames, 2);
	assert_int_equal(w.acked_bytes, 2 * SIZE);
	assert_int_equal(w.limit_frames, FRAMES + 2);
	assert_int_equal(w.limit_bytes, WINDOW + 2 * SIZE);
	assert_false(credit_rx_due(&c, at_ms(1000)));
	assert_true(mono_is_never(credit_rx_next(&c)));
	/* By bytes. */
	assert_int_equal(credit_rx_received(&c, CREDIT_ACK_BYTES - 1, at_ms(10)), 0);
	assert_false(credit_rx_due(&c, at_ms(10)));
	assert_int_equal(credit_rx_received(&c, 1, at_ms(10)), 0);
	assert_true(credit_rx_due(&c, at_ms(10)));
	credit_rx_grant(&c, UINT64_MAX, &w);
	/* By frames. */
	for (int i = 0; i < FRAMES / 4 - 1; i++)
		assert_int_equal(credit_rx_received(&c, FRAME_HDR_BYTES, at_ms(20)), 0);
	assert_false(credit_rx_due(&c, at_ms(20)));
	assert_int_equal(credit_rx_received(&c, FRAME_HDR_BYTES, at_ms(20)), 0);
	assert_true(credit_rx_due(&c, at_ms(20)));
	/* By a quarter of a small window. */
	credit_rx_init(&c, LANE_WINDOW_MIN_BYTES, FRAMES);
	assert_int_equal(credit_rx_received(&c, LANE_WINDOW_MIN_BYTES / 4, at_ms(0)), 0);
	assert_true(credit_rx_due(&c, at_ms(0)));
}

static void
more_than_granted(void **state)
{
	struct credit_rx c;

	(void)state;
	credit_rx_init(&c, WINDOW, FRAMES);
	assert_int_equal(credit_rx_received(&c, WINDOW - SIZE, at_ms(0)), 0);
	assert_int_equal(credit_rx_received(&c, SIZE + 1, at_ms(0)), ERR_LIMIT);
	assert_int_equal(credit_rx_received(&c, SIZE_MAX, at_ms(0)), ERR_LIMIT);
	assert_int_equal(c.received_frames, 1);
	assert_int_equal(credit_rx_received(&c, SIZE, at_ms(0)), 0);
	assert_int_equal(credit_rx_received(&c, 1, at_ms(0)), ERR_LIMIT);
	/* Frames: those of one message more. */
	credit_rx_init(&c, WINDOW, FRAMES);
	for (int i = 0; i < FRAMES + FRAME_MESSAGE_MAX_BYTES / FRAME_HDR_BYTES; i++)
		assert_int_equal(credit_rx_received(&c, FRAME_HDR_BYTES, at_ms(0)), 0);
	assert_int_equal(credit_rx_received(&c, FRAME_HDR_BYTES, at_ms(0)), ERR_LIMIT);
}

static void
no_room_no_grant(void **state)
{
	struct credit_rx c;
	struct window w;

	(void)state;
	credit_rx_init(&c, WINDOW, FRAMES);
	assert_false(credit_rx_short(&c));
	assert_int_equal(credit_rx_received(&c, WINDOW, at_ms(0)), 0);
	assert_false(credit_rx_short(&c));
	credit_rx_grant(&c, 0, &w);
	assert_int_equal(w.acked_bytes, WINDOW);
	assert_int_equal(w.limit_bytes, WINDOW);
	assert_int_equal(w.limit_frames, FRAMES);
	assert_true(credit_rx_short(&c));
	assert_false(credit_rx_due(&c, at_ms(1000)));
	credit_rx_grant(&c, SIZE, &w);
	assert_int_equal(w.limit_bytes, WINDOW + SIZE);
	assert_int_equal(w.limit_frames, FRAMES + 1);
	assert_true(credit_rx_short(&c));
	/* What was granted stays granted. */
	credit_rx_grant(&c, 0, &w);
	assert_int_equal(w.limit_bytes, WINDOW + SIZE);
	credit_rx_grant(&c, WINDOW, &w);
	assert_int_equal(w.limit_bytes, 2 * WINDOW);
	assert_false(credit_rx_short(&c));
}

static void
retuned(void **state)
{
	struct credit_rx c;
	struct window w;

	(void)state;
	credit_rx_init(&c, WINDOW, FRAMES);
	credit_rx_retune(&c, WINDOW / 2, FRAMES / 2);
	assert_false(credit_rx_short(&c));
	assert_int_equal(credit_rx_received(&c, SIZE, at_ms(0)), 0);
	credit_rx_grant(&c, UINT64_MAX, &w);
	assert_int_equal(w.limit_bytes, WINDOW);
	credit_rx_retune(&c, 2 * WINDOW, 2 * FRAMES);
	assert_true(credit_rx_short(&c));
	credit_rx_grant(&c, UINT64_MAX, &w);
	assert_int_equal(w.limit_bytes, SIZE + 2 * WINDOW);
	assert_int_equal(w.limit_frames, 1 + 2 * FRAMES);
	/* No sender would take more. */
	credit_rx_retune(&c, UINT64_MAX, UINT64_MAX);
	credit_rx_grant(&c, UINT64_MAX, &w);
	assert_int_equal(w.limit_bytes, SIZE + (uint64_t)LANE_WINDOW_MAX_BYTES);
	assert_int_equal(w.limit_frames, 1 + (uint64_t)UINT32_MAX);
}

/* Both ends over a lane whose WINDOWs come late and twice: nothing is refused, what is kept is never more
 * than the window, and everything goes through. */
static void
both_ends(void **state)
{
	enum { LATE = 8, WINDOW_FRAMES = 60 };
	struct window late[LATE] = {0};
	uint64_t kept = 0, window = 256 * 1024;
	struct credit_tx tx;
	struct credit_rx rx;
	struct rng r;
	size_t acked;

	(void)state;
	rng_seed(&r, 1);
	credit_tx_init(&tx, window, WINDOW_FRAMES);
	credit_rx_init(&rx, window, WINDOW_FRAMES);
	for (int i = 0; i < 100000; i++) {
		size_t size = FRAME_HDR_BYTES + rng_below(&r, rng_below(&r, 4) == 0 ? 16000 : 100);
		struct mono now = at_ms(i / 10);

		if (size <= credit_tx_room(&tx)) {
			credit_tx_sent(&tx, size, 1);
			assert_int_equal(credit_rx_received(&rx, size, now), 0);
			kept += size;
		}
		assert_true(kept <= window);
		if (rng_below(&r, 3) == 0)
			kept -= rng_below(&r, kept + 1);
		if (credit_rx_due(&rx, now) || (credit_rx_short(&rx) && kept < window / 2))
			credit_rx_grant(&rx, window - kept, &late[i % LATE]);
		assert_int_equal(credit_tx_window(&tx, &late[rng_below(&r, LATE)], &acked), 0);
		assert_true(credit_tx_unacked(&tx) <= 2 * window);
	}
	assert_true(tx.sent_bytes > 100 * window);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(codec),
	    cmocka_unit_test(room_shrinks_and_grows),
	    cmocka_unit_test(frames_limit_too),
	    cmocka_unit_test(lies_are_refused),
	    cmocka_unit_test(due_by_bytes_frames_and_time),
	    cmocka_unit_test(more_than_granted),
	    cmocka_unit_test(no_room_no_grant),
	    cmocka_unit_test(retuned),
	    cmocka_unit_test(both_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
