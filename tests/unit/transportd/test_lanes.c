#include "transportd/core/lanes.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "tests/unit/unit.h"

enum { ALL = 1U << LANES_MAX, FEW = 6 };

static const size_t none[LANES_MAX];

/* --- the table of states --- */

static void
states(void **state)
{
	static const struct {
		enum lane_state from;
		enum lane_state to[LANE_EVENT_COUNT];
	} rows[] = {
	    /* dial, proven, failed, silent, heard, lost */
	    {LANE_ABSENT, {LANE_OPENING, LANE_UP, LANE_ABSENT, LANE_ABSENT, LANE_ABSENT, LANE_ABSENT}},
	    {LANE_OPENING, {LANE_OPENING, LANE_UP, LANE_ABSENT, LANE_OPENING, LANE_OPENING, LANE_OPENING}},
	    {LANE_UP, {LANE_UP, LANE_UP, LANE_UP, LANE_STALLED, LANE_UP, LANE_ABSENT}},
	    {LANE_STALLED, {LANE_STALLED, LANE_UP, LANE_STALLED, LANE_STALLED, LANE_UP, LANE_ABSENT}},
	};

	(void)state;
	assert_int_equal(COUNT(rows), LANE_STATE_COUNT);
	for (size_t i = 0; i < COUNT(rows); i++)
		for (unsigned ev = 0; ev < LANE_EVENT_COUNT; ev++)
			assert_int_equal(lane_next(rows[i].from, ev), rows[i].to[ev]);
	assert_false(lane_usable(LANE_ABSENT) || lane_usable(LANE_OPENING));
	assert_true(lane_usable(LANE_UP) && lane_usable(LANE_STALLED));
}

static void
names(void **state)
{
	(void)state;
	assert_string_equal(lane_state_name(LANE_OPENING), "opening");
	assert_string_equal(lane_state_name(LANE_STALLED), "stalled");
	assert_string_equal(lane_state_name(LANE_STATE_COUNT), "?");
	assert_string_equal(lane_event_name(LANE_EV_PROVEN), "proven");
	assert_string_equal(lane_event_name(LANE_EV_LOST), "lost");
	assert_string_equal(lane_event_name(LANE_EVENT_COUNT), "?");
	assert_string_equal(lane_class_name(LANE_CLASS_CONTROL), "control");
	assert_string_equal(lane_class_name(LANE_CLASS_BULK), "bulk");
	assert_string_equal(lane_class_name(LANE_CLASS_COUNT), "?");
	assert_int_equal(lane_class_of(0), LANE_CLASS_CONTROL);
	assert_int_equal(lane_class_of(1), LANE_CLASS_PRIORITY);
	for (unsigned i = LANE_BULK; i < LANES_MAX; i++)
		assert_int_equal(lane_class_of(i), LANE_CLASS_BULK);
}

/* --- which lane --- */

static struct lanes
lanes_of(unsigned up, unsigned stalled)
{
	struct lanes l;

	lanes_init(&l, LANES_MAX);
	for (unsigned i = 0; i < LANES_MAX; i++)
		l.state[i] = up >> i & 1 ? LANE_UP : stalled >> i & 1 ? LANE_STALLED : LANE_ABSENT;
	return l;
}

/* The stand-ins as the header has them, for lanes in a mask; bulk goes to the lowest here. */
static int
expected(unsigned mask, enum lane_class class)
{
	unsigned bulk = mask & ~3U;
	int lowest = bulk != 0 ? __builtin_ctz(bulk) : -1;
	int control = mask & 1 ? 0 : -1, priority = mask & 2 ? 1 : -1;

	switch (class) {
	case LANE_CLASS_CONTROL:
		return control >= 0 ? control : priority >= 0 ? priority : lowest;
	case LANE_CLASS_PRIORITY:
		return priority >= 0 ? priority : lowest >= 0 ? lowest : control;
	default:
		return lowest >= 0 ? lowest : priority >= 0 ? priority : control;
	}
}

/* Every subset of the sixteen: with equal queues a fresh table takes the lowest bulk lane. */
static void
stand_ins(void **state)
{
	(void)state;
	for (unsigned mask = 0; mask < ALL; mask++) {
		for (unsigned c = 0; c < LANE_CLASS_COUNT; c++) {
			struct lanes l = lanes_of(mask, 0);

			assert_int_equal(lanes_pick(&l, c, none), expected(mask, c));
		}
	}
}

/* A stalled lane is used only if no other is up, whatever its class. */
static void
stalled_lanes(void **state)
{
	(void)state;
	for (unsigned up = 0; up < 1U << FEW; up++) {
		for (unsigned stalled = 0; stalled < 1U << FEW; stalled++) {
			for (unsigned c = 0; c < LANE_CLASS_COUNT; c++) {
				struct lanes l = lanes_of(up, stalled);

				assert_int_equal(
				    lanes_pick(&l, c, none), expected(up != 0 ? up : stalled, c));
			}
		}
	}
}

static void
opening_is_not_up(void **state)
{
	struct lanes l = lanes_of(0, 0);

	(void)state;
	for (unsigned i = 0; i < LANES_MAX; i++)
		l.state[i] = LANE_OPENING;
	for (unsigned c = 0; c < LANE_CLASS_COUNT; c++)
		assert_int_equal(lanes_pick(&l, c, none), -1);
	assert_int_equal(lanes_up(&l), 0);
	assert_int_equal(lanes_bulk_up(&l), 0);
}

/* For every subset of bulk lanes, and each of them the least loaded. */
static void
least_loaded(void **state)
{
	size_t queued[LANES_MAX];

	(void)state;
	for (unsigned mask = 0; mask < ALL; mask += 4) {
		for (unsigned least = LANE_BULK; least < LANES_MAX; least++) {
			struct lanes l = lanes_of(mask | 3, 0);

			if ((mask >> least & 1) == 0)
				continue;
			for (unsigned i = 0; i < LANES_MAX; i++)
				queued[i] = i < LANE_BULK ? 0 : 1000;
			queued[least] = 999;
			assert_int_equal(lanes_pick(&l, LANE_CLASS_BULK, queued), least);
			assert_int_equal(lanes_pick(&l, LANE_CLASS_BULK, queued), least);
		}
	}
}

/* Where all are alike, as many streams in a row as there are bulk lanes take all of them. */
static void
turns(void **state)
{
	(void)state;
	for (unsigned mask = 4; mask < ALL; mask += 4) {
		struct lanes l = lanes_of(mask | 3, 0);
		unsigned count = (unsigned)__builtin_popcount(mask);

		for (unsigned round = 0; round < 3; round++) {
			unsigned seen = 0;

			for (unsigned i = 0; i < count; i++)
				seen |= 1U << lanes_pick(&l, LANE_CLASS_BULK, none);
			assert_int_equal(seen, mask);
		}
	}
}

static void
counts(void **state)
{
	struct lanes l;

	(void)state;
	for (unsigned up = 0; up < 1U << FEW; up++) {
		l = lanes_of(up, ~up & 0x2a);
		assert_int_equal(lanes_up(&l), __builtin_popcount(up | 0x2a));
		assert_int_equal(lanes_bulk_up(&l), __builtin_popcount((up | 0x2a) & ~3U));
	}
	lanes_init(&l, LANES_MAX + 7);
	assert_int_equal(l.count, LANES_MAX);
	lanes_init(&l, 1);
	assert_int_equal(l.count, 1);
}

static void
classes(void **state)
{
	const size_t sizes[] = {0, 32, LANE_CONTROL_FRAME_BYTES - 1, LANE_CONTROL_FRAME_BYTES,
	    LANE_CONTROL_FRAME_BYTES + 1, FRAME_MAX_BYTES};

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		assert_int_equal(lanes_class_for(FRAME_CLASS_CONTROL, sizes[i]),
		    sizes[i] <= LANE_CONTROL_FRAME_BYTES ? LANE_CLASS_CONTROL : LANE_CLASS_PRIORITY);
		assert_int_equal(lanes_class_for(FRAME_CLASS_SYSTEM, sizes[i]), LANE_CLASS_PRIORITY);
		assert_int_equal(lanes_class_for(FRAME_CLASS_DB, sizes[i]), LANE_CLASS_PRIORITY);
		assert_int_equal(lanes_class_for(FRAME_CLASS_CLIENT, sizes[i]), LANE_CLASS_BULK);
	}
}

/* --- the text of roles --- */

static const char *
roles(unsigned up, unsigned stalled, unsigned lane)
{
	static char text[64];
	struct lanes l = lanes_of(up, stalled), before = l;

	lanes_roles(&l, lane, text, sizeof(text));
	assert_memory_equal(&l, &before, sizeof(l));
	return text;
}

static void
roles_text(void **state)
{
	char small[10];
	struct lanes l = lanes_of(1, 0);

	(void)state;
	assert_string_equal(roles(0x7, 0, 0), "control");
	assert_string_equal(roles(0x7, 0, 1), "priority");
	assert_string_equal(roles(0x7, 0, 2), "bulk");
	assert_string_equal(roles(0x7, 0, 3), "");
	assert_string_equal(roles(0x1, 0, 0), "control,priority,bulk");
	assert_string_equal(roles(0x2, 0, 1), "control,priority,bulk");
	assert_string_equal(roles(0x8, 0, 3), "control,priority,bulk");
	assert_string_equal(roles(0x6, 0, 1), "control,priority");
	assert_string_equal(roles(0x5, 0, 2), "priority,bulk");
	assert_string_equal(roles(0x3, 0, 1), "priority,bulk");
	/* Bulk is on all of its lanes. */
	assert_string_equal(roles(0x1f, 0, 2), "bulk");
	assert_string_equal(roles(0x1f, 0, 4), "bulk");
	/* A stalled one carries nothing while another is up. */
	assert_string_equal(roles(0x6, 0x1, 0), "");
	assert_string_equal(roles(0, 0x7, 0), "control");
	/* What does not fit is left out whole. */
	lanes_roles(&l, 0, small, sizeof(small));
	assert_string_equal(small, "control");
	lanes_roles(&l, 0, small, 1);
	assert_string_equal(small, "");
}

/* --- LANE frames --- */

static void
note_bytes(const struct lane_note *n, uint8_t mem[LANE_PAYLOAD_BYTES])
{
	struct buf out;

	buf_init_fixed(&out, mem, LANE_PAYLOAD_BYTES);
	assert_int_equal(lane_note_encode(n, &out), 0);
	assert_int_equal(buf_left(&out), LANE_PAYLOAD_BYTES);
}

static void
notes(void **state)
{
	uint8_t mem[LANE_PAYLOAD_BYTES + 1] = {0};

	(void)state;
	for (uint8_t op = LANE_OP_CLOSED; op <= LANE_OP_UNKNOWN; op++) {
		for (uint16_t lane = 0; lane < LANES_MAX; lane++) {
			struct lane_note n = {op, lane, UINT64_MAX - lane, (uint64_t)1 << (lane * 4)};
			struct lane_note back = {0};

			note_bytes(&n, mem);
			assert_int_equal(lane_note_decode(mem, LANE_PAYLOAD_BYTES, &back), 0);
			assert_int_equal(back.op, n.op);
			assert_int_equal(back.lane, n.lane);
			assert_true(back.conn == n.conn && back.received_frames == n.received_frames);
		}
	}
}

static void
bad_notes(void **state)
{
	struct lane_note n = {LANE_OP_CLOSED, 2, 3, 4}, back;
	uint8_t mem[LANE_PAYLOAD_BYTES + 1] = {0}, small[LANE_PAYLOAD_BYTES];
	struct buf out;

	(void)state;
	note_bytes(&n, mem);
	for (size_t len = 0; len < LANE_PAYLOAD_BYTES; len++) {
		assert_int_equal(lane_note_decode(mem, len, &back), ERR_SHORT);
		buf_init_fixed(&out, small, len);
		assert_int_not_equal(lane_note_encode(&n, &out), 0);
	}
	assert_int_equal(lane_note_decode(mem, LANE_PAYLOAD_BYTES + 1, &back), ERR_LEFTOVER);
	for (unsigned op = 0; op <= UINT8_MAX; op++) {
		mem[0] = (uint8_t)op;
		assert_int_equal(lane_note_decode(mem, LANE_PAYLOAD_BYTES, &back),
		    op >= LANE_OP_CLOSED && op <= LANE_OP_UNKNOWN ? 0 : ERR_FORMAT);
	}
	mem[0] = LANE_OP_WANT;
	for (unsigned lane = 0; lane <= UINT16_MAX; lane++) {
		mem[1] = (uint8_t)(lane >> 8);
		mem[2] = (uint8_t)lane;
		assert_int_equal(
		    lane_note_decode(mem, LANE_PAYLOAD_BYTES, &back), lane < LANES_MAX ? 0 : ERR_RANGE);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(states),
	    cmocka_unit_test(names),
	    cmocka_unit_test(stand_ins),
	    cmocka_unit_test(stalled_lanes),
	    cmocka_unit_test(opening_is_not_up),
	    cmocka_unit_test(least_loaded),
	    cmocka_unit_test(turns),
	    cmocka_unit_test(counts),
	    cmocka_unit_test(classes),
	    cmocka_unit_test(roles_text),
	    cmocka_unit_test(notes),
	    cmocka_unit_test(bad_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
