/*
 * WINDOW frames as a peer may send them to a lane that sends all the time: whatever comes, no more is
 * acknowledged than was sent, no more may be sent than LANE_WINDOW_MAX_BYTES, and nothing goes back.
 */
#include "common/base/buf.h"
#include "common/base/frame.h"
#include "tests/fuzz/fuzz.h"
#include "transportd/core/credit.h"
#include "transportd/core/limits.h"

enum { WINDOW = 256 * 1024, WINDOW_FRAMES = 1000 };

static void
check_codec(const uint8_t *data, size_t len)
{
	uint8_t mem[WINDOW_PAYLOAD_BYTES];
	struct window w;
	struct buf out;

	if (window_decode(data, len, &w) != 0)
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(window_encode(&w, &out) == 0 && buf_left(&out) == len && memcmp(mem, data, len) == 0);
}

static void
check_window(struct credit_tx *c, const struct window *w)
{
	struct credit_tx before = *c;
	size_t acked;

	if (credit_tx_window(c, w, &acked) != 0) {
		FUZZ_CHECK(acked == 0 && memcmp(c, &before, sizeof(before)) == 0);
		return;
	}
	FUZZ_CHECK(c->acked_bytes == before.acked_bytes + acked && c->acked_frames >= before.acked_frames);
	FUZZ_CHECK(c->acked_bytes <= c->sent_bytes && c->acked_frames <= c->sent_frames);
	FUZZ_CHECK((c->acked_bytes == c->sent_bytes) == (c->acked_frames == c->sent_frames));
	FUZZ_CHECK(c->limit_bytes >= before.limit_bytes && c->limit_frames >= before.limit_frames);
	FUZZ_CHECK(c->limit_bytes <= c->acked_bytes + LANE_WINDOW_MAX_BYTES);
	FUZZ_CHECK(credit_tx_room(c) <= LANE_WINDOW_MAX_BYTES);
	FUZZ_CHECK(credit_tx_unacked(c) <= c->sent_bytes);
}

static void
send_some(struct credit_tx *c, uint8_t how)
{
	size_t size = FRAME_HDR_BYTES + (size_t)how * 60;

	if (size <= credit_tx_room(c))
		credit_tx_sent(c, size, 1);
}

/* The input is taken as counts beyond those known, so that most of them are near the truth; the first bit
 * takes them as they are. */
static void
feed(struct credit_tx *c, const uint8_t item[1 + WINDOW_PAYLOAD_BYTES])
{
	struct window w;

	send_some(c, item[0]);
	FUZZ_CHECK(window_decode(item + 1, WINDOW_PAYLOAD_BYTES, &w) == 0);
	if ((item[0] & 1) == 0) {
		w.acked_frames = c->acked_frames + (int8_t)w.acked_frames;
		w.acked_bytes = c->acked_bytes + (uint64_t)(int16_t)w.acked_bytes;
		w.limit_frames = w.acked_frames + (uint16_t)w.limit_frames;
		w.limit_bytes = w.acked_bytes + (uint32_t)w.limit_bytes;
	}
	check_window(c, &w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct credit_tx c;

	check_codec(data, len);
	credit_tx_init(&c, WINDOW, WINDOW_FRAMES);
	for (; len >= 1 + WINDOW_PAYLOAD_BYTES;
	     data += 1 + WINDOW_PAYLOAD_BYTES, len -= 1 + WINDOW_PAYLOAD_BYTES)
		feed(&c, data);
	return 0;
}
