/*
 * conn: one WebSocket connection from its upgrade on: handshake, then frames for its link.
 *
 * Belongs to nobody: it ends when the WebSocket does, or when it is failed or retired.  While it is the
 * link's active connection the link writes through it.
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
	uint32_t sign_id;  /* correlates SIGN and SIGNATURE */
	struct peer *peer; /* whose dial this is; NULL: accepted, or nobody waits for it any more */
	uint64_t expected; /* the only node id that is right here; 0: any */
	bool dialled;
	char address[64];
	struct link *link; /* once it is up */
	struct buf out;    /* frames that do not wait in the link's queue: hello, auth, goaway */
	bool retired;      /* another connection took its place; only read until the end */
	bool told_away;    /* the peer has retired it */
	bool dead;         /* let go; freed at the end of the turn */
	struct loop_timer *drain;
	struct loop_defer reap;
};

LIST_HEAD(conns, conn);

/* What ws calls; ctx is the transport. */
extern const struct ws_events conn_events;

/* Dials; the peer hears peer_conn_up() or peer_conn_gone().  ERR_UNAVAIL, ERR_NOMEM. */
int conn_dial(struct transport *t, struct peer *p, uint64_t expected, const char *ip, uint16_t port) MUST_USE;

/* Ends it with a GOAWAY code: logs why and what to do, tells the peer. */
void conn_fail(struct conn *c, uint16_t code, const char *detail);
/* Ends it at once without a word: the peer does not answer. */
void conn_kill(struct conn *c, uint16_t code, const char *detail);
/* Another connection of the link is active now. */
void conn_retire(struct conn *c);

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
