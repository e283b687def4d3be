/*
 * pathhealth: may a path be used now?
 *
 *	up       it is used
 *	slow     its round trips take far longer than they did, or than another path's: left while another
 *	         one is up
 *	suspect  it fell silent, its first link went down, or a relay could not follow it: left while there
 *	         is any other
 *
 * What was left is probed (asks with nothing behind them), ever more slowly while nothing is answered,
 * and returned to after PATHHEALTH_GOOD answers in a row, but not before its hold-down is over.  That
 * doubles with each failure up to PATHHEALTH_HOLD_MAX_MS, so that a path which comes and goes is
 * left alone more and more; after PATHHEALTH_FORGET_MS without one it is forgiven.  (As RFC 2439 damps
 * routes, with the back-off in place of the penalty.)  A path that is up and unused is probed slowly,
 * so that it is known to work before it is needed.
 *
 * Nothing here takes the last path away: the caller uses the least bad one.  Pure.
 */
#ifndef TRANSPORTD_CORE_PATHHEALTH_H
#define TRANSPORTD_CORE_PATHHEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/mono.h"

enum {
	PATHHEALTH_HOLD_MIN_MS = 1000,
	PATHHEALTH_HOLD_MAX_MS = 64000,
	PATHHEALTH_FORGET_MS = 128000, /* twice the longest hold-down */
	PATHHEALTH_STRIKES_MAX = 16,   /* failures that count */
	PATHHEALTH_GOOD = 5,
	PATHHEALTH_PROBE_MS = 100,      /* between probes of a path that was left, while it answers */
	PATHHEALTH_PROBE_MAX_MS = 2000, /* and while it does not, after some */
	PATHHEALTH_IDLE_MS = 2000,      /* between probes of a path that is up and unused */
	PATHHEALTH_MISSES = 3,          /* unanswered ones in a row: it is not up */
	/* A path is slow if for PATHHEALTH_SLOW_MS its smoothed and last round trip were not below the floor,
	 * and OTHER times that of the quickest other path, or OWN times its own least and longer than half as
	 * much again as the other's.  It is quick again below half of the limit that it broke. */
	PATHHEALTH_SLOW_MS = 200,
	PATHHEALTH_RTT_FLOOR_US = 50000, /* nobody minds less */
	PATHHEALTH_RTT_OTHER = 3,
	PATHHEALTH_RTT_OWN = 4,
};

enum pathhealth_state {
	PATHHEALTH_UP,
	PATHHEALTH_SLOW,
	PATHHEALTH_SUSPECT,
	PATHHEALTH_STATES,
};

enum pathhealth_reason {
	PATHHEALTH_SILENT, /* nothing was answered */
	PATHHEALTH_LINK,   /* its first link went down */
	PATHHEALTH_NOTICE, /* a relay says that it can't go on, or that it goes another way */
	PATHHEALTH_RTT,    /* slow */
	PATHHEALTH_REASONS,
};

struct pathhealth {
	enum pathhealth_state state;
	enum pathhealth_reason reason; /* why it was left the last time */
	uint32_t strikes;              /* failures that count, this one included */
	uint32_t good;                 /* answers in a row since it was left */
	uint32_t misses;               /* probes in a row without an answer */
	bool waiting;                  /* for the answer to a probe */
	uint32_t limit_us;             /* the round trip that it was left for exceeded this */
	struct mono since;             /* of the state */
	struct mono until;             /* of the hold-down */
	struct mono probe_at;
	struct mono breach; /* since when it has been slower than the limit; MONO_NEVER: it is not */
};

struct pathhealth_sample {
	uint32_t rtt_us;              /* of this answer */
	uint32_t srtt_us, rtt_min_us; /* smoothed; least since the path has been used */
	uint32_t other_us;            /* smoothed, of the quickest other path that is up; 0: none known */
	bool busy;                    /* the round trip is that of queues of our own data: no verdict */
};

void pathhealth_init(struct pathhealth *h, struct mono now);
/* It failed.  Of a path that is suspect already only further silence counts as another failure. */
void pathhealth_fail(struct pathhealth *h, enum pathhealth_reason reason, struct mono now);
/* An answer came; may change the state. */
void pathhealth_answer(struct pathhealth *h, const struct pathhealth_sample *s, struct mono now);
/* Is a probe due?  Then it is to be sent now.  May make a path suspect whose probes were not answered.
 * rto_us: by when an answer should have come. */
bool pathhealth_probe(struct pathhealth *h, int64_t rto_us, struct mono now);
/* When that is. */
struct mono pathhealth_next(const struct pathhealth *h);
/* There is reason to think that it works again (its link came up): probes are due at once. */
void pathhealth_hurry(struct pathhealth *h, struct mono now);
/* 0 up, 1 slow, more: suspect, those last that answer nothing now, the more the more often it failed. */
unsigned pathhealth_badness(const struct pathhealth *h);

/* "suspect", "notice".  Static. */
const char *pathhealth_name(enum pathhealth_state state);
const char *pathhealth_reason_name(enum pathhealth_reason reason);

#endif
