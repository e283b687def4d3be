/*
 * credit: how much may be sent on a lane before the receiver has made room.
 *
 * Frames that are not link-local are counted, in bytes and in number, from the lane's first one on.  The
 * receiver acknowledges what it has taken and grants up to where more may come, as absolute counts
 * (like QUIC's MAX_DATA, RFC 9000 section 4.1): a WINDOW frame that is late or repeated does no harm.  The
 * first grant travels in HELLO.  Pure.
 */
#ifndef TRANSPORTD_CORE_CREDIT_H
#define TRANSPORTD_CORE_CREDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"

struct buf;

enum { WINDOW_PAYLOAD_BYTES = 32 };

/* Payload of a WINDOW frame: four u64. */
struct window {
	uint64_t acked_frames, acked_bytes; /* taken so far */
	uint64_t limit_frames, limit_bytes; /* the sender's counts may reach these */
};

int window_encode(const struct window *w, struct buf *out) MUST_USE;
/* ERR_SHORT, ERR_LEFTOVER. */
int window_decode(const void *payload, size_t len, struct window *out) MUST_USE;

/* --- the sender --- */

struct credit_tx {
	uint64_t sent_frames, sent_bytes;
	uint64_t acked_frames, acked_bytes;
	uint64_t limit_frames, limit_bytes;
};

/* window: the first grant. */
void credit_tx_init(struct credit_tx *c, uint64_t window_bytes, uint64_t window_frames);
/* Bytes that may be sent now; 0 when the frames are used up.  One message of so many bytes may be sent
 * whatever number of frames it has: the receiver lets the frames go over by one message's. */
size_t credit_tx_room(const struct credit_tx *c);
uint64_t credit_tx_unacked(const struct credit_tx *c); /* bytes */
void credit_tx_sent(struct credit_tx *c, size_t bytes, unsigned frames);
/*
 * A WINDOW arrived: *acked are the bytes that it acknowledges for the first time.  Older counts than those
 * known change nothing.  ERR_RANGE: acknowledges what was not sent, limits more than
 * LANE_WINDOW_MAX_BYTES beyond the acknowledged, or frames and bytes that contradict each other.
 */
int credit_tx_window(struct credit_tx *c, const struct window *w, size_t *acked) MUST_USE;

/* --- the receiver --- */

struct credit_rx {
	uint64_t window_bytes, window_frames;     /* what is granted at most */
	uint64_t received_frames, received_bytes; /* what came */
	uint64_t limit_frames, limit_bytes;       /* what was granted; never goes back */
	uint64_t told_frames, told_bytes;         /* received counts in the last WINDOW */
	struct mono due;                          /* when an acknowledgement is to leave */
};

enum {
	CREDIT_ACK_DELAY_MS = 5,       /* an acknowledgement waits for more to acknowledge */
	CREDIT_ACK_BYTES = 128 * 1024, /* but not longer than for these */
};

void credit_rx_init(struct credit_rx *c, uint64_t window_bytes, uint64_t window_frames);
void credit_rx_retune(struct credit_rx *c, uint64_t window_bytes, uint64_t window_frames);
/* A counted frame arrived.  ERR_LIMIT: the peer has sent more than it was granted (in frames: by more than
 * those of one message). */
int credit_rx_received(struct credit_rx *c, size_t bytes, struct mono now) MUST_USE;
/* Should a WINDOW leave now?  An acknowledgement is due, or a quarter of the window can be granted anew. */
bool credit_rx_due(const struct credit_rx *c, struct mono now);
/* When credit_rx_due() becomes true by time alone; MONO_NEVER: nothing to tell. */
struct mono credit_rx_next(const struct credit_rx *c);
/* Makes the WINDOW: acknowledges all, and grants what fits free_bytes (of the window at most).  A window
 * that was closed for want of room is opened by another one, when the owner sees room again. */
void credit_rx_grant(struct credit_rx *c, uint64_t free_bytes, struct window *out);
/* The limit stands below what the window allows: the owner owes a grant when it has room. */
bool credit_rx_short(const struct credit_rx *c);

#endif
