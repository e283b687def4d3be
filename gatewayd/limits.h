/*
 * limits: what gatewayd holds at most, why, and what happens then.
 */
#ifndef GATEWAYD_LIMITS_H
#define GATEWAYD_LIMITS_H

enum {
	/* Calls to the siblings at once, over all clients: RESOURCE_EXHAUSTED above. */
	REQUESTS_MAX = 65535,

	/* Bytes of requests and answers in memory, over all clients: the call that wants more ends
	 * with RESOURCE_EXHAUSTED. */
	MEMORY_MAX_BYTES = 512 * 1024 * 1024,

	/* Answers of one call that its client has not taken: RESOURCE_EXHAUSTED above.  Room for what a
	 * subscription's window (core/credit.h) lets through when messages suddenly become large. */
	CALL_QUEUE_MAX_BYTES = 32 * 1024 * 1024,
	/* Above the high mark no more of a subscription's window is passed on, until the low one. */
	CALL_QUEUE_HIGH_BYTES = 4 * 1024 * 1024,
	CALL_QUEUE_LOW_BYTES = 1024 * 1024,
	/* Events that a WatchMeshEvents call may lag behind, in bytes: RESOURCE_EXHAUSTED above. */
	WATCH_QUEUE_MAX_BYTES = 1024 * 1024,
	/* Request messages of a meshctl call that came before HOLD was seen: RESOURCE_EXHAUSTED above. */
	CONTROL_HELD_MAX_BYTES = 16 * 1024 * 1024,
	/* Calls of one meshctl: RESOURCE_EXHAUSTED above. */
	CONTROL_CALLS_MAX = 64,

	/* HTTP/2 flow control windows: a stream's is what a client can have on the way to a call that is
	 * held, a connection's what it can have on the way in all. */
	H2_STREAM_WINDOW_BYTES = 1024 * 1024,
	H2_CONNECTION_WINDOW_BYTES = 4 * 1024 * 1024,
	/* Held request bytes of one connection: above, its window is not given back, so the client stops. */
	H2_HELD_MAX_BYTES = 16 * 1024 * 1024,
	/* Metadata of one call, names and values and 32 bytes each (RFC 9113 6.5.2): RESOURCE_EXHAUSTED. */
	H2_HEADERS_MAX_BYTES = 16 * 1024,
	/* SETTINGS entries in one frame, CONTINUATION frames, acks that wait: the connection ends. */
	H2_SETTINGS_MAX = 32,
	H2_CONTINUATIONS_MAX = 8,
	H2_ACKS_MAX = 1000,
	/* Streams reset by the client: a burst, then so many a second, else GOAWAY (CVE-2023-44487). */
	H2_RESETS_BURST = 1000,
	H2_RESETS_PER_SECOND = 100,

	/* TLS handshake and first bytes: a connection that takes longer is closed. */
	HANDSHAKE_TIMEOUT_MS = 10 * 1000,
	/* Without an answer to a keepalive ping the connection is closed. */
	PING_TIMEOUT_MS = 20 * 1000,
	/* After our last byte: time for the client to close, so that it can read why. */
	LINGER_MS = 1000,
	/* Bytes read from one connection in a turn of the loop; then the others have theirs. */
	CONN_TURN_BYTES = 256 * 1024,
	/* Connections accepted from one listener in a turn of the loop. */
	ACCEPT_TURN_COUNT = 64,

	/* Items of one sibling's list (nodes, links, routes, streams), in bytes: RESOURCE_EXHAUSTED. */
	LIST_MAX_BYTES = 64 * 1024 * 1024,
	/* Time that a sibling has for its part of a merged answer: it then counts as down. */
	SIBLING_TIMEOUT_MS = 5000,

	/* Certificates, keys and token files. */
	SECRET_FILE_MAX_BYTES = 1024 * 1024,
	LISTEN_MAX = 16,
};

#endif
