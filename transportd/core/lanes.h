/*
 * lanes: the lanes of one link as a table of states, and which lane carries what.
 *
 * Lane 0 is for control, lane 1 for system and database traffic, those from 2 on for bulk.  Who is missing
 * is stood in for: control goes to the first lane of {0, 1, bulk} that is up (promotion), priority to
 * {1, bulk, 0}, bulk to {bulk, 1, 0}.  Control, system and database traffic is never spread.  Pure.
 */
#ifndef TRANSPORTD_CORE_LANES_H
#define TRANSPORTD_CORE_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/frame.h"
#include "common/base/must.h"
#include "transportd/core/limits.h"

/*	name, text */
#define LANE_STATES(X)                                                                                       \
	X(ABSENT, "absent")                                                                                  \
	X(OPENING, "opening") /* dialled, not yet proven */                                                  \
	X(UP, "up")                                                                                          \
	X(STALLED, "stalled") /* silent, but the peer's kernel answers */

#define LANE_EVENTS(X)                                                                                       \
	X(DIAL, "dial")                                                                                      \
	X(PROVEN, "proven") /* a connection for it has proven itself */                                      \
	X(FAILED, "failed") /* the dialled one did not */                                                    \
	X(SILENT, "silent") /* heartbeats missed, kernel answers */                                          \
	X(HEARD, "heard")                                                                                    \
	X(LOST, "lost") /* its connection is dead or closed */

enum lane_state {
#define X(name, text) LANE_##name,
	LANE_STATES(X)
#undef X
	    LANE_STATE_COUNT
};

enum lane_event {
#define X(name, text) LANE_EV_##name,
	LANE_EVENTS(X)
#undef X
	    LANE_EVENT_COUNT
};

enum lane_class { LANE_CLASS_CONTROL, LANE_CLASS_PRIORITY, LANE_CLASS_BULK, LANE_CLASS_COUNT };

/* The next state; an event that has no place in the state leaves it as it is. */
enum lane_state lane_next(enum lane_state state, enum lane_event event);
const char *lane_state_name(enum lane_state state);
const char *lane_event_name(enum lane_event event);
enum lane_class lane_class_of(unsigned lane);
const char *lane_class_name(enum lane_class c);
/* May frames be sent on it? */
bool lane_usable(enum lane_state state);

struct lanes {
	enum lane_state state[LANES_MAX];
	unsigned count;     /* ids below it may exist on this link: the smaller lanes_max of both ends */
	unsigned bulk_next; /* where the search for the next stream's bulk lane begins */
};

void lanes_init(struct lanes *l, unsigned count);
/* A lane for the class, or -1: none is usable.  queued: bytes waiting on each lane; bulk streams go to the
 * bulk lane with least, in turn where it is the same. */
int lanes_pick(struct lanes *l, enum lane_class class, const size_t queued[LANES_MAX]);
/* What class of lane carries a frame: control only if it is small. */
enum lane_class lanes_class_for(uint8_t frame_class, size_t size);
unsigned lanes_up(const struct lanes *l);
unsigned lanes_bulk_up(const struct lanes *l);
/* "control,priority": what a lane carries as things are; "" if it is not up. */
void lanes_roles(struct lanes *l, unsigned lane, char *out, size_t size);

/* --- LANE frames: what was received on a connection that is gone, and asking for another lane --- */

enum lane_op {
	LANE_OP_CLOSED = 1,  /* the connection is gone here; received_frames came on it */
	LANE_OP_WANT = 2,    /* please dial the lane (from the side that can't) */
	LANE_OP_UNKNOWN = 3, /* answers CLOSED: this side has had no such connection; nothing came */
};

enum { LANE_PAYLOAD_BYTES = 19 };

struct lane_note {
	uint8_t op;
	uint16_t lane;
	uint64_t conn; /* both ends call a connection by this number */
	uint64_t received_frames;
};

struct buf;

int lane_note_encode(const struct lane_note *n, struct buf *out) MUST_USE;
/* Total: ERR_SHORT, ERR_LEFTOVER, ERR_FORMAT (op), ERR_RANGE (lane). */
int lane_note_decode(const void *payload, size_t len, struct lane_note *out) MUST_USE;

#endif
