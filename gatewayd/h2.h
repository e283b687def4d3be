/*
 * h2: one HTTP/2 connection of a gRPC client, on nghttp2 (only gatewayd/h2*.c include it).
 *
 * No socket here: bytes go in with h2_feed() and come out with h2_pull().  Between them the owner is
 * woken (h2_owner.wake) when something is to be sent that no h2_feed() caused.
 */
#ifndef GATEWAYD_H2_H
#define GATEWAYD_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "gatewayd/auth.h"

struct buf;
struct gateway;
struct h2;

struct h2_owner {
	struct gateway *gw;
	const struct principal *who; /* borrowed, lives as long as the h2 */
	const char *peer;            /* address, for logs; borrowed as well */
	void (*wake)(void *arg);
	void *arg;
};

/* NULL: no memory. */
struct h2 *h2_new(const struct h2_owner *owner) MUST_USE;
/* Cancels all calls. */
void h2_free(struct h2 *h);

/* Takes all len bytes.  ERR_FORMAT: the client broke the protocol (h2_error says how); what h2_pull()
 * gives is the last to send.  ERR_NOMEM. */
int h2_feed(struct h2 *h, const uint8_t *data, size_t len) MUST_USE;
/* Appends what is to be sent to out, as far as there is room.  ERR_NOMEM, ERR_FORMAT. */
int h2_pull(struct h2 *h, struct buf *out) MUST_USE;
/* Both sides have nothing more to say: the socket can be closed once everything is sent. */
bool h2_done(const struct h2 *h);
const char *h2_error(const struct h2 *h);

/* Sends a PING; h2_ping_pending() tells until it is answered. */
void h2_ping(struct h2 *h);
bool h2_ping_pending(const struct h2 *h);
/* Begins to drain: GOAWAY, a round trip, GOAWAY with the last stream, done after the last call. */
void h2_drain(struct h2 *h);
size_t h2_stream_count(const struct h2 *h);

#endif
