/*
 * e2e: the end-to-end header of forwarded frames (proto/e2e.proto) and whole frames around it.
 */
#ifndef CONSENSUSD_E2E_H
#define CONSENSUSD_E2E_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "proto/e2e.pb.h"

struct batch;
struct buf;
struct frame;
struct ulid;

/* Appends one frame (type FRAME_DATA, FRAME_DATA_ACK or FRAME_STREAM by h->msg_type) from
 * h->source to h->destination: class client for data, control for all others. */
int e2e_put_frame(struct buf *out, const mesh_e2e_Header *h, const void *payload, size_t len) MUST_USE;

/* What all frames of a stream say in frame.flow, in both directions: 16 bits of a hash of its tenant, 16
 * of one of its id.  For fair shares of links only: it tells nobody apart for certain. */
uint32_t e2e_flow(const char *tenant, const struct ulid *stream_id);

/* What the fragments of a batch have in common. */
struct e2e_way {
	const char *tenant; /* borrowed */
	uint64_t source, destination;
	uint64_t ack;           /* up to here the source knows which messages failed at the destination */
	uint32_t flow;          /* e2e_flow() */
	uint8_t class;          /* of its frames, FRAME_CLASS_*; 0: client data */
	bool stripe;            /* on all bulk lanes: FRAME_FLAG_STRIPE */
	const uint8_t *key_box; /* of the batch's key, borrowed: in the first fragment */
	size_t key_box_len;     /* 0: none */
};

/* Fragments of a batch body, and fragment index of it as a frame.  Each has a CRC32C of its own; the
 * signature travels in fragment 0. */
uint32_t e2e_fragment_count(const struct batch *b);
int e2e_put_fragment(
    struct buf *out, const struct batch *b, const struct e2e_way *way, uint32_t index) MUST_USE;

/* Decodes and checks the header of a received frame: type matches msg_type, ids have their length,
 * crc32c fits the payload, source equals the frame's src.  ERR_FORMAT, ERR_CHECKSUM, ERR_UNKNOWN. */
int e2e_get(const struct frame *f, mesh_e2e_Header *out) MUST_USE;

#endif
