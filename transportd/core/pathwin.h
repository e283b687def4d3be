/*
 * pathwin: how much client data may be on its way on one path, and whether the path answers.
 *
 * The source counts what it sends on a path.  Now and then it sends a PATH_FEEDBACK frame (an ask) behind
 * the data; the far transportd answers with what has arrived until then, how much of it was marked by
 * relays over their mark, and the ask's time.  From that the source knows the round trip with all
 * queues in it, the loss, and the congestion, and moves its window as DCTCP does (RFC 8257 section 3.3:
 * in proportion to the marked share, once per round trip; halved at loss; slow start until the first
 * mark).  A path whose asks are not answered for long is silent.
 *
 * The far end is not trusted: an answer counts only if it repeats an ask that is open, at most what was
 * sent can have arrived, and the window stays below its maximum whatever is answered.  Pure.
 */
#ifndef TRANSPORTD_CORE_PATHWIN_H
#define TRANSPORTD_CORE_PATHWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "transportd/core/path_feedback.h"
#include "transportd/core/pathrx.h"

enum {
	PATHWIN_MIN_BYTES = 64 * 1024,
	PATHWIN_INITIAL_BYTES = 512 * 1024,
	PATHWIN_MAX_BYTES = 1024 * 1024 * 1024,
	/* An ask leaves behind the first frame.  Then when so much time has passed... */
	PATHWIN_ASK_MS = 20, /* (an eighth of a long round trip) */
	/* ...or so much was sent... */
	PATHWIN_ASK_BYTES = 65536, /* (a quarter of a small window, an eighth of a large one) */
	/* ...and not so many are unanswered; otherwise one per retransmission time-out. */
	PATHWIN_ASKS_MAX = 8,
	PATHWIN_ASKS_KEPT = 16, /* unanswered ones that are known when their answer comes */
	PATHWIN_SILENT_MIN_MS = 300,
	/* Time-out while no ask was ever answered (RFC 6298 says 1 s).  With PATHWIN_SILENT_MIN_MS alone a
	 * path with a longer round trip could never be used.  Doubled each time that the path was left
	 * silent, and then the window begins with its minimum: the path may just be slow. */
	PATHWIN_RTO_INITIAL_MS = 500,
};

/* An ask that is unanswered, and so is every later one. */
struct pathwin_ask {
	uint64_t sent_frames, sent_bytes;
	struct mono at;
};

struct pathwin {
	uint32_t path_id;
	uint64_t window_max, window;
	uint64_t sent_frames, sent_bytes; /* from the first one on */
	uint64_t cleared_bytes;           /* of sent_bytes: arrived or lost */
	struct path_feedback last;        /* the newest answer; kind 0: none yet */
	/* Oldest first. */
	struct pathwin_ask asks[PATHWIN_ASKS_KEPT];
	uint32_t asks_open, reasks; /* reasks: since asks[] is full */
	struct mono asked;          /* when the last ask left */
	struct mono heard;          /* when the last answer came that counted */
	uint64_t asked_bytes;       /* sent_bytes then */
	uint64_t used_bytes;        /* most that was on its way since the last answer */
	uint64_t cut_until_bytes;   /* what was sent before the last cut can't cause another one */
	/* Of the round that ends when round_until_bytes is answered. */
	uint64_t round_until_bytes, round_received_bytes, round_marked_bytes;
	uint32_t silences;     /* in a row that the path was left silent */
	uint32_t quiet_rounds; /* in a row without mark and loss */
	uint32_t marked_share; /* DCTCP's alpha, in 1/65536 */
	int64_t deficit_bytes; /* sent, but not arrived as of the last answer; negative: overtook the ask */
	uint32_t srtt_us, rttvar_us, rtt_min_us, rtt_us; /* rtt_us: of the last answer */
	struct mono began;                               /* when data was last sent with nothing on its way */
	bool slow_start;
	uint64_t lost_bytes, marked_bytes; /* for the metrics */
};

/* window_max: brought into [PATHWIN_MIN_BYTES, PATHWIN_MAX_BYTES]. */
void pathwin_init(struct pathwin *p, uint32_t path_id, uint64_t window_max, struct mono now);
/* A frame of class client leaves on the path. */
void pathwin_sent(struct pathwin *p, size_t bytes, struct mono now);
uint64_t pathwin_in_flight(const struct pathwin *p);
bool pathwin_full(const struct pathwin *p); /* in flight >= window: hold the destination */
bool pathwin_open(const struct pathwin *p); /* an eighth of the window is free, and a frame: release it */
/* Is an ask due?  Then fills *out, which is to be sent behind the data on the same path. */
bool pathwin_ask(struct pathwin *p, struct mono now, struct path_feedback *out);
/* An ask that is sent whatever is due, also with nothing behind which it could travel: a probe. */
void pathwin_probe(struct pathwin *p, struct mono now, struct path_feedback *out);
/* An answer arrived.  Old, repeated or invented ones change nothing: false. */
bool pathwin_answer(struct pathwin *p, const struct path_feedback *a, struct mono now);
/* When pathwin_ask() or pathwin_silent() may become true by time alone.  May lie in the past: an ask is
 * due, or the path is silent and still used. */
struct mono pathwin_next(const struct pathwin *p);
/* How long an answer may take (RFC 6298). */
int64_t pathwin_rto_us(const struct pathwin *p);
/* Is its round trip that of queues that the window looks after?  Much is on its way, or something was marked
 * or lost within the last round trips. */
bool pathwin_congested(const struct pathwin *p);
/* Bytes per second that the window allows; 0: it has found no limit yet. */
uint64_t pathwin_rate(const struct pathwin *p);
/* Data is on its way, and no ask has been answered for max(PATHWIN_SILENT_MIN_MS, twice the RTO) since
 * the oldest unanswered one left. */
bool pathwin_silent(const struct pathwin *p, struct mono now);
/* Everything on its way is given up (the path was left).  What was learned of the path is forgotten. */
void pathwin_reset(struct pathwin *p, struct mono now);

#endif
