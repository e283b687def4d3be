#include "transportd/core/pathhealth.h"

enum {
	BADNESS_SLOW = 1,
	BADNESS_SUSPECT = 2, /* but its last probe was answered */
	BADNESS_MUTE = BADNESS_SUSPECT + PATHHEALTH_STRIKES_MAX,
	HOLD_SHIFT_MAX = 6,
	PROBE_SHIFT_MAX = 5,
};

_Static_assert(PATHHEALTH_HOLD_MIN_MS << HOLD_SHIFT_MAX == PATHHEALTH_HOLD_MAX_MS, "hold-down");

void
pathhealth_init(struct pathhealth *h, struct mono now)
{
	*h = (struct pathhealth){
	    .since = now,
	    .until = now,
	    .probe_at = mono_add_ms(now, PATHHEALTH_PROBE_MS),
	    .breach = MONO_NEVER,
	};
}

/* --- leaving --- */

static int64_t
hold_ms(const struct pathhealth *h)
{
	uint32_t shift = h->strikes > 0 ? h->strikes - 1 : 0;

	return (int64_t)PATHHEALTH_HOLD_MIN_MS << (shift < HOLD_SHIFT_MAX ? shift : HOLD_SHIFT_MAX);
}

static void
strike(struct pathhealth *h, struct mono now)
{
	if (h->state == PATHHEALTH_UP && !mono_before(now, mono_add_ms(h->since, PATHHEALTH_FORGET_MS)))
		h->strikes = 0;
	if (h->strikes < PATHHEALTH_STRIKES_MAX)
		h->strikes++;
	h->until = mono_add_ms(now, hold_ms(h));
}

static void
leave(struct pathhealth *h, enum pathhealth_state state, enum pathhealth_reason reason, struct mono now)
{
	strike(h, now);
	h->state = state;
	h->reason = reason;
	h->since = now;
	h->good = 0;
	h->breach = MONO_NEVER;
	h->probe_at = mono_add_ms(now, PATHHEALTH_PROBE_MS);
	h->waiting = false;
	h->misses = 0;
}

void
pathhealth_fail(struct pathhealth *h, enum pathhealth_reason reason, struct mono now)
{
	struct mono least = mono_add_ms(now, PATHHEALTH_HOLD_MIN_MS);

	h->good = 0;
	if (h->state != PATHHEALTH_SUSPECT)
		leave(h, PATHHEALTH_SUSPECT, reason, now);
	else if (reason == PATHHEALTH_SILENT)
		strike(h, now);
	else if (mono_before(h->until, least))
		h->until = least;
}

/* --- answers --- */

/* The round trip from which on it is slow; 0: there is none, as no other path is known to be better. */
static uint32_t
limit(const struct pathhealth_sample *s)
{
	uint64_t other = (uint64_t)s->other_us * PATHHEALTH_RTT_OTHER,
		 own = (uint64_t)s->rtt_min_us * PATHHEALTH_RTT_OWN, worth = (uint64_t)s->other_us * 3 / 2,
		 least;

	if (s->other_us == 0)
		return 0;
	if (own < worth)
		own = worth;
	least = own < other ? own : other;
	if (least < PATHHEALTH_RTT_FLOOR_US)
		least = PATHHEALTH_RTT_FLOOR_US;
	return least < UINT32_MAX ? (uint32_t)least : UINT32_MAX;
}

static void
judge(struct pathhealth *h, const struct pathhealth_sample *s, struct mono now)
{
	uint32_t most = limit(s);

	/* One late answer stays in the average of a path that is asked seldom for long. */
	if (s->busy || most == 0 || s->srtt_us < most || s->rtt_us < most) {
		h->breach = MONO_NEVER;
		return;
	}
	if (mono_is_never(h->breach))
		h->breach = now;
	if (mono_before(now, mono_add_ms(h->breach, PATHHEALTH_SLOW_MS)))
		return;
	h->limit_us = most;
	leave(h, PATHHEALTH_SLOW, PATHHEALTH_RTT, now);
}

/* As good as it has to be to be returned to? */
static bool
good(const struct pathhealth *h, const struct pathhealth_sample *s)
{
	if (h->state != PATHHEALTH_SLOW || s->rtt_us < h->limit_us / 2)
		return true;
	/* Or the others have become worse. */
	return s->other_us == 0 || (uint64_t)s->rtt_us * 3 / 2 < s->other_us;
}

void
pathhealth_answer(struct pathhealth *h, const struct pathhealth_sample *s, struct mono now)
{
	h->waiting = false;
	h->misses = 0;
	if (h->state == PATHHEALTH_UP) {
		h->probe_at = mono_add_ms(now, PATHHEALTH_IDLE_MS);
		judge(h, s, now);
		return;
	}
	h->good = good(h, s) ? h->good + 1 : 0;
	if (h->good < PATHHEALTH_GOOD || mono_before(now, h->until))
		return;
	h->state = PATHHEALTH_UP;
	h->since = now;
	h->breach = MONO_NEVER;
	h->probe_at = mono_add_ms(now, PATHHEALTH_IDLE_MS);
}

/* --- probes --- */

static int64_t
probe_gap_us(const struct pathhealth *h, int64_t rto_us)
{
	uint32_t shift = h->misses < PROBE_SHIFT_MAX ? h->misses : PROBE_SHIFT_MAX;
	int64_t gap = (int64_t)PATHHEALTH_PROBE_MS * 1000 << shift;

	if (gap > PATHHEALTH_PROBE_MAX_MS * INT64_C(1000))
		gap = PATHHEALTH_PROBE_MAX_MS * INT64_C(1000);
	return gap > rto_us ? gap : rto_us;
}

bool
pathhealth_probe(struct pathhealth *h, int64_t rto_us, struct mono now)
{
	if (mono_before(now, h->probe_at))
		return false;
	if (h->waiting) {
		h->misses++;
		h->good = 0;
	}
	if (h->state == PATHHEALTH_UP && h->misses >= PATHHEALTH_MISSES)
		pathhealth_fail(h, PATHHEALTH_SILENT, now);
	h->waiting = true;
	h->probe_at = mono_add_us(now, probe_gap_us(h, rto_us));
	return true;
}

struct mono
pathhealth_next(const struct pathhealth *h)
{
	return h->probe_at;
}

void
pathhealth_hurry(struct pathhealth *h, struct mono now)
{
	h->waiting = false;
	h->misses = 0;
	h->probe_at = now;
}

unsigned
pathhealth_badness(const struct pathhealth *h)
{
	if (h->state == PATHHEALTH_UP)
		return 0;
	if (h->state == PATHHEALTH_SLOW)
		return BADNESS_SLOW;
	return (h->good != 0 ? BADNESS_SUSPECT : BADNESS_MUTE) + h->strikes;
}

const char *
pathhealth_name(enum pathhealth_state state)
{
	static const char *const names[] = {
	    [PATHHEALTH_UP] = "up",
	    [PATHHEALTH_SLOW] = "slow",
	    [PATHHEALTH_SUSPECT] = "suspect",
	};

	return names[state];
}

const char *
pathhealth_reason_name(enum pathhealth_reason reason)
{
	static const char *const names[] = {
	    [PATHHEALTH_SILENT] = "silent",
	    [PATHHEALTH_LINK] = "link",
	    [PATHHEALTH_NOTICE] = "notice",
	    [PATHHEALTH_RTT] = "rtt",
	};

	return names[reason];
}
