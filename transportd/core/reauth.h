/*
 * reauth: proofs of identity end, connections go on: when to show a new one, and when to close.
 *
 * Each side of a connection has proven itself until some time: with mutual TLS until the end of its
 * certificate, where TLS ends at a proxy until the end of its token.  A TOKEN frame, whose payload is a
 * fresh token, proves it for longer.  Pure: time is an argument, jitter comes from the caller.
 *
 * What the owner of a connection does, once it has carried the handshake:
 *
 *	                  the other side's proof              our own
 *	mutual TLS        reauth_init(r, tls_peer_not_after)  none is due; reauth_due() when tls_load() has
 *	                                                      put a certificate with another end in use
 *	token, listener   reauth_init(r, token_until)         reauth_due(r, now)
 *	token, dialler    reauth_init_owed(r, deadline)       reauth_sent(r, now, lifetime, jitter)
 *
 * with reauth_map() around the times in Unix seconds.  Through a proxy the dialler has seen the
 * certificate of the proxy only, so the listener owes it a TOKEN.  Then:
 *
 *	reauth_step() when reauth_next() is reached: SEND makes a token for the peer, sends the frame and
 *	calls reauth_sent(); END closes with the code.
 *	A TOKEN frame: reauth_takes(), then tls_token_check() with our node id as audience; if it is right
 *	and names the node and mesh of the peer's HELLO reauth_shown() with token_until(), or, with mutual
 *	TLS, with its cert_until; otherwise close with GOAWAY_TOKEN.
 */
#ifndef TRANSPORTD_CORE_REAUTH_H
#define TRANSPORTD_CORE_REAUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/mono.h"

enum {
	REAUTH_OWED_MS = 10000,    /* for the TOKEN that a listener behind a proxy owes */
	REAUTH_RETRY_MS = 5000,    /* when a token was due and could not be made */
	REAUTH_INTERVAL_MS = 1000, /* verifying costs a signature or two: not more often than this */
	REAUTH_BURST = 4,          /* but so many at once */
};

#define REAUTH_STATES(X)                                                                                     \
	X(OWED, "owed")     /* the other side has yet to show a token */                                     \
	X(PROVEN, "proven") /* until some time */                                                            \
	X(ENDED, "ended")

#define REAUTH_EVENTS(X)                                                                                     \
	X(SHOWN, "shown")   /* a token that is right */                                                      \
	X(LAPSED, "lapsed") /* the time is over */

enum reauth_state {
#define X(name, text) REAUTH_##name,
	REAUTH_STATES(X)
#undef X
	    REAUTH_STATE_COUNT
};

enum reauth_event {
#define X(name, text) REAUTH_EV_##name,
	REAUTH_EVENTS(X)
#undef X
	    REAUTH_EVENT_COUNT
};

struct reauth {
	enum reauth_state state; /* of the other side's proof */
	struct mono until;       /* then it has lapsed */
	struct mono send_at;     /* our next token is due; MONO_NEVER: none */
	struct mono earned;      /* tokens taken from the other side are paid up to here */
};

enum reauth_effect { REAUTH_NOTHING = 0, REAUTH_SEND = 1, REAUTH_END = 2 };

/* The other side has proven itself until then; nothing of ours is due. */
void reauth_init(struct reauth *r, struct mono until);
/* The other side has to show a token before the deadline (now + REAUTH_OWED_MS). */
void reauth_init_owed(struct reauth *r, struct mono deadline);

/* A time of the calendar as one of the monotonic clock; MONO_NEVER if it is centuries away. */
struct mono reauth_map(struct mono now, int64_t now_unix_s, int64_t unix_s);

/* Our token is due at that time, or earlier if it was anyway. */
void reauth_due(struct reauth *r, struct mono at);
/* We have shown a token of that life: the next is due when half to two thirds of it are over; jitter
 * (0-999) says where.  Life 0: no other is due (mutual TLS). */
void reauth_sent(struct reauth *r, struct mono now, int64_t life_us, unsigned jitter);

/* May the other side's token be looked at?  False: it sends them too often; close with GOAWAY_FLOW. */
bool reauth_takes(struct reauth *r, struct mono now);
/* It was right, and good until then. */
void reauth_shown(struct reauth *r, struct mono until);

/* What is due; REAUTH_END sets *code: GOAWAY_EXPIRED, or GOAWAY_TOKEN if none ever came. */
enum reauth_effect reauth_step(struct reauth *r, struct mono now, uint16_t *code);
/* When reauth_step() has something to do. */
struct mono reauth_next(const struct reauth *r);

const char *reauth_state_name(enum reauth_state state);
const char *reauth_event_name(enum reauth_event event);

#endif
