/*
 * conn: one WebSocket connection from its upgrade on: handshake, then frames for its link.
 *
 * Belongs to nobody: it ends when the WebSocket does, or when it is failed.  Once proven it is a lane of
 * its link, which writes through it.
 */
#ifndef TRANSPORTD_CONN_H
#define TRANSPORTD_CONN_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/os/loop.h"
#include "transportd/core/handshake.h"
#include "transportd/core/hello.h"
#include "transportd/core/reauth.h"

struct dial_way;
struct lane;
struct link;
struct peer;
struct transport;
struct ws_conn;
struct ws_events;

struct conn {
	LIST_ENTRY(conn) entry;
	struct transport *t;
	struct ws_conn *ws;
	enum handshake_state state;
	struct hello hello; /* the peer's, once it is checked */
	uint8_t own_hash[HELLO_HASH_BYTES], peer_hash[HELLO_HASH_BYTES];
	uint8_t exporter[HELLO_EXPORTER_BYTES];
	uint8_t local[HELLO_ENDPOINT_BYTES], remote[HELLO_ENDPOINT_BYTES];
	uint32_t sign_id;     /* correlates SIGN and SIGNATURE */
	struct peer *peer;    /* whose dial this is; NULL: accepted, or nobody waits for it any more */
	struct dial_way *way; /* how, until it is proven */
	uint64_t expected;    /* the only node id that is right here; 0: any */
	bool dialled;
	bool opened; /* the upgrade is done */
	char address[64];
	unsigned lane_id;  /* of the lane that it is, or is to be */
	uint64_t number;   /* both ends' name for it, once the hellos are exchanged */
	bool direct;       /* both ends see the same addresses: nothing between them ends TCP */
	struct link *link; /* once it is up */
	struct lane *lane; /* the same */
	uint32_t own_window_bytes, own_window_frames; /* granted in our hello */
	struct buf out;     /* frames that do not wait in the link's queue: hello, auth */
	struct reauth auth; /* once it is up */
	struct loop_timer *auth_timer;
	bool dead; /* let go; freed at the end of the turn */
	struct loop_defer reap;
};

LIST_HEAD(conns, conn);

/* What ws calls; ctx is the transport. */
extern const struct ws_events conn_events;

/* Dials; the peer hears peer_conn_up() or peer_conn_gone().  ERR_UNAVAIL, ERR_NOMEM. */
int conn_dial(struct transport *t, struct peer *p, uint64_t expected, unsigned lane,
    const struct dial_way *way) MUST_USE;
/* Ends the dials of p that race and are not open yet, silently; p does not hear of it. */
void conn_drop_dials(struct transport *t, const struct peer *p);

/* Queues a link-local frame that does not wait with others; the buffer's errors. */
int conn_put(struct conn *c, uint8_t type, const void *payload, size_t len) MUST_USE;
/* Ends it with a GOAWAY code: logs why and what to do, tells the peer. */
void conn_fail(struct conn *c, uint16_t code, const char *detail);
/* Ends it at once without a word: the peer does not answer. */
void conn_kill(struct conn *c, uint16_t code, const char *detail);

/* The peer has given up a connection that is not proven here: its proof, if it still comes, comes too late.
 */
void conn_given_up(struct transport *t, uint64_t node, uint64_t number);

/* The proof that was asked for with sign_id is there (HELLO_SIG_BYTES), or was refused (NULL). */
void conn_signed(struct transport *t, uint32_t sign_id, const uint8_t *signature);
/* consensusd is back: asks again for every proof that is missing. */
void conn_ask_again(struct transport *t);
/* Nobody dials for p any more. */
void conn_forget_peer(struct transport *t, const struct peer *p);
/* Ends all of them; they go when the loop turns, or with conn_free_all(). */
void conn_fail_all(struct transport *t, uint16_t code);
void conn_free_all(struct transport *t);

#endif
