#include "transportd/core/pathwin.h"

#include <string.h>

#include "common/base/frame.h"
#include "common/base/num.h"

enum {
	SHARE_ONE = 65536, /* marked_share of 1 */
	SHARE_SHIFT = 4,   /* DCTCP's g is 1/16 (RFC 8257 section 4.2) */
	CALM_ROUNDS = 2,
	QUIET_ROUNDS = 4, /* then the window grows faster */
	SILENCE_SHIFT_MAX = 6,
	PROBES_KEPT = PATHWIN_ASKS_MAX / 2,
	REASK_SHIFT_MAX = 8, /* an unanswered ask is repeated ever more slowly */
	RTT_MAX_US = 60 * 1000 * 1000,
};

/* Begins anew, behind what was sent. */
static void
begin(struct pathwin *p, struct mono now)
{
	p->window = p->silences == 0 ? min_u64(PATHWIN_INITIAL_BYTES, p->window_max) : PATHWIN_MIN_BYTES;
	p->cleared_bytes = p->asked_bytes = p->cut_until_bytes = p->round_until_bytes = p->sent_bytes;
	memset(&p->last, 0, sizeof(p->last));
	p->asks_open = p->reasks = p->quiet_rounds = 0;
	p->asked = p->heard = p->began = now;
	p->used_bytes = p->round_received_bytes = p->round_marked_bytes = 0;
	p->deficit_bytes = 0;
	p->srtt_us = p->rttvar_us = p->rtt_min_us = p->rtt_us = 0;
	p->marked_share = SHARE_ONE;
	p->slow_start = true;
}

void
pathwin_init(struct pathwin *p, uint32_t path_id, uint64_t window_max, struct mono now)
{
	memset(p, 0, sizeof(*p));
	p->path_id = path_id;
	p->window_max = min_u64(max_u64(window_max, PATHWIN_MIN_BYTES), PATHWIN_MAX_BYTES);
	begin(p, now);
}

uint64_t
pathwin_in_flight(const struct pathwin *p)
{
	return p->sent_bytes - p->cleared_bytes;
}

bool
pathwin_full(const struct pathwin *p)
{
	return pathwin_in_flight(p) >= p->window;
}

bool
pathwin_open(const struct pathwin *p)
{
	/* What is released comes as a burst: with a quarter of the window instead, long paths were used to
	 * three quarters only. */
	return pathwin_in_flight(p) + max_u64(p->window / 8, FRAME_MAX_BYTES) <= p->window;
}

/* --- asks --- */

static unsigned
shift_of(uint32_t times, unsigned max)
{
	return times < max ? times : max;
}

int64_t
pathwin_rto_us(const struct pathwin *p)
{
	int64_t rto = (int64_t)p->srtt_us + 4 * (int64_t)p->rttvar_us;

	if (p->srtt_us == 0)
		return PATHWIN_RTO_INITIAL_MS * INT64_C(1000) << shift_of(p->silences, SILENCE_SHIFT_MAX);
	return rto > PATHWIN_ASK_MS * 1000 ? rto : PATHWIN_ASK_MS * 1000;
}

/* Eight asks are to be spread over a round trip and over a window, or clearing comes in one lump and the
 * path runs dry in between. */
static int64_t
ask_gap_us(const struct pathwin *p)
{
	int64_t eighth = p->srtt_us / PATHWIN_ASKS_MAX;

	return eighth > PATHWIN_ASK_MS * 1000 ? eighth : PATHWIN_ASK_MS * 1000;
}

static uint64_t
ask_gap_bytes(const struct pathwin *p)
{
	return max_u64(min_u64(PATHWIN_ASK_BYTES, p->window / 4), p->window / PATHWIN_ASKS_MAX);
}

/* When an ask is due if nothing more is sent. */
static struct mono
ask_due(const struct pathwin *p)
{
	if (pathwin_in_flight(p) == 0)
		return MONO_NEVER;
	if (p->sent_bytes != p->asked_bytes && p->asks_open < PATHWIN_ASKS_MAX) {
		bool first = p->asks_open == 0 && p->last.kind == 0;

		if (first || p->sent_bytes - p->asked_bytes >= ask_gap_bytes(p))
			return p->asked;
		return mono_add_us(p->asked, ask_gap_us(p));
	}
	/* Many asks open, or one that may be lost with nothing to be sent behind it. */
	return mono_add_us(p->asked, pathwin_rto_us(p) << shift_of(p->reasks, REASK_SHIFT_MAX));
}

bool
pathwin_congested(const struct pathwin *p)
{
	return pathwin_in_flight(p) > p->window / 2 || p->quiet_rounds < CALM_ROUNDS;
}

uint64_t
pathwin_rate(const struct pathwin *p)
{
	return p->slow_start || p->srtt_us == 0 ? 0 : p->window * UINT64_C(1000000) / p->srtt_us;
}

void
pathwin_sent(struct pathwin *p, size_t bytes, struct mono now)
{
	/* The time between two asks runs only while data flows. */
	if (pathwin_in_flight(p) == 0)
		p->asked = p->began = now;
	p->sent_frames++;
	p->sent_bytes += bytes;
	p->used_bytes = max_u64(p->used_bytes, pathwin_in_flight(p));
}

/* With no place left the newest is replaced: the old ones are those whose answers may still come if the
 * round trip has become very long. */
static void
note_ask(struct pathwin *p, struct mono now)
{
	if (p->asks_open == PATHWIN_ASKS_KEPT)
		p->reasks++;
	else
		p->asks_open++;
	p->asks[p->asks_open - 1] = (struct pathwin_ask){p->sent_frames, p->sent_bytes, now};
	p->asked = now;
	p->asked_bytes = p->sent_bytes;
}

/* What it takes for a path to be silent. */
static int64_t
silence_us(const struct pathwin *p)
{
	int64_t limit = 2 * pathwin_rto_us(p);

	return limit > PATHWIN_SILENT_MIN_MS * 1000 ? limit : PATHWIN_SILENT_MIN_MS * 1000;
}

/* With asks open.  While answers come the path is not silent, however far behind they are. */
static struct mono
unanswered_since(const struct pathwin *p)
{
	return mono_before(p->heard, p->asks[0].at) ? p->asks[0].at : p->heard;
}

/* Two thirds of that have passed: the far end shall try everything. */
static bool
is_pressing(const struct pathwin *p, struct mono now)
{
	return p->asks_open != 0 &&
	       !mono_before(now, mono_add_us(unanswered_since(p), silence_us(p) / 3 * 2));
}

void
pathwin_probe(struct pathwin *p, struct mono now, struct path_feedback *out)
{
	bool again = is_pressing(p, now);

	/* Old ones give way, or asks behind data would have no place. */
	if (pathwin_in_flight(p) == 0 && p->asks_open >= PROBES_KEPT) {
		p->asks_open = PROBES_KEPT - 1;
		memmove(p->asks, p->asks + 1, p->asks_open * sizeof(p->asks[0]));
	}
	note_ask(p, now);
	*out = (struct path_feedback){
	    .kind = again ? PATH_ASK_AGAIN : PATH_ASK,
	    .path_id = p->path_id,
	    .sent_frames = p->sent_frames,
	    .sent_bytes = p->sent_bytes,
	    .time_us = (uint64_t)now.us,
	};
}

bool
pathwin_ask(struct pathwin *p, struct mono now, struct path_feedback *out)
{
	struct mono due = ask_due(p);

	if (mono_is_never(due) || mono_before(now, due))
		return false;
	pathwin_probe(p, now, out);
	return true;
}

/* --- silence --- */

static struct mono
silence(const struct pathwin *p)
{
	struct mono since;

	if (p->asks_open == 0 || pathwin_in_flight(p) == 0)
		return MONO_NEVER;
	since = unanswered_since(p);
	/* That a probe before it was lost says nothing about what was sent then. */
	if (mono_before(since, p->began))
		since = p->began;
	return mono_add_us(since, silence_us(p));
}

bool
pathwin_silent(const struct pathwin *p, struct mono now)
{
	struct mono at = silence(p);

	return !mono_is_never(at) && !mono_before(now, at);
}

void
pathwin_reset(struct pathwin *p, struct mono now)
{
	if (pathwin_silent(p, now) && p->silences < SILENCE_SHIFT_MAX)
		p->silences++;
	begin(p, now);
}

struct mono
pathwin_next(const struct pathwin *p)
{
	return mono_min(ask_due(p), silence(p));
}

/* --- answers --- */

/* What one answer says more than the one before, as far as it can be true. */
struct progress {
	uint64_t cleared, received, marked, lost;
};

/* RFC 6298 section 2.  The ask's time is ours, kept here. */
static void
note_rtt(struct pathwin *p, struct mono asked, struct mono now)
{
	int64_t sample = mono_diff_us(now, asked), diff;

	if (sample < 1)
		sample = 1;
	if (sample > RTT_MAX_US)
		sample = RTT_MAX_US;
	p->rtt_us = (uint32_t)sample;
	if (p->srtt_us == 0) {
		p->srtt_us = p->rtt_min_us = (uint32_t)sample;
		p->rttvar_us = (uint32_t)sample / 2;
		return;
	}
	diff = sample > p->srtt_us ? sample - p->srtt_us : p->srtt_us - sample;
	p->rttvar_us = (uint32_t)((3 * (int64_t)p->rttvar_us + diff) / 4);
	p->srtt_us = (uint32_t)((7 * (int64_t)p->srtt_us + sample + 7) / 8);
	p->rtt_min_us = (uint32_t)min_u64(p->rtt_min_us, (uint64_t)sample);
}

/* Finds the ask that is answered; it and all before it are open no longer.  (Answers to asks before it may
 * still come: they tell nothing new.) */
static bool
close_asks(struct pathwin *p, const struct path_feedback *a, struct mono now)
{
	uint32_t i = 0;

	while (i < p->asks_open &&
	       (p->asks[i].sent_bytes != a->sent_bytes || p->asks[i].sent_frames != a->sent_frames ||
		   (uint64_t)p->asks[i].at.us != a->time_us))
		i++;
	if (i == p->asks_open)
		return false;
	note_rtt(p, p->asks[i].at, now);
	/* Repeated asks behind the same data are answered too. */
	while (i < p->asks_open && p->asks[i].sent_bytes == a->sent_bytes)
		i++;
	p->asks_open -= i;
	memmove(p->asks, p->asks + i, p->asks_open * sizeof(p->asks[0]));
	p->reasks = p->silences = 0;
	p->heard = now;
	return true;
}

static int64_t
positive(int64_t v)
{
	return v > 0 ? v : 0;
}

/*
 * The deficit is what was sent before the ask and had not arrived before it.  A path keeps the order of a
 * stream, but streams may use different lanes, and overtake asks or be overtaken.  So a shortfall
 * is loss only if the next answer does not make up for it.  The other way round, a surplus that stays
 * comes from a deficit that was written off too early, and is forgotten, or it would hide loss later.
 */
static uint64_t
settle_deficit(struct pathwin *p, uint64_t cleared, uint64_t received)
{
	int64_t was = p->deficit_bytes, is = was + (int64_t)cleared - (int64_t)received;
	int64_t lost = positive(was) < positive(is) ? positive(was) : positive(is);
	int64_t ahead = positive(-was) < positive(-is) ? positive(-was) : positive(-is);

	p->deficit_bytes = is - lost + ahead;
	return (uint64_t)lost;
}

/* False: nothing to compare with.  The first answer is the base; and so is one whose counts went down: the
 * receiver has restarted, or had forgotten the path. */
static bool
compare(struct pathwin *p, const struct path_feedback *a, struct progress *out)
{
	const struct path_feedback *last = &p->last;
	uint64_t possible;

	if (last->kind == 0 || a->received_bytes < last->received_bytes ||
	    a->received_frames < last->received_frames || a->marked_bytes < last->marked_bytes) {
		p->deficit_bytes = 0;
		return false;
	}
	out->cleared = a->sent_bytes - last->sent_bytes;
	/* More than was sent until now, and missed before, can't have arrived. */
	possible = p->sent_bytes - last->sent_bytes + (uint64_t)positive(p->deficit_bytes);
	out->received = min_u64(a->received_bytes - last->received_bytes, possible);
	out->marked = min_u64(a->marked_bytes - last->marked_bytes, out->received);
	out->lost = settle_deficit(p, out->cleared, out->received);
	return true;
}

/* A cut, at most one for what was sent in one round trip. */
static void
cut(struct pathwin *p, uint64_t by)
{
	p->window = max_u64(p->window - by, PATHWIN_MIN_BYTES);
	p->cut_until_bytes = p->sent_bytes;
	p->slow_start = false;
}

/* One frame of the largest size per round trip, as a TCP one segment; more after some round trips in
 * which nothing said stop, or a path that has become ten times faster would be found out after minutes. */
static uint64_t
growth_per_round(const struct pathwin *p)
{
	uint64_t frames = p->quiet_rounds > QUIET_ROUNDS ? p->quiet_rounds - QUIET_ROUNDS + 1 : 1;

	return max_u64(FRAME_MAX_BYTES, min_u64(frames * FRAME_MAX_BYTES, p->window / 8));
}

static void
grow(struct pathwin *p, uint64_t arrived)
{
	uint64_t by = p->slow_start ? arrived : growth_per_round(p) * min_u64(arrived, p->window) / p->window;

	/* A window that was not used has not been tried. */
	if (p->used_bytes < p->window / 2)
		return;
	p->window = min_u64(p->window + by, p->window_max);
}

/* Once per round trip: the share of what was marked in it goes into the average.  The average begins with
 * 1 at the first mark: slow start overshoots by up to a factor of two, and the first cut must halve. */
static void
end_round(struct pathwin *p)
{
	uint64_t share = 0;

	if (p->round_received_bytes != 0)
		share = SHARE_ONE * p->round_marked_bytes / p->round_received_bytes;
	if (!p->slow_start)
		p->marked_share =
		    (uint32_t)(p->marked_share - (p->marked_share >> SHARE_SHIFT) + (share >> SHARE_SHIFT));
	p->quiet_rounds =
	    p->round_marked_bytes == 0 && p->quiet_rounds < UINT32_MAX ? p->quiet_rounds + 1 : 0;
	p->round_until_bytes = p->sent_bytes;
	p->round_received_bytes = p->round_marked_bytes = 0;
}

static void
move_window(struct pathwin *p, const struct path_feedback *a, const struct progress *g)
{
	p->round_received_bytes += g->received;
	p->round_marked_bytes += g->marked;
	if (g->lost != 0)
		p->quiet_rounds = 0;
	/* A loss was sent before the answer that showed its shortfall first. */
	if (g->lost != 0 && p->last.sent_bytes > p->cut_until_bytes)
		cut(p, p->window / 2);
	else if (g->marked != 0 && a->sent_bytes > p->cut_until_bytes)
		cut(p, p->window * p->marked_share / SHARE_ONE / 2);
	else if (g->marked == 0 && g->lost == 0)
		grow(p, min_u64(g->cleared, g->received));
	if (a->sent_bytes >= p->round_until_bytes)
		end_round(p);
}

bool
pathwin_answer(struct pathwin *p, const struct path_feedback *a, struct mono now)
{
	struct progress g;

	if (a->kind != PATH_ANSWER || a->path_id != p->path_id || !close_asks(p, a, now))
		return false;
	if (compare(p, a, &g)) {
		move_window(p, a, &g);
		p->lost_bytes += g.lost;
		p->marked_bytes += g.marked;
	}
	p->last = *a;
	p->cleared_bytes = a->sent_bytes;
	p->used_bytes = pathwin_in_flight(p);
	return true;
}
