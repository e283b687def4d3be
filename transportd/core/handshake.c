#include "transportd/core/handshake.h"

#include "common/base/frame.h"

struct row {
	enum handshake_state next;
	unsigned effects;
};

#define GO(state, effects)                                                                                   \
	{                                                                                                    \
		HANDSHAKE_##state, (effects)                                                                 \
	}
#define NEVER GO(FAILED, 0)

/* clang-format off: a table of states (down) and events (across) */
static const struct row table[HANDSHAKE_STATE_COUNT][HANDSHAKE_EVENT_COUNT] = {
    /*                               HELLO_OK                    SIGNED PROVEN */
    [HANDSHAKE_WAIT_HELLO] = {GO(SIGNING, HANDSHAKE_SEND_HELLO | HANDSHAKE_ASK), NEVER, NEVER},
    [HANDSHAKE_SIGNING] = {NEVER, GO(WAIT_AUTH, HANDSHAKE_SEND_AUTH), GO(SIGNING_PROVEN, 0)},
    [HANDSHAKE_SIGNING_PROVEN] = {NEVER, GO(UP, HANDSHAKE_SEND_AUTH | HANDSHAKE_LINK_UP), NEVER},
    [HANDSHAKE_WAIT_AUTH] = {NEVER, NEVER, GO(UP, HANDSHAKE_LINK_UP)},
    [HANDSHAKE_UP] = {NEVER, NEVER, NEVER},
    [HANDSHAKE_FAILED] = {NEVER, NEVER, NEVER},
};
/* clang-format on */

unsigned
handshake_step(enum handshake_state *state, enum handshake_event event)
{
	const struct row *row = &table[*state][event];

	*state = row->next;
	return row->effects;
}

bool
handshake_accepts(enum handshake_state state, uint8_t frame_type)
{
	if (frame_type == FRAME_GOAWAY)
		return true;
	switch (state) {
	case HANDSHAKE_WAIT_HELLO:
		return frame_type == FRAME_HELLO;
	case HANDSHAKE_SIGNING:
	case HANDSHAKE_WAIT_AUTH:
		return frame_type == FRAME_AUTH;
	case HANDSHAKE_UP:
		return frame_type != FRAME_HELLO && frame_type != FRAME_AUTH;
	default:
		return false;
	}
}

const char *
handshake_state_name(enum handshake_state state)
{
	static const char *const names[] = {
#define X(name, text) text,
	    HANDSHAKE_STATES(X)
#undef X
	};

	return state < HANDSHAKE_STATE_COUNT ? names[state] : "?";
}

const char *
handshake_event_name(enum handshake_event event)
{
	static const char *const names[] = {
#define X(name, text) text,
	    HANDSHAKE_EVENTS(X)
#undef X
	};

	return event < HANDSHAKE_EVENT_COUNT ? names[event] : "?";
}

enum settle
handshake_settle(uint64_t self, uint64_t peer, bool old_dialled, bool new_dialled)
{
	if (old_dialled == new_dialled)
		return SETTLE_TAKE_NEW;
	return (self < peer) == new_dialled ? SETTLE_TAKE_NEW : SETTLE_KEEP_OLD;
}
