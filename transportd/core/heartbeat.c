#include "transportd/core/heartbeat.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

#define RTT_MAX_US INT64_C(0x7fffffff)
/* A round trip before one was measured (RFC 6298 section 2): the peer of a long path can't have been heard
 * after three intervals. */
#define RTT_UNKNOWN_US INT64_C(1000000)

/* --- when --- */

static void
begin(struct heartbeat *h, struct mono now, int64_t interval_us, uint32_t misses)
{
	h->interval_us = interval_us;
	h->misses = misses;
	h->stepped = h->expected = now;
	h->at_once = true;
	heartbeat_heard(h, now);
}

void
heartbeat_init(struct heartbeat *h, struct mono now, int64_t interval_us, uint32_t misses)
{
	memset(h, 0, sizeof(*h));
	begin(h, now, interval_us, misses);
	h->half_until = mono_add_ms(now, HEARTBEAT_RTT_WINDOW_MS / 2);
}

void
heartbeat_retune(struct heartbeat *h, struct mono now, int64_t interval_us, uint32_t misses)
{
	begin(h, now, interval_us, misses);
}

void
heartbeat_heard(struct heartbeat *h, struct mono now)
{
	h->heard = now;
	h->grace = now;
	h->graced = h->asked = h->stalled = false;
}

void
heartbeat_sent(struct heartbeat *h, struct mono now)
{
	h->said = now;
}

static int64_t
most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* How long a silence is no sign.  What is sent at an interval arrives within a round trip and its usual
 * variation (the retransmission time-out of RFC 6298), but a path that is ever slower ends somewhere. */
static int64_t
patience_us(const struct heartbeat *h)
{
	int64_t base = h->interval_us * h->misses;
	int64_t far = h->interval_us + 2 * (int64_t)h->rtt_us + 4 * (int64_t)h->rttvar_us;

	if (h->rtt_us == 0)
		far = h->interval_us + RTT_UNKNOWN_US;
	if (far > base * HEARTBEAT_PATIENCE_MAX)
		far = base * HEARTBEAT_PATIENCE_MAX;
	return most(base, far);
}

static struct mono
later(struct mono a, struct mono b)
{
	return mono_before(a, b) ? b : a;
}

static struct mono
silence(const struct heartbeat *h)
{
	return later(mono_add_us(h->heard, patience_us(h)), h->grace);
}

static struct mono
death(const struct heartbeat *h)
{
	return later(h->stall_end, h->grace);
}

/* The next ping.  One under way is given the time it usually needs, and twice as much after each that
 * got no answer: a pong that comes later than the ring of pings remembers could not be measured. */
static struct mono
ping_due(const struct heartbeat *h)
{
	int64_t wait = h->busy ? h->interval_us : h->interval_us * HEARTBEAT_IDLE_PINGS;
	int64_t usual = most(h->interval_us, h->rtt_us + 4 * (int64_t)h->rttvar_us);

	if (h->unanswered != 0)
		wait = most(wait,
		    usual << (h->unanswered < HEARTBEAT_PINGS ? h->unanswered - 1 : HEARTBEAT_PINGS - 1));
	return mono_add_us(h->pinged, wait);
}

/* When it goes if no beat is due: for an idle lane that leaves time for one to be the ping. */
static struct mono
ping_forced(const struct heartbeat *h)
{
	return mono_add_us(ping_due(h), h->busy ? 0 : h->interval_us / 2);
}

static struct mono
beat_due(const struct heartbeat *h)
{
	return mono_add_us(h->said, h->interval_us);
}

struct mono
heartbeat_next(const struct heartbeat *h)
{
	struct mono end = h->stalled ? mono_min(h->check, death(h)) : silence(h);
	/* Traffic may begin meanwhile, and with it the wish for pings. */
	struct mono look = mono_add_us(h->stepped, h->interval_us);

	if (h->at_once)
		return mono_min(h->stepped, end);
	return mono_min(mono_min(end, look), mono_min(ping_forced(h), beat_due(h)));
}

/* --- what is sent --- */

static void
count_sample(struct heartbeat *h, bool lost)
{
	h->lost_bits = h->lost_bits << 1 | lost;
	if (h->lost_samples < HEARTBEAT_LOSS_WINDOW)
		h->lost_samples++;
}

static uint8_t
bit_of(uint32_t seq)
{
	return (uint8_t)(1U << seq % HEARTBEAT_PINGS);
}

static bool
awaiting(const struct heartbeat *h)
{
	return (h->open & bit_of(h->seq)) != 0;
}

static void
ping(struct heartbeat *h, struct mono now, struct beat *beat)
{
	if (awaiting(h))
		count_sample(h, true);
	h->seq++;
	h->sent[h->seq % HEARTBEAT_PINGS] = now;
	h->open |= bit_of(h->seq);
	h->unanswered++;
	h->pinged = now;
	h->at_once = false;
	*beat = (struct beat){.kind = HEARTBEAT_PING, .seq = h->seq, .time_us = (uint64_t)now.us};
}

static enum heartbeat_effect
send_due(struct heartbeat *h, struct mono now, struct beat *beat)
{
	bool due = !mono_before(now, beat_due(h));
	/* A beat that is due about when a ping is, is the ping. */
	bool near = !mono_before(mono_add_us(now, h->interval_us / 2), ping_due(h));

	if (h->at_once || (due && near) || !mono_before(now, ping_forced(h)))
		ping(h, now, beat);
	else if (due)
		*beat = (struct beat){.kind = HEARTBEAT_BEAT, .time_us = (uint64_t)now.us};
	else
		return HEARTBEAT_NOTHING;
	h->said = now;
	return HEARTBEAT_SEND;
}

/* --- life and death --- */

static void
check_lateness(struct heartbeat *h, struct mono now)
{
	if (h->graced || !mono_before(mono_add_us(h->expected, h->interval_us), now))
		return;
	h->graced = true;
	h->grace = mono_add_us(now, h->interval_us * h->misses);
}

static enum heartbeat_effect
check_life(struct heartbeat *h, struct mono now)
{
	if (h->stalled && !mono_before(now, death(h)))
		return HEARTBEAT_DEAD;
	if (h->stalled ? mono_before(now, h->check) : mono_before(now, silence(h)))
		return HEARTBEAT_NOTHING;
	if (h->asked)
		return HEARTBEAT_DEAD;
	h->asked = true;
	return HEARTBEAT_SILENT;
}

enum heartbeat_effect
heartbeat_step(struct heartbeat *h, struct mono now, bool busy, struct beat *beat)
{
	enum heartbeat_effect effect;

	check_lateness(h, now);
	h->busy = busy;
	h->stepped = now;
	effect = check_life(h, now);
	if (effect == HEARTBEAT_NOTHING)
		effect = send_due(h, now, beat);
	h->expected = later(now, heartbeat_next(h));
	return effect;
}

void
heartbeat_kernel_alive(struct heartbeat *h, struct mono now, int64_t stall_us)
{
	h->asked = false;
	h->stalled = true;
	h->stall_end = mono_add_us(h->heard, stall_us);
	h->check = mono_add_us(now, h->interval_us);
}

bool
heartbeat_stalled(const struct heartbeat *h)
{
	return h->stalled;
}

/* --- what is measured --- */

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

/* RFC 6298 section 2: the variation first, by the round trip as it was smoothed before.  A line can't be
 * quicker than it is, but anything can delay an answer: what is far below tells that the line is well again,
 * and counts for half, lest paths keep away from it for dozens of pings. */
static void
smooth(struct heartbeat *h, int64_t rtt_us)
{
	const int64_t weight = rtt_us < h->rtt_us / 2 ? 2 : 8;
	int64_t off = rtt_us > h->rtt_us ? rtt_us - h->rtt_us : h->rtt_us - rtt_us;

	if (h->rtt_us == 0) {
		h->rtt_us = (uint32_t)rtt_us;
		h->rttvar_us = (uint32_t)(rtt_us / 2);
		return;
	}
	h->rttvar_us = (uint32_t)(((int64_t)h->rttvar_us * 3 + off) / 4);
	h->rtt_us = (uint32_t)(((int64_t)h->rtt_us * (weight - 1) + rtt_us) / weight);
}

/* The ping before the last `age` ones is answered; none before it can be any more. */
static void
settle(struct heartbeat *h, uint32_t age)
{
	if (age == 0)
		count_sample(h, false);
	else /* it was counted as lost when the next one was sent */
		h->lost_bits &= ~(1ULL << (age - 1));
	for (uint32_t i = age; i < HEARTBEAT_PINGS; i++)
		h->open &= (uint8_t)~bit_of(h->seq - i);
	h->unanswered = age;
}

bool
heartbeat_pong(struct heartbeat *h, const struct beat *pong, struct mono now)
{
	uint32_t age = h->seq - pong->seq;
	struct mono sent = h->sent[pong->seq % HEARTBEAT_PINGS];
	int64_t rtt_us = mono_diff_us(now, sent);

	/* The time is ours, kept here: what the neighbour repeats could be invented. */
	if (pong->kind != HEARTBEAT_PONG || age >= HEARTBEAT_PINGS || (h->open & bit_of(pong->seq)) == 0 ||
	    pong->time_us != (uint64_t)sent.us || rtt_us < 0)
		return false;
	settle(h, age);
	if (rtt_us > RTT_MAX_US)
		rtt_us = RTT_MAX_US;
	if (rtt_us == 0)
		rtt_us = 1;
	h->sample_us = (uint32_t)rtt_us;
	smooth(h, rtt_us);
	note_min(h, (uint32_t)rtt_us, now);
	return true;
}

int64_t
heartbeat_waiting_us(const struct heartbeat *h, struct mono now)
{
	int64_t longest = 0;

	for (uint32_t i = 0; i < HEARTBEAT_PINGS; i++)
		if (h->open & 1U << i)
			longest = most(longest, mono_diff_us(now, h->sent[i]));
	return longest;
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
heartbeat_rtt_var_us(const struct heartbeat *h)
{
	return h->rttvar_us;
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
	return out->kind >= HEARTBEAT_PING && out->kind <= HEARTBEAT_BEAT ? 0 : ERR_FORMAT;
}
