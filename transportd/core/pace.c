#include "transportd/core/pace.h"

#include <string.h>

#include "common/base/err.h"

#define US_PER_S UINT64_C(1000000)
/* Bounds that keep the products below within 64 bits. */
#define RATE_MAX UINT64_C(1000000000000) /* bytes per second */
#define BYTES_MAX (UINT64_C(1) << 40)
#define RTT_MAX_US UINT32_C(10000000)

enum {
	START_GAIN = 2,
	START_ROUNDS = 3, /* without growth: the lane is full */
	SHARE_ONE = 1024,
	SHARE_STEP = 32,
	RTT_SAME_MAX_US = 5000, /* above the minimum, and an eighth of it: still the same path, not a queue */
};

void
pace_init(struct pace *p, struct mono now)
{
	memset(p, 0, sizeof(*p));
	p->share = SHARE_ONE;
	p->first_sent = p->delivered_at = now;
	p->round_min_end = mono_add_ms(now, PACE_ROUND_MS);
	p->rtt_min_at = p->renewed_at = now;
	p->period_begin = now;
	p->period_end = mono_add_ms(now, PACE_UTIL_MS);
}

void
pace_join(struct pace *p, const struct pace *other)
{
	if (!other->started || other->rtt_min_us == 0)
		return;
	p->rtt_min_us = other->rtt_min_us;
	p->rates[p->round] = p->rate = p->renewed_rate = other->rate / 2; /* its share of two */
	p->started = p->filled = true;
}

static uint64_t
per_second(uint64_t bytes, int64_t us)
{
	uint64_t rate = (bytes < BYTES_MAX ? bytes : BYTES_MAX) * US_PER_S / (uint64_t)(us > 0 ? us : 1);

	return rate < RATE_MAX ? rate : RATE_MAX;
}

/* --- rates of the last period --- */

static void
roll(struct pace *p, struct mono now)
{
	int64_t us;

	if (mono_before(now, p->period_end))
		return;
	us = mono_diff_us(now, p->period_begin);
	p->tx_rate = per_second(p->tx_now, us);
	p->rx_rate = per_second(p->rx_now, us);
	p->tx_now = p->rx_now = 0;
	p->period_begin = now;
	p->period_end = mono_add_ms(now, PACE_UTIL_MS);
}

/* --- what is sent --- */

static struct pace_sample *
newest(struct pace *p)
{
	return &p->samples[(p->sample_head + p->sample_count - 1) % PACE_SAMPLES];
}

/* Whether this moment is worth a sample: so many that all in flight fits the ring, also on long paths. */
static bool
sample_due(struct pace *p, struct mono now)
{
	uint64_t bytes = (p->sent_bytes - p->acked_bytes) / (PACE_SAMPLES / 2);
	uint32_t us = p->rtt_min_us / (PACE_SAMPLES / 2);

	if (p->sample_count == 0)
		return true;
	if (p->sample_count == PACE_SAMPLES)
		return false;
	if (bytes < PACE_SAMPLE_BYTES)
		bytes = PACE_SAMPLE_BYTES;
	if (us < PACE_SAMPLE_US)
		us = PACE_SAMPLE_US;
	return p->sent_bytes - newest(p)->sent_bytes >= bytes || mono_diff_us(now, newest(p)->sent) >= us;
}

void
pace_sent(struct pace *p, size_t bytes, bool app_limited, struct mono now)
{
	roll(p, now);
	p->tx_now += bytes;
	if (p->sent_bytes == p->acked_bytes) /* after idleness the measurement begins here */
		p->first_sent = p->delivered_at = now;
	p->sent_bytes += bytes;
	/* What is sent until the pipe is full again tells nothing about its size. */
	if (app_limited || p->draining)
		p->limited_until = p->sent_bytes;
	if (!sample_due(p, now))
		return;
	p->sample_count++;
	*newest(p) = (struct pace_sample){.sent = now,
	    .first_sent = p->first_sent,
	    .delivered_at = p->delivered_at,
	    .sent_bytes = p->sent_bytes,
	    .delivered = p->acked_bytes,
	    .app_limited = p->acked_bytes < p->limited_until};
}

/* --- what is acknowledged --- */

static void
find_max(struct pace *p)
{
	p->rate = 0;
	for (unsigned i = 0; i < PACE_ROUNDS; i++)
		if (p->rates[i] > p->rate)
			p->rate = p->rates[i];
}

/* The start is over when the rate did not grow by a quarter for some rounds (BBR's "full pipe"). */
static void
check_started(struct pace *p)
{
	if (p->rate >= p->full_rate + p->full_rate / 4) {
		p->full_rate = p->rate;
		p->full_rounds = 0;
	} else if (++p->full_rounds == START_ROUNDS) {
		p->started = true;
	}
}

static void
next_round(struct pace *p, struct mono now)
{
	p->round_end = p->sent_bytes;
	p->round_min_end = mono_add_ms(now, PACE_ROUND_MS);
	if (!p->started)
		check_started(p);
	p->round = (p->round + 1) % PACE_ROUNDS;
	p->rates[p->round] = 0;
	find_max(p);
}

static void
note_rate(struct pace *p, uint64_t rate, bool app_limited, struct mono now)
{
	if (app_limited && rate <= p->rate)
		return;
	/* Rounds pass only with samples that count, so that an idle lane does not forget. */
	if (p->acked_bytes >= p->round_end && !mono_before(now, p->round_min_end))
		next_round(p, now);
	if (rate > p->rates[p->round])
		p->rates[p->round] = rate;
	if (rate > p->rate)
		p->rate = rate;
	p->filled = p->filled || !app_limited;
	if (!app_limited && p->started)
		p->probed_rate = 0;
}

/* The rate that the sample tells, now that its bytes are acknowledged: over the longer of the times it
 * took to send and to acknowledge them, so that acknowledgements that come in a lump tell no wonders. */
static void
take_sample(struct pace *p, const struct pace_sample *s, struct mono now)
{
	int64_t ack_us = mono_diff_us(now, s->delivered_at);
	int64_t send_us = mono_diff_us(s->sent, s->first_sent);

	p->first_sent = s->sent;
	note_rate(p, per_second(p->acked_bytes - s->delivered, ack_us > send_us ? ack_us : send_us),
	    s->app_limited, now);
}

void
pace_acked(struct pace *p, size_t bytes, struct mono now)
{
	struct pace_sample last;
	bool any = false;

	if (bytes > p->sent_bytes - p->acked_bytes) /* more than there is: the peer's invention */
		bytes = (size_t)(p->sent_bytes - p->acked_bytes);
	p->acked_bytes += bytes;
	p->delivered_at = now;
	while (p->sample_count != 0 && p->samples[p->sample_head].sent_bytes <= p->acked_bytes) {
		last = p->samples[p->sample_head];
		any = true;
		p->sample_head = (p->sample_head + 1) % PACE_SAMPLES;
		p->sample_count--;
	}
	if (any)
		take_sample(p, &last, now);
}

void
pace_received(struct pace *p, size_t bytes, struct mono now)
{
	roll(p, now);
	p->rx_now += bytes;
}

/* --- the way back --- */

void
pace_back(struct pace *p, uint64_t peer_us, struct mono now)
{
	int64_t diff = (int64_t)((uint64_t)now.us - peer_us), least, over;

	if (!p->back_known || !mono_before(now, p->back_until)) {
		p->back_min_us[1] = p->back_known ? p->back_min_us[0] : diff;
		p->back_min_us[0] = diff;
		p->back_until = mono_add_ms(now, PACE_BACK_WINDOW_MS);
		p->back_known = true;
	}
	if (diff < p->back_min_us[0])
		p->back_min_us[0] = diff;
	least = p->back_min_us[0] < p->back_min_us[1] ? p->back_min_us[0] : p->back_min_us[1];
	/* Whatever a peer invents is within bounds. */
	if (__builtin_sub_overflow(diff, least, &over) || over > PACE_BACK_MAX_US)
		over = PACE_BACK_MAX_US;
	p->back_us = (uint32_t)((p->back_us * (uint64_t)3 + (uint64_t)over) / 4);
}

/* --- the least round trip --- */

static void
renewed(struct pace *p, uint32_t rtt_us, struct mono now)
{
	if (rtt_us != 0)
		p->rtt_min_us = rtt_us;
	p->rtt_min_at = p->renewed_at = now;
	p->renewed_rate = p->rate;
	p->draining = false;
}

static bool
renewal_due(const struct pace *p, struct mono now)
{
	if (mono_diff_us(now, p->rtt_min_at) >= (int64_t)PACE_MIN_RTT_MS * 1000)
		return true;
	return p->rate < p->renewed_rate / 2 &&
	       mono_diff_us(now, p->renewed_at) >= (int64_t)PACE_RENEW_MS * 1000;
}

static void
drain(struct pace *p, uint32_t rtt_us, struct mono now)
{
	int64_t us = (int64_t)rtt_us * 2;

	if (us < (int64_t)PACE_DRAIN_MS * 1000)
		us = (int64_t)PACE_DRAIN_MS * 1000;
	if (us > (int64_t)PACE_DRAIN_MAX_MS * 1000)
		us = (int64_t)PACE_DRAIN_MAX_MS * 1000;
	p->drain_until = mono_add_us(now, us);
	p->drained_us = 0;
	p->draining = true;
}

static bool
same(const struct pace *p, uint32_t rtt_us)
{
	uint32_t more = p->rtt_min_us / 8;

	return rtt_us <= p->rtt_min_us + (more < RTT_SAME_MAX_US ? more : RTT_SAME_MAX_US);
}

/* The queue that is put up with: on long paths what their jitter and their acknowledgements need. */
static uint32_t
queue_us(const struct pace *p)
{
	uint32_t us = p->rtt_min_us / 16;

	return us > PACE_QUEUE_MS * 1000 ? us : PACE_QUEUE_MS * 1000;
}

/* The rate is a maximum of samples of which some are too high: the queue itself tells by how much. */
static void
note_queue(struct pace *p, uint32_t is_us)
{
	if (is_us > queue_us(p))
		p->share -= p->share / 8;
	else if (is_us < queue_us(p) / 2)
		p->share += SHARE_STEP;
	if (p->share < PACE_SHARE_MIN)
		p->share = PACE_SHARE_MIN;
	if (p->share > SHARE_ONE)
		p->share = SHARE_ONE;
}

void
pace_rtt(struct pace *p, uint32_t rtt_us, struct mono now)
{
	if (rtt_us > RTT_MAX_US)
		rtt_us = RTT_MAX_US;
	/* Without the queue on the way back, which is the peer's. */
	rtt_us = rtt_us > p->back_us ? rtt_us - p->back_us : 1;
	if (p->draining && mono_before(now, p->drain_until)) {
		if (p->drained_us == 0 || rtt_us < p->drained_us)
			p->drained_us = rtt_us;
		return;
	}
	if (p->draining)
		renewed(p, p->drained_us, now);
	if (p->rtt_min_us == 0 || rtt_us < p->rtt_min_us)
		p->rtt_min_us = rtt_us;
	if (same(p, rtt_us))
		p->rtt_min_at = now;
	note_queue(p, rtt_us - p->rtt_min_us);
	if (rtt_us > p->rtt_min_us + queue_us(p)) /* a queue: there is no more to be had */
		p->started = true;
	if (p->rate > p->renewed_rate)
		p->renewed_rate = p->rate;
	if (!renewal_due(p, now))
		return;
	if (p->sent_bytes == p->acked_bytes) /* nothing of ours is in the way */
		renewed(p, rtt_us, now);
	else
		drain(p, rtt_us, now);
}

void
pace_drain_with(struct pace *p, const struct pace *other, struct mono now)
{
	if (!other->draining || p->draining || !mono_before(now, other->drain_until))
		return;
	p->drain_until = other->drain_until;
	p->drained_us = 0;
	p->draining = true;
}

size_t
pace_limit(struct pace *p, struct mono now)
{
	uint64_t limit;

	if (p->draining && mono_before(now, p->drain_until))
		return PACE_DRAIN_BYTES;
	if (p->draining)
		renewed(p, p->drained_us, now);
	if (p->rate == 0 || p->rtt_min_us == 0)
		return PACE_INITIAL_BYTES;
	limit = p->rate * ((uint64_t)p->rtt_min_us + queue_us(p) + p->back_us) / US_PER_S;
	limit = p->started ? limit * p->share / SHARE_ONE : limit * START_GAIN;
	/* Up to a whole message: rounded down, it could not grow by less than one. */
	limit = (limit + PACE_MESSAGE_BYTES - 1) & ~(uint64_t)(PACE_MESSAGE_BYTES - 1);
	if (limit < PACE_FLOOR_BYTES)
		limit =
		    p->rate * PACE_SLOW_MS / 1000 < PACE_FLOOR_BYTES ? PACE_MESSAGE_BYTES : PACE_FLOOR_BYTES;
	return (size_t)limit;
}

/* --- what is reported --- */

uint64_t
pace_bandwidth_kbps(const struct pace *p)
{
	/* What a lane with little to send got tells how little that was. */
	if (!p->filled && p->probed_rate == 0)
		return 0;
	return (p->rate > p->probed_rate ? p->rate : p->probed_rate) * 8 / 1000;
}

uint64_t
pace_tx_kbps(struct pace *p, struct mono now)
{
	roll(p, now);
	return p->tx_rate * 8 / 1000;
}

uint64_t
pace_rx_kbps(struct pace *p, struct mono now)
{
	roll(p, now);
	return p->rx_rate * 8 / 1000;
}

uint32_t
pace_utilisation_permille(struct pace *p, struct mono now)
{
	uint64_t tx = pace_tx_kbps(p, now), rx = pace_rx_kbps(p, now);
	uint64_t most = tx > rx ? tx : rx, bandwidth = pace_bandwidth_kbps(p);

	if (bandwidth == 0)
		return 0;
	return most < bandwidth ? (uint32_t)(most * 1000 / bandwidth) : 1000;
}

int
pace_probed(struct pace *p, uint32_t train, const struct probe *report, struct mono now)
{
	(void)now;
	if (report->kind != PROBE_REPORT || report->train != train || report->received < 2 ||
	    report->received > PROBE_TRAIN_FRAMES)
		return ERR_RANGE;
	/* All in one instant: they came out of one buffer, which tells nothing. */
	if (report->spread_us != 0)
		p->probed_rate = per_second(
		    (uint64_t)(report->received - 1) * PROBE_FRAME_BYTES, (int64_t)report->spread_us);
	return 0;
}
