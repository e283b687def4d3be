/*
 * handshake: what has to happen on a connection before it carries frames, as one table.
 *
 * The dialler sends HELLO, the listener answers with its own.  When the other's hello was checked, the
 * own proof is signed (by consensusd, later) and sent as AUTH; when the other's AUTH was verified and
 * the own one is sent, the link is up.  The two proofs may come in any order.
 */
#ifndef TRANSPORTD_CORE_HANDSHAKE_H
#define TRANSPORTD_CORE_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#define HANDSHAKE_STATES(X)                                                                                  \
	X(WAIT_HELLO, "wait-hello")         /* the dialler's hello is sent */                                \
	X(SIGNING, "signing")               /* hellos are exchanged; our proof is being signed */            \
	X(SIGNING_PROVEN, "signing-proven") /* the same, and the other side has proven itself */             \
	X(WAIT_AUTH, "wait-auth")           /* our proof is sent */                                          \
	X(UP, "up")                                                                                          \
	X(FAILED, "failed")

#define HANDSHAKE_EVENTS(X)                                                                                  \
	X(HELLO_OK, "hello-ok") /* the other's hello arrived and is right */                                 \
	X(SIGNED, "signed")     /* our proof is there */                                                     \
	X(PROVEN, "proven")     /* the other's proof arrived and is right */

enum handshake_state {
#define X(name, text) HANDSHAKE_##name,
	HANDSHAKE_STATES(X)
#undef X
	    HANDSHAKE_STATE_COUNT
};

enum handshake_event {
#define X(name, text) HANDSHAKE_EV_##name,
	HANDSHAKE_EVENTS(X)
#undef X
	    HANDSHAKE_EVENT_COUNT
};

/* What the shell does after a step, in this order.  SEND_HELLO is for the listener: the dialler's left
 * when the connection opened. */
enum handshake_effect {
	HANDSHAKE_SEND_HELLO = 1,
	HANDSHAKE_ASK = 2,
	HANDSHAKE_SEND_AUTH = 4,
	HANDSHAKE_LINK_UP = 8,
};

/* Moves *state; effects as a mask.  An event that has no place in the state gives FAILED. */
unsigned handshake_step(enum handshake_state *state, enum handshake_event event);

/* May a frame of this type arrive in this state?  GOAWAY always may. */
bool handshake_accepts(enum handshake_state state, uint8_t frame_type);

const char *handshake_state_name(enum handshake_state state);
const char *handshake_event_name(enum handshake_event event);

/* --- two connections between the same nodes --- */

enum settle { SETTLE_KEEP_OLD, SETTLE_TAKE_NEW };

/*
 * Which of two proven connections to peer to keep.  Dialled by different sides: the one that the
 * smaller node id dialled, so that both sides decide alike.  By the same side: the new one, because
 * nobody dials again while its connection lives.
 */
enum settle handshake_settle(uint64_t self, uint64_t peer, bool old_dialled, bool new_dialled);

#endif
