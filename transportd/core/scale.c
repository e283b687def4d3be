#include "transportd/core/scale.h"

#include <string.h>

enum { INFLATED_US = 4000 };

void
scale_init(struct scale *s, struct mono now)
{
	memset(s, 0, sizeof(*s));
	s->wanted_since = s->idle_since = s->changed = now;
}

/* A queue has built up on the way: an eighth more than the path takes, and more than scheduling explains.
 * A paced lane keeps its queue short (PACE_QUEUE_MS): on a long path half more is never seen. */
static bool
inflated(const struct scale_sample *is)
{
	return is->rtt_min_us != 0 &&
	       (uint64_t)is->rtt_us > is->rtt_min_us + (uint64_t)is->rtt_min_us / 8 + INFLATED_US;
}

static bool
slow(const struct scale_conf *c, const struct scale_sample *is)
{
	return is->lanes != 0 && is->tx_kbps / is->lanes < c->target_kbps;
}

/* Notes since when something holds; true if it has held for so long. */
static bool
held(bool holds, bool *held_before, struct mono *since, int64_t for_us, struct mono now)
{
	if (holds && !*held_before)
		*since = now;
	*held_before = holds;
	return holds && mono_diff_us(now, *since) >= for_us;
}

static enum scale_verdict
change(struct scale *s, enum scale_verdict verdict, struct mono now)
{
	s->changed = now;
	s->has_changed = true;
	s->wanting = s->idling = false;
	return verdict;
}

enum scale_verdict
scale_step(struct scale *s, const struct scale_conf *c, const struct scale_sample *is, struct mono now)
{
	/* At the bounds the conditions are not watched: moving a bound begins the time anew. */
	bool open = held(is->lanes < c->lanes_max && is->full && inflated(is) && slow(c, is), &s->wanting,
	    &s->wanted_since, c->open_after_us, now);
	bool close =
	    held(is->lanes > c->lanes_min && is->idle, &s->idling, &s->idle_since, c->close_after_us, now);

	if (s->has_changed && mono_diff_us(now, s->changed) < c->cool_down_us)
		return SCALE_STAY;
	if (open)
		return change(s, SCALE_OPEN, now);
	if (close)
		return change(s, SCALE_CLOSE, now);
	return SCALE_STAY;
}
