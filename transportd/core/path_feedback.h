/*
 * path_feedback: the payload of a PATH_FEEDBACK frame (mesh-wire(7)).
 *
 * The source of a path asks what has arrived on it, the far transportd answers.  See pathwin.h for the
 * one and pathrx.h for the other.  Pure.
 */
#ifndef TRANSPORTD_CORE_PATH_FEEDBACK_H
#define TRANSPORTD_CORE_PATH_FEEDBACK_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum path_feedback_kind {
	PATH_ASK = 1,
	PATH_ANSWER = 2,
	PATH_ASK_AGAIN = 3, /* nothing was answered for a while: perhaps the answers do not get through */
};

enum { PATH_ASK_BYTES = 29, PATH_ANSWER_BYTES = 53 };

struct path_feedback {
	uint8_t kind;
	uint32_t path_id;
	uint64_t sent_frames,
	    sent_bytes;   /* by the source on this path before the ask; repeated in the answer */
	uint64_t time_us; /* of the source's clock; repeated */
	/* Only in answers: since the receiver has known the path. */
	uint64_t received_frames, received_bytes, marked_bytes;
};

int path_feedback_encode(const struct path_feedback *p, struct buf *out) MUST_USE;
/* Total: ERR_SHORT, ERR_LEFTOVER, ERR_FORMAT (kind).  In an ask, what is only in answers is 0. */
int path_feedback_decode(const void *payload, size_t len, struct path_feedback *out) MUST_USE;

#endif
