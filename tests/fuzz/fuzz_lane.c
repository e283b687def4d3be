/*
 * LANE frames as a peer may send them, and the lanes of a link under any order of events: what decodes
 * encodes to the same bytes, and no frame is put on a lane that is not up.
 */
#include "common/base/buf.h"
#include "tests/fuzz/fuzz.h"
#include "transportd/core/lanes.h"

static void
check_codec(const uint8_t *data, size_t len)
{
	uint8_t mem[LANE_PAYLOAD_BYTES];
	struct lane_note n;
	struct buf out;

	if (lane_note_decode(data, len, &n) != 0)
		return;
	FUZZ_CHECK(n.lane < LANES_MAX && n.op >= LANE_OP_CLOSED && n.op <= LANE_OP_UNKNOWN);
	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(lane_note_encode(&n, &out) == 0 && buf_left(&out) == len && memcmp(mem, data, len) == 0);
}

static bool
any(const struct lanes *l, enum lane_state state)
{
	for (unsigned i = 0; i < LANES_MAX; i++)
		if (l->state[i] == state)
			return true;
	return false;
}

/* A usable lane exactly if there is one, one that answers if there is one, and of bulk lanes none with
 * more in its queue than another that is as well. */
static void
check_pick(struct lanes *l, enum lane_class class, const size_t queued[LANES_MAX])
{
	enum lane_state want = any(l, LANE_UP) ? LANE_UP : LANE_STALLED;
	int lane = lanes_pick(l, class, queued);

	FUZZ_CHECK((lane >= 0) == (lanes_up(l) != 0) && lane < LANES_MAX);
	FUZZ_CHECK(lane < 0 || l->state[lane] == want);
	if (class != LANE_CLASS_BULK || lane < LANE_BULK)
		return;
	for (unsigned i = LANE_BULK; i < LANES_MAX; i++)
		FUZZ_CHECK(l->state[i] != want || queued[i] >= queued[lane]);
}

static void
check_roles(struct lanes *l, unsigned lane, size_t size)
{
	char text[64];

	lanes_roles(l, lane, text, size);
	FUZZ_CHECK(memchr(text, '\0', size) != NULL);
	FUZZ_CHECK(text[0] == '\0' || lane_usable(l->state[lane]));
}

/* Two bytes: an event for a lane; a queue for another, and the class to pick for. */
static void
feed(struct lanes *l, size_t queued[LANES_MAX], const uint8_t item[2])
{
	unsigned lane = item[0] % LANES_MAX, event = item[0] / LANES_MAX;

	if (event < LANE_EVENT_COUNT)
		l->state[lane] = lane_next(l->state[lane], (enum lane_event)event);
	FUZZ_CHECK(l->state[lane] < LANE_STATE_COUNT);
	FUZZ_CHECK(lanes_bulk_up(l) <= lanes_up(l));
	queued[item[1] % LANES_MAX] = (size_t)item[0] * item[1];
	check_pick(l, lanes_class_for(item[1] >> 6, (size_t)item[1] * 64), queued);
	check_roles(l, lane, 1 + item[1] % 63U);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t queued[LANES_MAX] = {0};
	struct lanes l;

	check_codec(data, len);
	lanes_init(&l, LANES_MAX);
	for (; len >= 2; data += 2, len -= 2)
		feed(&l, queued, data);
	return 0;
}
