/*
 * goaway: why a link ends.  The code travels in a GOAWAY frame and, plus GOAWAY_CLOSE_BASE, as the
 * WebSocket close code (RFC 6455 section 7.4.2: 4000-4999 are private).
 */
#ifndef TRANSPORTD_CORE_GOAWAY_H
#define TRANSPORTD_CORE_GOAWAY_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum { GOAWAY_CLOSE_BASE = 4000, GOAWAY_REASON_SIZE = 256 };

/*        name         code  label (metrics)  what happened, and what the operator can do */
#define GOAWAY_LIST(X)                                                                                       \
	X(SHUTDOWN, 1, "shutdown", "the node is going down")                                                 \
	X(PROTOCOL, 2, "protocol", "malformed or unexpected frame; are both nodes of a compatible version?") \
	X(VERSION, 3, "version", "protocol version not supported; upgrade the older node")                   \
	X(WRONG_MESH, 4, "wrong_mesh", "belongs to another mesh; check mesh id in mesh.conf on both nodes")  \
	X(WRONG_NODE, 5, "wrong_node",                                                                       \
	    "is not the node configured for this address; check node-id of the peer block")                  \
	X(BAD_ID, 6, "bad_id", "node id does not belong to the key shown")                                   \
	X(BAD_CERT, 7, "bad_cert", "certificate does not name the node; issue one with its spiffe URI")      \
	X(BAD_PROOF, 8, "bad_proof",                                                                         \
	    "signature with the node key is wrong; is a proxy ending TLS in between?")                       \
	X(SELF, 9, "self", "is this node itself; remove the address from mesh.conf")                         \
	X(DUPLICATE, 10, "duplicate", "another connection between the two nodes is kept")                    \
	X(LIMIT, 11, "limit", "no room for another link; raise links-max")                                   \
	X(TIMEOUT, 12, "timeout",                                                                            \
	    "did not finish the handshake in time; check handshake-timeout and consensusd")                  \
	X(INTERNAL, 13, "internal", "out of memory, or no signature from consensusd")                        \
	X(DEAD, 14, "dead", "silent for longer than heartbeat-interval times heartbeat-misses")              \
	X(IDENTITY, 15, "identity", "the identity of the node has changed")                                  \
	X(REMOVED, 16, "removed", "removed from the configuration, or dropped by an operator")               \
	X(EXPIRED, 17, "expired",                                                                            \
	    "certificate or token has ended and no new one was shown; renew it and send SIGHUP")             \
	X(DENIED, 18, "denied", "the node is not let in: revoked, evicted, or listed under deny")            \
	X(FLOW, 19, "flow", "sent more than was granted, or granted what can't be")                          \
	X(LANE, 20, "lane", "a lane that this link does not have")                                           \
	X(TOKEN, 21, "token", "token missing or not valid; check clocks, tls-ca and the certificate's name") \
	X(IDLE, 22, "idle", "the lane is no longer needed")

enum goaway_code {
	GOAWAY_NONE = 0,
#define X(name, value, label, text) GOAWAY_##name = (value),
	GOAWAY_LIST(X)
#undef X
	    GOAWAY_CODE_COUNT = 23,
};

/* "wrong_mesh"; "other" for codes of newer peers.  Static. */
const char *goaway_label(uint16_t code);
const char *goaway_text(uint16_t code);

/* Payload {code u16, reason str8}; the buffer's errors. */
int goaway_encode(uint16_t code, const char *reason, struct buf *out) MUST_USE;
/* Any code is taken; ERR_SHORT, ERR_LEFTOVER, ERR_FORMAT. */
int goaway_decode(const void *payload, size_t len, uint16_t *code, char reason[GOAWAY_REASON_SIZE]) MUST_USE;

#endif
