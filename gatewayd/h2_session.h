/*
 * h2_session: what h2.c and h2_reply.c share of a connection.
 */
#ifndef GATEWAYD_H2_SESSION_H
#define GATEWAYD_H2_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "gatewayd/core/ping_guard.h"
#include "gatewayd/h2.h"

struct h2_stream;
struct nghttp2_session;

struct h2 {
	struct h2_owner owner;
	struct nghttp2_session *session;
	LIST_HEAD(, h2_stream) streams;
	size_t stream_count;
	size_t held;     /* request bytes kept for calls that can't take them */
	size_t owed;     /* bytes of the connection's window that are not given back */
	struct buf *out; /* of the h2_pull() that is running */
	struct ping_guard pings;
	bool ping_pending;
	bool drained; /* the last GOAWAY is submitted */
	bool closing; /* nothing more is read */
	char error[160];
};

#endif
