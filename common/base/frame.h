/*
 * frame: the hop header and the framing of protocol mesh.v1 (mesh-wire(7)).
 *
 * One WebSocket message carries one or more frames.  A frame is the hop header (32 bytes and the
 * node ids still to visit), the end-to-end header (opaque here) and the payload (opaque).  Only the
 * hop header changes from hop to hop.  The codec lives in the lowest tier because three daemons
 * speak it: transportd on its links, consensusd and routerd on their channel to transportd.
 */
#ifndef COMMON_BASE_FRAME_H
#define COMMON_BASE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum {
	FRAME_VERSION = 1,
	FRAME_HDR_BYTES = 32,      /* fixed part of the hop header */
	FRAME_VISIT_MAX = 16,      /* node ids still to visit: the longest path has 17 hops */
	FRAME_E2E_MAX_BYTES = 512, /* end-to-end header */
	FRAME_PAYLOAD_MAX_BYTES = 15360,
	/* 32 + 128 + 512 + 15360 = 16032: a frame always fits one WebSocket message */
	FRAME_MAX_BYTES =
	    FRAME_HDR_BYTES + 8 * FRAME_VISIT_MAX + FRAME_E2E_MAX_BYTES + FRAME_PAYLOAD_MAX_BYTES,
	FRAME_MESSAGE_MAX_BYTES = 16384, /* a WebSocket message of frames; larger ones starve reading */
	FRAME_TTL_DEFAULT = 24,
};

/*
 * Frame types.  1-15 are link-local and never forwarded; 16 and up are forwarded.
 * Numbers are for ever.  RESERVED ones are named in mesh-wire(7) and rejected until they are used.
 */
#define FRAME_TYPE_LIST(X)                                                                                   \
	X(HELLO, 1, "hello")                                                                                 \
	X(AUTH, 2, "auth")                                                                                   \
	X(WINDOW, 3, "window")                                                                               \
	X(HEARTBEAT, 4, "heartbeat")                                                                         \
	X(PROBE, 5, "probe")                                                                                 \
	X(GOAWAY, 6, "goaway")                                                                               \
	X(LANE, 7, "lane")                                                                                   \
	X(TOKEN, 8, "token")                                                                                 \
	X(GOSSIP, 16, "gossip")                                                                              \
	X(LINK_STATE, 17, "link-state")                                                                      \
	X(DATA, 19, "data")                                                                                  \
	X(DATA_ACK, 20, "data-ack")                                                                          \
	X(PATH_FEEDBACK, 21, "path-feedback")                                                                \
	X(STREAM, 22, "stream")                                                                              \
	X(UNREACHABLE, 23, "unreachable")                                                                    \
	X(CONTROL, 24, "control")

enum frame_type {
#define X(name, value, text) FRAME_##name = (value),
	FRAME_TYPE_LIST(X)
#undef X
};

enum { FRAME_FORWARDED_MIN = 16 };

/* Traffic classes, most important first: control, system, database, client data. */
enum frame_class {
	FRAME_CLASS_CONTROL = 0,
	FRAME_CLASS_SYSTEM = 1,
	FRAME_CLASS_DB = 2,
	FRAME_CLASS_CLIENT = 3,
	FRAME_CLASS_COUNT = 4,
};

enum frame_flag {
	FRAME_FLAG_MARKED = 0x01,   /* a relay on the way was over its mark */
	FRAME_FLAG_REPAIRED = 0x02, /* a relay replaced the rest of the path */
	FRAME_FLAG_STRIPE = 0x04,   /* may travel on any bulk lane: the receiver restores the order */
	FRAME_FLAG_KNOWN = 0x07,
};

struct frame {
	uint8_t type;      /* enum frame_type */
	uint8_t class;     /* enum frame_class */
	uint8_t flags;     /* FRAME_FLAG_*; unknown bits are an error */
	uint8_t ttl;       /* hops the frame may still take; dropped at 0 */
	uint8_t hop_count; /* hops taken */
	uint8_t visit_count;
	uint16_t lane_id; /* of the lane it travels on; written by each sender */
	uint32_t path_id; /* the source's name for the path, for feedback */
	/* Which tenant (upper half) and stream (both halves) of the source: hashes, for fair shares only. */
	uint32_t flow;
	uint64_t src; /* node id of the source; of the sender in link-local frames */
	/* Nodes to visit after the receiver; the last one is the destination.  Empty: it is for you. */
	uint64_t visit[FRAME_VISIT_MAX];
	const uint8_t *e2e;     /* borrowed */
	const uint8_t *payload; /* borrowed */
	uint16_t e2e_len;
	uint32_t payload_len;
};

/* Bytes that frame_encode() would write. */
size_t frame_size(const struct frame *f);

/* Appends the frame; ERR_RANGE if a field breaks a limit, else the buffer's errors. */
int frame_encode(const struct frame *f, struct buf *out) MUST_USE;

/*
 * Decodes the next frame of a message and consumes it; e2e and payload point into the buffer.
 * Total: any bytes give 0 or ERR_SHORT, ERR_VERSION, ERR_UNKNOWN (type), ERR_FORMAT, ERR_LIMIT.
 */
int frame_decode(struct buf *in, struct frame *out) MUST_USE;

/* Where the frame goes in the end: last of visit, or 0 when it is for the receiver. */
uint64_t frame_dst(const struct frame *f);

bool frame_is_link_local(uint8_t type);
/* "data"; "?" if unknown.  Static. */
const char *frame_type_name(uint8_t type);
const char *frame_class_name(uint8_t class);

#endif
