/*
 * swim_probe: asks members whether they are there, for this node and for others.
 *
 * A probe: a ping, after the probe timeout a ping-req to some other members, and failure at the end of
 * the interval.  Helpers that get no ack themselves say so (nack): their silence is this node's own
 * trouble (Lifeguard, section IV.A).  Timeouts grow with the round trip time that is known of a member.
 */
#ifndef ROUTERD_CORE_SWIM_PROBE_H
#define ROUTERD_CORE_SWIM_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "routerd/core/limits.h"

struct swim;
struct swim_msg;

enum swim_lane { SWIM_LANE_ALL, SWIM_LANE_NEAR };

struct swim_probe {
	bool active, indirect;
	uint64_t target;
	uint32_t seq;
	struct mono start_at;            /* of the next one */
	struct mono indirect_at, end_at; /* of this one */
	uint8_t helper_count, nack_count;
	bool nacked[SWIM_HELPERS_MAX];
	uint64_t helpers[SWIM_HELPERS_MAX];
};

/* A ping that was sent, for the round trip time. */
struct swim_trail {
	uint32_t seq; /* 0: none */
	uint64_t target;
	struct mono sent;
};

/* A probe made for another node. */
struct swim_relay {
	uint64_t origin, target; /* origin 0: free */
	uint32_t seq, origin_seq;
	bool nacked;
	struct mono nack_at, end_at;
};

struct swim_probes {
	uint32_t seq;
	struct swim_probe lanes[SWIM_PROBES];
	struct swim_trail trails[SWIM_TRAILS_MAX];
	size_t trail_next, relay_count;
	struct swim_relay relays[SWIM_RELAYS_MAX];
};

void swim_probe_start(struct swim *s, struct mono now);
void swim_probe_step(struct swim *s, struct mono now);
struct mono swim_probe_next(const struct swim *s);
/* This process stood still for so long. */
void swim_probe_shift(struct swim *s, int64_t us);
/* It has just shown that it is there. */
void swim_probe_cancel(struct swim *s, uint64_t target);
/* The probes that run have no meaning any more; new ones begin after a while. */
void swim_probe_restart(struct swim *s, struct mono now);
/* PING, PING_REQ, ACK, NACK. */
void swim_probe_message(struct swim *s, const struct swim_msg *m, uint64_t from, struct mono now);

#endif
