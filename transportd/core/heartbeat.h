/*
 * heartbeat: is the neighbour alive, how far away is it, and how much gets lost.
 *
 * Each side sends a ping every interval; the other answers it at once with a pong that repeats number
 * and time, so the clocks of the two never have to agree.  Any traffic shows life; interval times
 * misses without any is death.  Pure: time is an argument.
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
};

enum heartbeat_kind { HEARTBEAT_PING = 1, HEARTBEAT_PONG = 2 };

struct beat {
	uint8_t kind;
	uint32_t seq;
	uint64_t time_us; /* of the pinger's clock */
};

struct heartbeat {
	int64_t interval_us;
	uint32_t misses;
	struct mono heard; /* last traffic from the neighbour */
	struct mono next_ping;
	uint32_t seq; /* of the last ping */
	struct mono sent;
	bool awaiting; /* its pong */
	uint64_t lost_bits;
	uint32_t lost_samples;
	uint32_t rtt_us;         /* smoothed; 0: not measured yet */
	uint32_t half_min_us[2]; /* minimum of this and the previous half window */
	struct mono half_until;
};

enum heartbeat_effect { HEARTBEAT_NOTHING = 0, HEARTBEAT_SEND_PING = 1, HEARTBEAT_DEAD = 2 };

void heartbeat_init(struct heartbeat *h, struct mono now, int64_t interval_us, uint32_t misses);
/* New settings for a living link; the next ping is due at once. */
void heartbeat_retune(struct heartbeat *h, struct mono now, int64_t interval_us, uint32_t misses);
/* Something arrived (or could not, because we did not read: then silence is our doing). */
void heartbeat_heard(struct heartbeat *h, struct mono now);
/* What is due; HEARTBEAT_SEND_PING fills *ping. */
enum heartbeat_effect heartbeat_step(struct heartbeat *h, struct mono now, struct beat *ping);
/* When heartbeat_step() has something to do. */
struct mono heartbeat_next(const struct heartbeat *h);
/* A pong arrived; old or invented ones are ignored.  True if it was measured. */
bool heartbeat_pong(struct heartbeat *h, const struct beat *pong, struct mono now);

uint32_t heartbeat_rtt_min_us(const struct heartbeat *h);
uint32_t heartbeat_loss_ppm(const struct heartbeat *h);

int beat_encode(const struct beat *b, struct buf *out) MUST_USE;
/* ERR_SHORT, ERR_LEFTOVER, ERR_FORMAT (kind). */
int beat_decode(const void *payload, size_t len, struct beat *out) MUST_USE;

#endif
