/*
 * ws: WebSocket connections with mutual TLS (subprotocol mesh.v1, path /mesh/v1).
 *
 * A connection has one user, who gets opened, then received and writable, and closed once.  With
 * ws_close() and ws_kill() the user lets go: nothing is called any more, and what is left of the
 * connection is ws's business.  A connection is pending until ws_proven(): pending ones are limited in
 * number, and their time runs from the first byte.
 */
#ifndef TRANSPORTD_WS_H
#define TRANSPORTD_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/frame.h"
#include "common/base/must.h"

struct loop;
struct tls;
struct ws;
struct ws_conn;

enum { WS_ADDRESS_SIZE = 64, WS_LISTEN_MAX = 16, WS_LAST_BYTES = 384 };

#define WS_SUBPROTOCOL "mesh.v1"
#define WS_PATH "/mesh/v1"

struct ws_events {
	/* May a peer be let in now?  NULL, or a reason that it is told with HTTP 503. */
	const char *(*admit)(void *ctx);
	/* A peer dialled and was let in; returns the user, NULL to refuse. */
	void *(*accepted)(void *ctx, struct ws_conn *c);
	void (*opened)(void *user);
	/* One whole binary message. */
	void (*received)(void *user, const uint8_t *msg, size_t len);
	/* The peer broke the WebSocket rules of mesh.v1; close it. */
	void (*violated)(void *user, const char *what);
	/* Asked for with ws_want_write(). */
	void (*writable)(void *user);
	/* The time for the handshake is over. */
	void (*expired)(void *user);
	/* The connection is gone, or was never made; why says so in a few words. */
	void (*closed)(void *user, const char *why);
};

/* tls is borrowed and must be loaded.  Makes a virtual host: call it before the sandbox. */
struct ws *ws_new(struct loop *l, struct tls *t, const struct ws_events *events, void *ctx) MUST_USE;
void ws_free(struct ws *w);
void ws_set_limits(struct ws *w, unsigned pending_max, int64_t handshake_ms);

/* Listens on "host:port", "[v6]:port" or "*:port".  ERR_IO (logged). */
int ws_listen(struct ws *w, const char *address) MUST_USE;
/* Accepts no more; and whether any connection is left. */
void ws_stop_listening(struct ws *w);
bool ws_idle(const struct ws *w);
/* Dials ip (numeric) port; closed() tells if it fails.  NULL if it can't even begin. */
struct ws_conn *ws_dial(struct ws *w, const char *ip, uint16_t port, void *user) MUST_USE;

/* Alerts of the TLS layer: give this to tls_new() with the ws as its argument once that exists. */
void ws_on_alert(struct ws *w, int fd, bool sent, const char *text);

/* The peer has proven who it is. */
void ws_proven(struct ws_conn *c);
void ws_want_write(struct ws_conn *c);
/* May a message be sent now?  Ask before each, in writable(). */
bool ws_can_send(struct ws_conn *c);
/* Where the next message is put together: FRAME_MESSAGE_MAX_BYTES.  Shared by all connections. */
uint8_t *ws_tx(struct ws *w);
/* Sends the first len bytes of ws_tx() as one message.  ERR_CLOSED: the connection is going. */
int ws_send(struct ws_conn *c, size_t len) MUST_USE;
void ws_pause(struct ws_conn *c, bool pause);

/* Lets go; a last message (at most WS_LAST_BYTES) and a close frame are sent if the peer takes them. */
void ws_close(struct ws_conn *c, uint16_t code, const char *reason, const uint8_t *last, size_t last_len);
/* Lets go and ends the connection at once. */
void ws_kill(struct ws_conn *c);

void *ws_session(struct ws_conn *c); /* of TLS, for tls.h */
bool ws_dialled(const struct ws_conn *c);
const char *ws_address(const struct ws_conn *c); /* "ip:port" of the peer */
unsigned ws_pending_count(const struct ws *w);

#endif
