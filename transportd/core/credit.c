#include "transportd/core/credit.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/num.h"
#include "transportd/core/limits.h"

/* Frames of the smallest size in one message. */
enum { MESSAGE_FRAMES_MAX = FRAME_MESSAGE_MAX_BYTES / FRAME_HDR_BYTES };

int
window_encode(const struct window *w, struct buf *out)
{
	int err;

	if ((err = buf_put_u64(out, w->acked_frames)) != 0 || (err = buf_put_u64(out, w->acked_bytes)) != 0 ||
	    (err = buf_put_u64(out, w->limit_frames)) != 0)
		return err;
	return buf_put_u64(out, w->limit_bytes);
}

int
window_decode(const void *payload, size_t len, struct window *out)
{
	struct buf in;
	int err;

	buf_view(&in, payload, len);
	if ((err = buf_get_u64(&in, &out->acked_frames)) != 0 ||
	    (err = buf_get_u64(&in, &out->acked_bytes)) != 0 ||
	    (err = buf_get_u64(&in, &out->limit_frames)) != 0 ||
	    (err = buf_get_u64(&in, &out->limit_bytes)) != 0)
		return err;
	return buf_end(&in);
}

/* --- the sender --- */

void
credit_tx_init(struct credit_tx *c, uint64_t window_bytes, uint64_t window_frames)
{
	memset(c, 0, sizeof(*c));
	c->limit_bytes = window_bytes;
	c->limit_frames = window_frames;
}

size_t
credit_tx_room(const struct credit_tx *c)
{
	if (c->sent_frames >= c->limit_frames || c->sent_bytes >= c->limit_bytes)
		return 0;
	return (size_t)min_u64(c->limit_bytes - c->sent_bytes, SIZE_MAX / 2);
}

uint64_t
credit_tx_unacked(const struct credit_tx *c)
{
	return c->sent_bytes - c->acked_bytes;
}

void
credit_tx_sent(struct credit_tx *c, size_t bytes, unsigned frames)
{
	c->sent_bytes += bytes;
	c->sent_frames += frames;
}

/* Can so many frames have so many bytes?  None has none, and each has its header. */
static bool
counts_agree(uint64_t frames, uint64_t bytes)
{
	return frames == 0 ? bytes == 0 : bytes / FRAME_HDR_BYTES >= frames;
}

/* What is acknowledged must be an amount of frames, and so must be what stays unacknowledged.  Both
 * sides count without wrapping: what is sent, and so what may be acknowledged, has long not 64 bits. */
static bool
acks_possible(const struct credit_tx *c, const struct window *w)
{
	if (w->acked_frames > c->sent_frames || w->acked_bytes > c->sent_bytes)
		return false;
	if (w->acked_frames < c->acked_frames)
		return w->acked_bytes < c->acked_bytes;
	if (w->acked_bytes < c->acked_bytes)
		return false;
	return counts_agree(w->acked_frames - c->acked_frames, w->acked_bytes - c->acked_bytes) &&
	       counts_agree(c->sent_frames - w->acked_frames, c->sent_bytes - w->acked_bytes);
}

/* The frames' limit has no directive that bounds it; HELLO grants at most 32 bits of them. */
static bool
limits_possible(const struct window *w)
{
	if (w->limit_bytes > w->acked_bytes && w->limit_bytes - w->acked_bytes > LANE_WINDOW_MAX_BYTES)
		return false;
	return w->limit_frames <= w->acked_frames || w->limit_frames - w->acked_frames <= UINT32_MAX;
}

int
credit_tx_window(struct credit_tx *c, const struct window *w, size_t *acked)
{
	*acked = 0;
	if (!acks_possible(c, w) || !limits_possible(w))
		return ERR_RANGE;
	if (w->acked_bytes > c->acked_bytes) {
		*acked = (size_t)(w->acked_bytes - c->acked_bytes);
		c->acked_bytes = w->acked_bytes;
		c->acked_frames = w->acked_frames;
	}
	c->limit_bytes = max_u64(c->limit_bytes, w->limit_bytes);
	c->limit_frames = max_u64(c->limit_frames, w->limit_frames);
	return 0;
}

/* --- the receiver --- */

void
credit_rx_init(struct credit_rx *c, uint64_t window_bytes, uint64_t window_frames)
{
	memset(c, 0, sizeof(*c));
	credit_rx_retune(c, window_bytes, window_frames);
	c->limit_bytes = c->window_bytes;
	c->limit_frames = c->window_frames;
	c->due = MONO_NEVER;
}

void
credit_rx_retune(struct credit_rx *c, uint64_t window_bytes, uint64_t window_frames)
{
	/* A sender refuses what is beyond these (limits_possible above). */
	c->window_bytes = min_u64(window_bytes, LANE_WINDOW_MAX_BYTES);
	c->window_frames = min_u64(window_frames, UINT32_MAX);
}

int
credit_rx_received(struct credit_rx *c, size_t bytes, struct mono now)
{
	/* The sender fills a message by bytes as long as one more frame may be sent, so frames may be
	 * more than granted by a message of them.  What they cost is in the bytes, and these are exact. */
	if (bytes > c->limit_bytes - c->received_bytes ||
	    c->received_frames >= c->limit_frames + MESSAGE_FRAMES_MAX)
		return ERR_LIMIT;
	if (c->received_frames == c->told_frames)
		c->due = mono_add_ms(now, CREDIT_ACK_DELAY_MS);
	c->received_bytes += bytes;
	c->received_frames++;
	return 0;
}

bool
credit_rx_due(const struct credit_rx *c, struct mono now)
{
	uint64_t bytes = c->received_bytes - c->told_bytes, frames = c->received_frames - c->told_frames;

	if (frames == 0)
		return false;
	return bytes >= min_u64(CREDIT_ACK_BYTES, c->window_bytes / 4) || frames >= c->window_frames / 4 ||
	       !mono_before(now, c->due);
}

struct mono
credit_rx_next(const struct credit_rx *c)
{
	return c->received_frames != c->told_frames ? c->due : MONO_NEVER;
}

void
credit_rx_grant(struct credit_rx *c, uint64_t free_bytes, struct window *out)
{
	uint64_t bytes = min_u64(c->window_bytes, free_bytes), frames = bytes != 0 ? c->window_frames : 0;

	c->limit_bytes = max_u64(c->limit_bytes, c->received_bytes + bytes);
	c->limit_frames = max_u64(c->limit_frames, c->received_frames + frames);
	c->told_bytes = c->received_bytes;
	c->told_frames = c->received_frames;
	c->due = MONO_NEVER;
	*out = (struct window){
	    .acked_frames = c->told_frames,
	    .acked_bytes = c->told_bytes,
	    .limit_frames = c->limit_frames,
	    .limit_bytes = c->limit_bytes,
	};
}

bool
credit_rx_short(const struct credit_rx *c)
{
	/* From what was told on, not from what was received since: that is for credit_rx_due(). */
	return c->limit_bytes < c->told_bytes + c->window_bytes ||
	       c->limit_frames < c->told_frames + c->window_frames;
}
