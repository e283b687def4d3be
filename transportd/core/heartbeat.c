#include "transportd/core/heartbeat.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

#define RTT_MAX_US INT64_C(0x7fffffff)

void
heartbeat_init(struct heartbeat *h, struct mono now, int64_t interval_us, uint32_t misses)
{
	memset(h, 0, sizeof(*h));
	h->interval_us = interval_us;
	h->misses = misses;
	h->heard = now;
	h->next_ping = now;
	h->half_until = mono_add_ms(now, HEARTBEAT_RTT_WINDOW_MS / 2);
}

void
heartbeat_retune(struct heartbeat *h, struct mono now, int64_t interval_us, uint32_t misses)
{
	h->interval_us = interval_us;
	h->misses = misses;
	h->next_ping = now;
	h->heard = now;
}

void
heartbeat_heard(struct heartbeat *h, struct mono now)
{
	h->heard = now;
}

static struct mono
death(const struct heartbeat *h)
{
	return mono_add_us(h->heard, h->interval_us * h->misses);
}

static void
count_sample(struct heartbeat *h, bool lost)
{
	h->lost_bits = h->lost_bits << 1 | lost;
	if (h->lost_samples < HEARTBEAT_LOSS_WINDOW)
		h->lost_samples++;
}

enum heartbeat_effect
heartbeat_step(struct heartbeat *h, struct mono now, struct beat *ping)
{
	if (!mono_before(now, death(h)))
		return HEARTBEAT_DEAD;
	if (mono_before(now, h->next_ping))
		return HEARTBEAT_NOTHING;
	if (h->awaiting)
		count_sample(h, true);
	h->awaiting = true;
	h->seq++;
	h->sent = now;
	h->next_ping = mono_add_us(now, h->interval_us);
	*ping = (struct beat){.kind = HEARTBEAT_PING, .seq = h->seq, .time_us = (uint64_t)now.us};
	return HEARTBEAT_SEND_PING;
}

struct mono
heartbeat_next(const struct heartbeat *h)
{
	return mono_min(h->next_ping, death(h));
}

/* The minimum over the last one to two half windows, so that a path that got longer shows. */
static void
note_min(struct heartbeat *h, uint32_t rtt_us, struct mono now)
{
	if (!mono_before(now, h->half_until)) {
		h->half_min_us[1] = h->half_min_us[0];
		h->half_min_us[0] = 0;
		h->half_until = mono_add_ms(now, HEARTBEAT_RTT_WINDOW_MS / 2);
	}
	if (h->half_min_us[0] == 0 || rtt_us < h->half_min_us[0])
		h->half_min_us[0] = rtt_us;
}

bool
heartbeat_pong(struct heartbeat *h, const struct beat *pong, struct mono now)
{
	int64_t rtt_us = mono_diff_us(now, h->sent);

	/* Only the last ping counts: an older one was counted as lost.  The time is ours, kept here: what
	 * the neighbour repeats could be invented. */
	if (!h->awaiting || pong->seq != h->seq || pong->time_us != (uint64_t)h->sent.us || rtt_us < 0)
		return false;
	if (rtt_us > RTT_MAX_US)
		rtt_us = RTT_MAX_US;
	h->awaiting = false;
	count_sample(h, false);
	if (rtt_us == 0)
		rtt_us = 1;
	/* The smoothing of RFC 6298 section 2: an eighth of the difference. */
	if (h->rtt_us == 0)
		h->rtt_us = (uint32_t)rtt_us;
	else
		h->rtt_us = (uint32_t)(((int64_t)h->rtt_us * 7 + rtt_us) / 8);
	note_min(h, (uint32_t)rtt_us, now);
	return true;
}

uint32_t
heartbeat_rtt_min_us(const struct heartbeat *h)
{
	uint32_t a = h->half_min_us[0], b = h->half_min_us[1];

	if (a == 0 || b == 0)
		return a + b;
	return a < b ? a : b;
}

uint32_t
heartbeat_loss_ppm(const struct heartbeat *h)
{
	uint64_t bits = h->lost_bits;

	if (h->lost_samples == 0)
		return 0;
	if (h->lost_samples < HEARTBEAT_LOSS_WINDOW)
		bits &= (1ULL << h->lost_samples) - 1;
	return (uint32_t)((uint64_t)__builtin_popcountll(bits) * 1000000 / h->lost_samples);
}

int
beat_encode(const struct beat *b, struct buf *out)
{
	int err;

	if ((err = buf_put_u8(out, b->kind)) != 0 || (err = buf_put_u32(out, b->seq)) != 0)
		return err;
	return buf_put_u64(out, b->time_us);
}

int
beat_decode(const void *payload, size_t len, struct beat *out)
{
	struct buf in;
	int err;

	buf_view(&in, payload, len);
	if ((err = buf_get_u8(&in, &out->kind)) != 0 || (err = buf_get_u32(&in, &out->seq)) != 0 ||
	    (err = buf_get_u64(&in, &out->time_us)) != 0 || (err = buf_end(&in)) != 0)
		return err;
	return out->kind == HEARTBEAT_PING || out->kind == HEARTBEAT_PONG ? 0 : ERR_FORMAT;
}
