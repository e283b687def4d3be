#include "transportd/core/lanes.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* clang-format off: a table of states (down) and events (across) */
static const enum lane_state table[LANE_STATE_COUNT][LANE_EVENT_COUNT] = {
    /*                 DIAL          PROVEN   FAILED        SILENT        HEARD         LOST */
    [LANE_ABSENT] = {LANE_OPENING, LANE_UP, LANE_ABSENT, LANE_ABSENT, LANE_ABSENT, LANE_ABSENT},
    [LANE_OPENING] = {LANE_OPENING, LANE_UP, LANE_ABSENT, LANE_OPENING, LANE_OPENING, LANE_OPENING},
    [LANE_UP] = {LANE_UP, LANE_UP, LANE_UP, LANE_STALLED, LANE_UP, LANE_ABSENT},
    [LANE_STALLED] = {LANE_STALLED, LANE_UP, LANE_STALLED, LANE_STALLED, LANE_UP, LANE_ABSENT},
};
/* clang-format on */

enum lane_state
lane_next(enum lane_state state, enum lane_event event)
{
	return table[state][event];
}

const char *
lane_state_name(enum lane_state state)
{
	static const char *const names[] = {
#define X(name, text) text,
	    LANE_STATES(X)
#undef X
	};

	return state < LANE_STATE_COUNT ? names[state] : "?";
}

const char *
lane_event_name(enum lane_event event)
{
	static const char *const names[] = {
#define X(name, text) text,
	    LANE_EVENTS(X)
#undef X
	};

	return event < LANE_EVENT_COUNT ? names[event] : "?";
}

enum lane_class
lane_class_of(unsigned lane)
{
	if (lane == LANE_CONTROL)
		return LANE_CLASS_CONTROL;
	return lane == LANE_PRIORITY ? LANE_CLASS_PRIORITY : LANE_CLASS_BULK;
}

const char *
lane_class_name(enum lane_class c)
{
	static const char *const names[LANE_CLASS_COUNT] = {
	    [LANE_CLASS_CONTROL] = "control",
	    [LANE_CLASS_PRIORITY] = "priority",
	    [LANE_CLASS_BULK] = "bulk",
	};

	return c < LANE_CLASS_COUNT ? names[c] : "?";
}

bool
lane_usable(enum lane_state state)
{
	return state == LANE_UP || state == LANE_STALLED;
}

void
lanes_init(struct lanes *l, unsigned count)
{
	memset(l, 0, sizeof(*l));
	l->count = count < LANES_MAX ? count : LANES_MAX;
}

/* --- which lane --- */

/* The bulk lane with least in its queue; those that answer before those that are stalled. */
static int
pick_bulk(struct lanes *l, const size_t queued[LANES_MAX], enum lane_state state)
{
	int best = -1;

	for (unsigned n = 0; n < LANES_MAX - LANE_BULK; n++) {
		unsigned i = LANE_BULK + (l->bulk_next + n) % (LANES_MAX - LANE_BULK);

		if (l->state[i] == state && (best < 0 || queued[i] < queued[best]))
			best = (int)i;
	}
	if (best >= 0)
		l->bulk_next = (unsigned)best - LANE_BULK + 1;
	return best;
}

static int
pick_in(struct lanes *l, enum lane_class class, const size_t queued[LANES_MAX], enum lane_state state)
{
	/* Who stands in for whom, in order. */
	static const enum lane_class order[LANE_CLASS_COUNT][LANE_CLASS_COUNT] = {
	    [LANE_CLASS_CONTROL] = {LANE_CLASS_CONTROL, LANE_CLASS_PRIORITY, LANE_CLASS_BULK},
	    [LANE_CLASS_PRIORITY] = {LANE_CLASS_PRIORITY, LANE_CLASS_BULK, LANE_CLASS_CONTROL},
	    [LANE_CLASS_BULK] = {LANE_CLASS_BULK, LANE_CLASS_PRIORITY, LANE_CLASS_CONTROL},
	};

	for (unsigned i = 0; i < LANE_CLASS_COUNT; i++) {
		enum lane_class c = order[class][i];
		int lane = c == LANE_CLASS_CONTROL ? LANE_CONTROL : LANE_PRIORITY;

		if (c == LANE_CLASS_BULK)
			lane = pick_bulk(l, queued, state);
		if (lane >= 0 && l->state[lane] == state)
			return lane;
	}
	return -1;
}

int
lanes_pick(struct lanes *l, enum lane_class class, const size_t queued[LANES_MAX])
{
	int lane = pick_in(l, class, queued, LANE_UP);

	return lane >= 0 ? lane : pick_in(l, class, queued, LANE_STALLED);
}

enum lane_class
lanes_class_for(uint8_t frame_class, size_t size)
{
	switch (frame_class) {
	case FRAME_CLASS_CONTROL:
		return size <= LANE_CONTROL_FRAME_BYTES ? LANE_CLASS_CONTROL : LANE_CLASS_PRIORITY;
	case FRAME_CLASS_SYSTEM:
	case FRAME_CLASS_DB:
		return LANE_CLASS_PRIORITY;
	default:
		return LANE_CLASS_BULK;
	}
}

unsigned
lanes_up(const struct lanes *l)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LANES_MAX; i++)
		n += lane_usable(l->state[i]);
	return n;
}

unsigned
lanes_bulk_up(const struct lanes *l)
{
	unsigned n = 0;

	for (unsigned i = LANE_BULK; i < LANES_MAX; i++)
		n += lane_usable(l->state[i]);
	return n;
}

/* Does the lane carry this class as things are?  Bulk is spread, the others have one lane. */
static bool
carries(const struct lanes *l, unsigned lane, enum lane_class class)
{
	static const size_t none[LANES_MAX];
	struct lanes copy = *l;
	int picked = lanes_pick(&copy, class, none);

	if (class == LANE_CLASS_BULK && picked >= LANE_BULK)
		return lane >= LANE_BULK;
	return picked == (int)lane;
}

void
lanes_roles(struct lanes *l, unsigned lane, char *out, size_t size)
{
	size_t len = 0;

	MUST(size > 0);
	out[0] = '\0';
	if (!lane_usable(l->state[lane]))
		return;
	for (unsigned c = 0; c < LANE_CLASS_COUNT; c++) {
		const char *name = lane_class_name(c);
		size_t n = strlen(name);

		if (!carries(l, lane, c) || len + n + 2 > size)
			continue;
		if (len != 0)
			out[len++] = ',';
		memcpy(out + len, name, n + 1);
		len += n;
	}
}

/* --- LANE frames --- */

int
lane_note_encode(const struct lane_note *n, struct buf *out)
{
	int err;

	if ((err = buf_put_u8(out, n->op)) != 0 || (err = buf_put_u16(out, n->lane)) != 0 ||
	    (err = buf_put_u64(out, n->conn)) != 0)
		return err;
	return buf_put_u64(out, n->received_frames);
}

int
lane_note_decode(const void *payload, size_t len, struct lane_note *out)
{
	struct buf in;
	int err;

	buf_view(&in, payload, len);
	if ((err = buf_get_u8(&in, &out->op)) != 0 || (err = buf_get_u16(&in, &out->lane)) != 0 ||
	    (err = buf_get_u64(&in, &out->conn)) != 0 ||
	    (err = buf_get_u64(&in, &out->received_frames)) != 0 || (err = buf_end(&in)) != 0)
		return err;
	if (out->op < LANE_OP_CLOSED || out->op > LANE_OP_UNKNOWN)
		return ERR_FORMAT;
	return out->lane < LANES_MAX ? 0 : ERR_RANGE;
}
