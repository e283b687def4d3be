/*
 * pace: how fast a lane is, and how much may be unacknowledged on it without filling the queues on
 * the way.
 *
 * Delivery rate as BBR measures it (Cardwell et al. 2016; draft-cheng-iccrg-delivery-rate-estimation):
 * bytes acknowledged over the time between, the maximum of the last rounds; samples taken while there was
 * nothing to send count only if they are higher.  What may be unacknowledged is the rate times the
 * least round trip plus PACE_QUEUE_MS: so control traffic that shares the bottleneck waits at most
 * about as long.  Because of that queue a limit that holds the lane back grows with every round; twice
 * as fast at the beginning, until the rate grows no more.
 *
 * When the least round trip has not been seen for PACE_MIN_RTT_MS, or the rate has halved (which is how a
 * path that became longer looks), the lane is drained for a moment to see it again.  Bounded probe trains
 * (probe.h) tell the rate of an idle lane.  Pure.
 */
#ifndef TRANSPORTD_CORE_PACE_H
#define TRANSPORTD_CORE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "transportd/core/probe.h"

enum {
	PACE_QUEUE_MS = 12,       /* standing queue that is put up with; on long paths a sixteenth of them */
	PACE_FLOOR_BYTES = 32768, /* always allowed: two messages; three lanes at it are 40 ms of 20 Mbit/s */
	PACE_MESSAGE_BYTES = 16384, /* limits are multiples of a whole message */
	/* While drained: one message.  What stands in the queue then is taken for the path. */
	PACE_DRAIN_BYTES = 16384,
	PACE_DRAIN_MS = 200, /* or two round trips, but not more than */
	PACE_DRAIN_MAX_MS = 5000,
	PACE_INITIAL_BYTES = 32768, /* before anything is known: 13 ms of 20 Mbit/s */
	PACE_SLOW_MS = 200,         /* a line that takes longer for the floor gets one message at a time */
	PACE_MIN_RTT_MS = 10000,
	PACE_RENEW_MS = 1000,        /* between two drains, at least */
	PACE_ROUNDS = 10,            /* round trips that the maximum of the rate is over */
	PACE_ROUND_MS = 50,          /* a round is not shorter: a hiccup of the ends is no slower path */
	PACE_SHARE_MIN = 512,        /* the limit is halved at most: rates are maxima, and tell too much */
	PACE_BACK_WINDOW_MS = 20000, /* the least delay of the way back is over one to two of these */
	PACE_BACK_MAX_US = 1000000,
	PACE_UTIL_MS = 1000,       /* utilisation and rates are over so long */
	PACE_SAMPLES = 64,         /* moments remembered of what is in flight */
	PACE_SAMPLE_BYTES = 65536, /* between two of them, or */
	PACE_SAMPLE_US = 1000,
};

struct pace {
	/* The implementation's. */
	uint64_t acked_bytes, sent_bytes;
	struct pace_sample {
		struct mono sent;         /* when the bytes up to sent_bytes had left */
		struct mono first_sent;   /* the same of what was acknowledged last then */
		struct mono delivered_at; /* when that was acknowledged */
		uint64_t sent_bytes;      /* of the lane then */
		uint64_t delivered;       /* acknowledged then */
		bool app_limited;
	} samples[PACE_SAMPLES];
	unsigned sample_head, sample_count;
	struct mono first_sent, delivered_at; /* of what was acknowledged last */
	uint64_t limited_until;               /* samples taken until this is acknowledged are app-limited */
	uint64_t rates[PACE_ROUNDS];          /* bytes per second, maximum of each round */
	uint64_t rate;                        /* maximum of those */
	unsigned round;
	uint64_t round_end; /* sent_bytes that end the round when acknowledged */
	struct mono round_min_end;
	uint64_t full_rate; /* start: rate that counts as growth when exceeded by a quarter */
	unsigned full_rounds;
	bool started; /* the rate does not grow any more */
	bool filled;  /* some of it was measured while more waited to be sent */
	uint32_t rtt_min_us;
	struct mono rtt_min_at, renewed_at, drain_until;
	uint64_t renewed_rate; /* rate then */
	uint32_t drained_us;   /* least round trip of this drain; 0: none yet */
	bool draining;
	uint32_t share; /* of the limit that is used, in 1/1024: less while the queue is longer than meant */
	/* The way back: what the peer's clock says of beats, against ours. */
	int64_t back_min_us[2]; /* least difference of this and the last window */
	struct mono back_until; /* end of this window */
	bool back_known;
	uint32_t back_us; /* smoothed: how much longer than the least its beats take now */
	/* bytes of this and the last whole period */
	struct mono period_begin, period_end;
	uint64_t tx_now, rx_now;
	uint64_t tx_rate, rx_rate; /* bytes per second over the last whole period */
	uint64_t probed_rate;      /* by a probe train; 0: never, or known better since */
};

void pace_init(struct pace *p, struct mono now);
/*
 * The lane is new beside another one of its link, right after pace_init(): the path is the same, and what
 * the other one has learnt of it holds.  A path that is full already has no room for the doubling of a
 * beginning, and its least round trip can't be seen now.  Where the path is another one after all, the next
 * drain shows it.
 */
void pace_join(struct pace *p, const struct pace *other);
/* Bytes left on the lane; app_limited: nothing more waits. */
void pace_sent(struct pace *p, size_t bytes, bool app_limited, struct mono now);
/* Bytes were acknowledged for the first time. */
void pace_acked(struct pace *p, size_t bytes, struct mono now);
void pace_received(struct pace *p, size_t bytes, struct mono now);
/*
 * A beat of the peer came, sent at peer_us of its clock.  How the difference of the clocks moves tells how
 * long the queue on the way back is: acknowledgements wait in it, which says nothing about what may be
 * sent.  Without this two sides that both send would take each other's queue for a slower path (LEDBAT
 * measures likewise, RFC 6817 section 2.2).
 */
void pace_back(struct pace *p, uint64_t peer_us, struct mono now);
/* A round-trip sample of the lane's heartbeats. */
void pace_rtt(struct pace *p, uint32_t rtt_us, struct mono now);
/* To be called for the other lanes of the link after pace_rtt(): lanes that share a bottleneck drain
 * together, or each takes the queue of the others for the path. */
void pace_drain_with(struct pace *p, const struct pace *other, struct mono now);
/* Bytes that may be unacknowledged now, the message to be sent included: whole messages, at least one.  It
 * also rises when time passes (a drain ends): who waits for it is to ask again with the next
 * acknowledgement or heartbeat. */
size_t pace_limit(struct pace *p, struct mono now);

/* 0: not known, also when there was never more to send than the path took. */
uint64_t pace_bandwidth_kbps(const struct pace *p);
uint32_t pace_utilisation_permille(
    struct pace *p, struct mono now); /* of the bandwidth, the busier direction */
uint64_t pace_tx_kbps(struct pace *p, struct mono now);
uint64_t pace_rx_kbps(struct pace *p, struct mono now);

/* The report of the train that was sent last, of full frames.  ERR_RANGE: of another, or impossible. */
int pace_probed(struct pace *p, uint32_t train, const struct probe *report, struct mono now) MUST_USE;

#endif
