/*
 * ws: WebSocket connections with mutual TLS (subprotocol mesh.v1, path /mesh/v1), or, from a proxy that
 * ends TLS, without it: then the peer shows a token with the upgrade (transportd/token.h).
 *
 * A connection has one user, who gets opened, then received and writable, and closed once.  With
 * ws_close() and ws_kill() the user lets go: nothing is called any more, and what is left of the
 * connection is ws's business.  A connection is pending until ws_proven(): pending ones are limited in
 * number, and their time runs from the first byte.  When all places are taken, the address (of IPv6: the
 * /64) that has most of them gives up its oldest.
 */
#ifndef TRANSPORTD_WS_H
#define TRANSPORTD_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/frame.h"
#include "common/base/must.h"

struct dial_way;
struct loop;
struct tls;
struct token;
struct ws;
struct ws_conn;

enum { WS_ADDRESS_SIZE = 64, WS_LISTEN_MAX = 16, WS_LAST_BYTES = 384, WS_ENDPOINT_BYTES = 18 };

#define WS_SUBPROTOCOL "mesh.v1"
#define WS_PATH "/mesh/v1"

struct ws_events {
	/* May a peer be let in now?  NULL, or a reason that it is told with HTTP 503. */
	const char *(*admit)(void *ctx);
	/* A peer dialled and was let in; returns the user, NULL to refuse. */
	void *(*accepted)(void *ctx, struct ws_conn *c);
	void (*opened)(void *user);
	/* Bytes came, a whole message or not. */
	void (*heard)(void *user);
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

/* Listens on "host:port", "[v6]:port" or "*:port".  Proxied: plain HTTP, from a proxy that ends TLS; who
 * comes without a token that is right gets 401.  ERR_IO (logged). */
int ws_listen(struct ws *w, const char *address, bool proxied) MUST_USE;
/* Accepts no more; and whether any connection is left. */
void ws_stop_listening(struct ws *w);
bool ws_idle(const struct ws *w);
/* Dials; closed() tells if it fails.  NULL if it can't even begin. */
struct ws_conn *ws_dial(struct ws *w, const struct dial_way *way, void *user) MUST_USE;

/* Alerts of the TLS layer: give this to tls_new() with the ws as its argument once that exists. */
void ws_on_alert(struct ws *w, int fd, bool sent, const char *text);
/* A dialled session starts: give this to tls_on_dial(). */
void ws_on_dial(struct ws *w, int fd);

/* The peer has proven who it is. */
void ws_proven(struct ws_conn *c);
void ws_want_write(struct ws_conn *c);
/* May a message be sent now?  Ask before each, in writable(). */
bool ws_can_send(struct ws_conn *c);
/* Where the next message is put together: FRAME_MESSAGE_MAX_BYTES.  Shared by all connections. */
uint8_t *ws_tx(struct ws *w);
/* Sends the first len bytes of ws_tx() as one message.  ERR_CLOSED: the connection is going. */
int ws_send(struct ws_conn *c, size_t len) MUST_USE;
/* Sends len bytes at payload, in front of which WSFRAME_HEADROOM bytes are free, and which the caller
 * keeps until the peer has acknowledged them or the connection is gone.  True: they were masked in place,
 * with mask.  When the connection is going they are not sent. */
bool ws_send_kept(struct ws_conn *c, uint8_t *payload, size_t len, uint8_t mask[4]) MUST_USE;
/* A sign of life without content: a pong that nobody asked for (RFC 6455 section 5.5.3).  Its bytes; 0: the
 * connection is going. */
size_t ws_send_sign(struct ws_conn *c);
/* Several messages are about to be sent in this turn: the kernel gathers them into large segments, until
 * on is false again (tcp(7), TCP_CORK). */
void ws_gather(struct ws_conn *c, bool on);

/* Lets go; a last message (at most WS_LAST_BYTES) and a close frame are sent if the peer takes them. */
void ws_close(struct ws_conn *c, uint16_t code, const char *reason, const uint8_t *last, size_t last_len);
/* Lets go and ends the connection at once. */
void ws_kill(struct ws_conn *c);

void *ws_session(struct ws_conn *c); /* of TLS, for tls.h; NULL: there is none */
/* Both ends as this side sees them: IPv6 address (or IPv4 mapped into one) and port, big endian. */
void ws_endpoints(struct ws_conn *c, uint8_t local[WS_ENDPOINT_BYTES], uint8_t remote[WS_ENDPOINT_BYTES]);
/* "ip:port", "[v6]:port". */
void ws_format_endpoint(const uint8_t endpoint[WS_ENDPOINT_BYTES], char *out, size_t size);
/* Bytes that came from the socket since the upgrade or before. */
uint64_t ws_received_bytes(const struct ws_conn *c);
/* How long ago the peer's kernel acknowledged something, in ms; -1: not known. */
int64_t ws_kernel_ack_ms(struct ws_conn *c);
const char *ws_address(const struct ws_conn *c); /* "ip:port" of the peer */
unsigned ws_pending_count(const struct ws *w);

/* --- tokens, where TLS ends at a proxy --- */

/* The dialler: this token goes out with the upgrade. */
void ws_set_token(struct ws_conn *c, const char *text, size_t len);
/* What the dialler's token has proven to the listener; NULL: it is mutual TLS, or we dialled. */
const struct token *ws_token(const struct ws_conn *c);
/*
 * BLAKE2b-256 of the token, the same on both ends: what the proofs of the node keys are bound to in place
 * of the TLS exporter, since the two ends have no TLS session in common.  False: no token, so use that.
 */
bool ws_token_hash(const struct ws_conn *c, uint8_t out[32]);

#endif
