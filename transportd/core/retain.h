/*
 * retain: the messages sent on a lane that its peer has not acknowledged.
 *
 * A message is put together where it is kept: what the socket is given and what would be sent again
 * on another lane are the same bytes.  Frames are counted from the lane's first one on; the peer
 * acknowledges counts.  A message that a dialler has masked (RFC 6455 section 5.3) is kept masked
 * with its key.
 */
#ifndef TRANSPORTD_CORE_RETAIN_H
#define TRANSPORTD_CORE_RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct retain_block;

struct retain {
	struct retain_block *head, *tail, *spare;
	uint64_t sent_frames, acked_frames;
	size_t bytes;  /* of messages with counted frames */
	size_t memory; /* allocated */
};

void retain_init(struct retain *r);
void retain_fini(struct retain *r);

/* Where the next message is put together: room for FRAME_MESSAGE_MAX_BYTES, and WSFRAME_HEADROOM bytes
 * in front of it for the WebSocket header.  The same place until retain_commit().  NULL: no memory. */
uint8_t *retain_reserve(struct retain *r) MUST_USE;
/* The message there has len bytes and holds frames of which `frames` are counted (heartbeats and the
 * like are not).  mask: what it was masked with, NULL if it was not.  It stays where it is until it is
 * acknowledged; one without counted frames until the next retain_reserve(). */
void retain_commit(struct retain *r, size_t len, unsigned frames, const uint8_t *mask);
/* The peer has received that many counted frames.  Messages whose frames are all among them are
 * forgotten.  ERR_RANGE: more than were sent, or fewer than before. */
int retain_ack(struct retain *r, uint64_t frames) MUST_USE;

/* Calls fn for each counted frame behind the first `frames` ones, in order; raw are its bytes.  Stops and
 * returns what fn returns if that is not 0.  The messages are unmasked by this: only good before
 * retain_fini().  Link-local frames are not counted and not shown.  ERR_RANGE: not as many were sent, or
 * more are acknowledged; the errors of frame_decode(), ERR_FORMAT: a message is not what was committed. */
int retain_each(struct retain *r, uint64_t frames,
    int (*fn)(void *arg, uint8_t class, const uint8_t *raw, size_t size), void *arg) MUST_USE;

#endif
