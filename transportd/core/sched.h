/*
 * sched: frames that wait on one link, and which of them goes next on each lane.
 *
 * Classes come strictly in order: control, system, db, client.  Within class client the streams of a
 * lane take turns by deficit round robin (Shreedhar and Varghese 1995), so that one that floods
 * costs the others nothing; the other classes are one queue each.  A stream is pinned to the lane it
 * began on, and moves only when that lane goes: then sched_move() takes all it has along, and
 * what was sent on the dead lane and has not arrived goes in front with sched_resend().
 *
 * Bounded in bytes, checked when a frame comes: per stream, per tenant (of one source) and for the
 * link client data is refused above the limit; the other classes may fill a reserve on top of the
 * link's, so that bulk never keeps control out.  Streams are told apart up to LINK_FLOWS_MAX; further
 * ones share one turn.  Frames are copied into blocks that grow with what a stream has queued: no
 * allocation per frame in steady traffic.
 */
#ifndef TRANSPORTD_CORE_SCHED_H
#define TRANSPORTD_CORE_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/frame.h"
#include "common/base/must.h"
#include "transportd/core/limits.h"

struct sched;

/* Where the flows of a lane are kept that has died and whose peer has not told yet what it got. */
enum { SCHED_PARKED = LANES_MAX, SCHED_LANES = LANES_MAX + 1 };

struct sched_limits {
	size_t link_bytes, reserve_bytes, tenant_bytes, stream_bytes;
};

/* Who a frame belongs to, from its hop header. */
struct sched_key {
	uint64_t src;
	uint32_t flow; /* tenant in the upper half */
	uint8_t class;
};

/* seed: random, see keytab.h. */
struct sched *sched_new(const struct sched_limits *limits, uint64_t seed) MUST_USE;
void sched_free(struct sched *s);
/* New limits hold for what comes; nothing is thrown away. */
void sched_set_limits(struct sched *s, const struct sched_limits *limits);

/* The lane that the frame's stream is pinned to, or -1: it is free to choose.  Classes other than
 * client are never pinned (-1). */
int sched_lane(struct sched *s, const struct sched_key *k);

/* Room for one frame of size bytes on the lane (which becomes the stream's if it had none; a stream
 * that has one keeps it); write it to *out and sched_commit() it before anything else.
 * Not committed, the room is forgotten by the next call.  ERR_FULL (link), ERR_LIMIT (tenant or stream
 * quota), ERR_NOMEM. */
int sched_reserve(
    struct sched *s, const struct sched_key *k, unsigned lane, size_t size, uint8_t **out) MUST_USE;
void sched_commit(struct sched *s, size_t size);
/* The same for a striped frame: queued on the lane whatever its stream is pinned to, in the turn that the
 * striped ones have there; counted on its stream. */
int sched_reserve_striped(
    struct sched *s, const struct sched_key *k, unsigned lane, size_t size, uint8_t **out) MUST_USE;

/* Moves whole frames of the lane into out while they fit cap bytes; the bytes moved, and in *frames how
 * many.  0 if nothing waits or the next one does not fit. */
size_t sched_take(struct sched *s, unsigned lane, uint8_t *out, size_t cap, unsigned *frames);

/* A copy of a frame that was lost with a lane: goes before all that waits in its class on this lane.
 * Frames come in the order in which they were sent; before or after the sched_move() of what waited on
 * the dead lane.  Not refused by limits, and leaves the classes other than client their room.  ERR_NOMEM. */
int sched_resend(struct sched *s, unsigned lane, uint8_t class, const uint8_t *frame, size_t size) MUST_USE;
/* Everything of one lane (or SCHED_PARKED) goes to another, in order, behind what it has, but what
 * is to be resent stays in front. */
void sched_move(struct sched *s, unsigned from, unsigned to);

/* The same for one class other than client, whose streams stay.  ERR_NOMEM: nothing has moved. */
int sched_move_class(struct sched *s, unsigned from, unsigned to, uint8_t class) MUST_USE;
/* The same for class client with its streams; the other classes stay. */
int sched_move_streams(struct sched *s, unsigned from, unsigned to) MUST_USE;

/* Every second stream of a lane goes to another with what it has queued: a lane has been added.  Streams of
 * the crowd and striped frames stay, and all if something waits to be resent there.  ERR_NOMEM: none has
 * moved. */
int sched_spread(struct sched *s, unsigned from, unsigned to) MUST_USE;

bool sched_lane_empty(const struct sched *s, unsigned lane);
size_t sched_lane_bytes(const struct sched *s, unsigned lane);
/* Of all lanes, queued for resending too. */
size_t sched_bytes(const struct sched *s);
size_t sched_frames(const struct sched *s);
size_t sched_memory(const struct sched *s); /* bytes allocated */
size_t sched_flows(const struct sched *s);  /* streams known */
/* Above half of the link's limit: time to mark and to hold.  Below a quarter: time to release. */
bool sched_high(const struct sched *s);
bool sched_low(const struct sched *s);
/* Whether the frame's stream has more than stream_bytes queued, or it or its tenant more than half of its
 * quota: time to mark this one.  False for classes other than client. */
bool sched_key_over(struct sched *s, const struct sched_key *k, size_t stream_bytes);

#endif
