/*
 * heartbeat: is the neighbour alive on this lane, how far away is it, and how many beats get lost.
 *
 * A side that has sent nothing else for an interval sends a beat.  It is a PING where the round trip is
 * wanted: every interval while the lane has traffic (lane.c says what counts), every
 * HEARTBEAT_IDLE_PINGS intervals otherwise; the other side answers it at once with a PONG that repeats
 * number and time, so the clocks of the two never have to agree.  A plain BEAT shows life and is not
 * answered; on an idle lane the owner may send anything in its place.  While a PING is under way longer
 * than usual BEATs go instead, and the last few PINGs may still be answered: so round trips longer than
 * the interval, of a slow line that is full, can be measured.
 *
 * Any traffic shows life.  Silence is borne for interval times misses, longer where round trips are long
 * (patience); then HEARTBEAT_SILENT asks the owner, once, whether the peer's kernel still acknowledges
 * our bytes:
 *
 *	no	the lane is dead, the owner ends it (a further step says HEARTBEAT_DEAD)
 *	yes	heartbeat_kernel_alive(): the process there is stalled.  Asked again every interval; dead when
 *		the stall has lasted too long.  Anything heard ends it.
 *
 * If we ourselves did not run (heartbeat_step() came more than an interval late), the silence is not the
 * peer's: it gets interval times misses from then, once until it is heard again.  Pure: time is an
 * argument.
 */
#ifndef TRANSPORTD_CORE_HEARTBEAT_H
#define TRANSPORTD_CORE_HEARTBEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"

struct buf;

enum {
	HEARTBEAT_PAYLOAD_BYTES = 13,
	HEARTBEAT_RTT_WINDOW_MS = 60000, /* rtt_min_us forgets in one to two halves of this */
	HEARTBEAT_LOSS_WINDOW = 64,      /* pings that loss is counted over */
	HEARTBEAT_IDLE_PINGS = 10,       /* intervals between two pings of an idle lane */
	HEARTBEAT_PINGS = 8,             /* the last pings, which may be answered late */
	HEARTBEAT_PATIENCE_MAX = 20,     /* long round trips raise the patience up to so many times */
};

enum heartbeat_kind {
	HEARTBEAT_PING = 1, /* wants a pong */
	HEARTBEAT_PONG = 2,
	HEARTBEAT_BEAT = 3, /* wants nothing; numbered 0 */
};

struct beat {
	uint8_t kind;
	uint32_t seq;
	uint64_t time_us; /* of the pinger's clock */
};

struct heartbeat {
	int64_t interval_us;
	uint32_t misses;
	struct mono heard;     /* last traffic from the neighbour */
	struct mono said;      /* last traffic to it */
	struct mono pinged;    /* last ping */
	struct mono stepped;   /* last heartbeat_step() */
	struct mono expected;  /* when the next one was due then */
	struct mono grace;     /* no silence before: we did not run */
	struct mono check;     /* stalled: the kernel is asked again */
	struct mono stall_end; /* stalled: dead */
	bool at_once;          /* a ping is due whatever the clock says */
	bool busy, graced, asked, stalled;
	uint32_t seq;                      /* of the last ping */
	struct mono sent[HEARTBEAT_PINGS]; /* by seq, modulo */
	uint8_t open;                      /* bit of each that may still be answered */
	uint32_t unanswered;               /* pings since the last pong */
	uint64_t lost_bits;                /* bit 0: the last ping that is answered or overdue */
	uint32_t lost_samples;
	uint32_t rtt_us, rttvar_us; /* smoothed, RFC 6298, sooner when it falls far; 0: not measured yet */
	uint32_t sample_us;         /* the last round trip as it was */
	uint32_t half_min_us[2];    /* minimum of this and the previous half window */
	struct mono half_until;
};

enum heartbeat_effect {
	HEARTBEAT_NOTHING = 0,
	HEARTBEAT_SEND = 1,   /* *beat is to be sent */
	HEARTBEAT_SILENT = 2, /* does the peer's kernel answer? */
	HEARTBEAT_DEAD = 3,
};

void heartbeat_init(struct heartbeat *h, struct mono now, int64_t interval_us, uint32_t misses);
/* New settings for a living lane; the next ping is due at once. */
void heartbeat_retune(struct heartbeat *h, struct mono now, int64_t interval_us, uint32_t misses);
/* Something arrived (or could not, because we did not read: then silence is our doing). */
void heartbeat_heard(struct heartbeat *h, struct mono now);
/* Something was written to the lane, beats too: no BEAT is due for an interval. */
void heartbeat_sent(struct heartbeat *h, struct mono now);
/* What is due; HEARTBEAT_SEND fills *beat.  busy: the lane has traffic.  One thing at a time:
 * heartbeat_next() is in the past if there is more. */
enum heartbeat_effect heartbeat_step(struct heartbeat *h, struct mono now, bool busy, struct beat *beat);
/* The answer to HEARTBEAT_SILENT, if it is yes: the peer may be silent for stall_us since it was heard. */
void heartbeat_kernel_alive(struct heartbeat *h, struct mono now, int64_t stall_us);
bool heartbeat_stalled(const struct heartbeat *h);
/* When heartbeat_step() is wanted: at the latest an interval after the last. */
struct mono heartbeat_next(const struct heartbeat *h);
/* A pong arrived; old or invented ones, and other beats, are ignored.  True if it was measured. */
bool heartbeat_pong(struct heartbeat *h, const struct beat *pong, struct mono now);

/* How long the oldest ping that may still be answered has waited; 0: none waits. */
int64_t heartbeat_waiting_us(const struct heartbeat *h, struct mono now);
uint32_t heartbeat_rtt_min_us(const struct heartbeat *h);
uint32_t heartbeat_rtt_var_us(const struct heartbeat *h);
/* Pings that were overdue when the next was sent and have not been answered since; BEATs don't count. */
uint32_t heartbeat_loss_ppm(const struct heartbeat *h);

int beat_encode(const struct beat *b, struct buf *out) MUST_USE;
/* ERR_SHORT, ERR_LEFTOVER, ERR_FORMAT (kind). */
int beat_decode(const void *payload, size_t len, struct beat *out) MUST_USE;

#endif
