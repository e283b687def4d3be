/*
 * swim_impl: the insides of swim, for the files that make it up.
 */
#ifndef ROUTERD_CORE_SWIM_IMPL_H
#define ROUTERD_CORE_SWIM_IMPL_H

#include "common/base/buf.h"
#include "common/base/frame.h"
#include "common/base/rng.h"
#include "routerd/core/bucket.h"
#include "routerd/core/swim.h"
#include "routerd/core/swim_broadcast.h"
#include "routerd/core/swim_member.h"
#include "routerd/core/swim_meta_body.h"
#include "routerd/core/swim_msg.h"
#include "routerd/core/swim_probe.h"
#include "routerd/core/swim_suspicion.h"
#include "routerd/core/swim_user.h"

_Static_assert(1 + SWIM_MSG_MAX_BYTES <= FRAME_PAYLOAD_MAX_BYTES, "a digest fits a frame");
_Static_assert(SWIM_META_MAX_BYTES + SWIM_MSG_HEAD_BYTES + 32 < SWIM_PACKET_BYTES, "meta fits a packet");

struct swim {
	struct swim_conf conf;
	const struct swim_ops *ops;
	void *arg;
	struct rng rng;
	struct swim_counters counters;

	struct swim_member *self; /* NULL: not known yet */
	bool leaving;
	struct swim_members members;
	struct swim_broadcasts broadcasts;
	unsigned health; /* local health multiplier */
	enum swim_sight sight;
	struct mono dim_since; /* when it was last clear */
	struct mono due;       /* when swim_step() was to be called; later: this process stood still */

	struct swim_probes probes;
	struct swim_users users;

	struct mono gossip_at, gossip_last;
	struct mono sync_at;
	struct mono described_at;
	uint64_t meet; /* push/pull with this one until it answers; 0: nobody */
	unsigned meet_tries;
	struct mono meet_at;
	/* Whose digests are looked at: those that were asked, or that asked, a short while ago. */
	struct swim_talk {
		uint64_t node;
		struct mono until;
	} talks[SWIM_TALKS_MAX];
	size_t talk_next;
	struct bucket sync_rate; /* answers to push/pulls of others */

	struct buf packet; /* being written */
	uint8_t mem[FRAME_PAYLOAD_MAX_BYTES];
};

#define SWIM_START(incarnation) ((incarnation) >> 32)

/* --- swim.c --- */
void swim_tell(struct swim *s, enum swim_event ev, uint64_t node);
void swim_health(struct swim *s, int delta);
/* A duration, longer the worse this node is. */
int64_t swim_scaled(const struct swim *s, int64_t us);

/* --- swim_send.c: payloads --- */
/* One message, what its receiver should know of itself, and as much gossip as fits. */
void swim_send(struct swim *s, uint64_t to, const struct swim_msg *m);
/* Gossip alone, to random members, if there is any. */
void swim_send_gossip(struct swim *s, struct mono now);
struct mono swim_send_next(const struct swim *s);
/* Several messages to one node, in as few payloads as they fit. */
void swim_send_open(struct swim *s);
void swim_send_add(struct swim *s, uint64_t to, const struct swim_msg *m);
void swim_send_close(struct swim *s, uint64_t to);
/* It is thought to be suspect or gone, and should know: sent if that was not just done. */
void swim_send_buddy(struct swim *s, struct swim_member *m, struct mono now);
/* Queues a statement about a member. */
void swim_spread(struct swim *s, struct swim_member *m, enum swim_kind kind, uint64_t from);
void swim_spread_meta(struct swim *s, struct swim_member *m);

/* --- swim_state.c: what statements do to members --- */
void swim_state_apply(struct swim *s, const struct swim_msg *m, struct mono now);
/* This node's own finding. */
void swim_state_suspect(struct swim *s, struct swim_member *m, struct mono now);
/* A new member that is alive, of which nobody is told; then likewise with an event. */
int swim_state_place(
    struct swim *s, uint64_t node, uint64_t incarnation, struct mono now, struct swim_member **out) MUST_USE;
void swim_state_set(struct swim *s, struct swim_member *m, enum swim_state state, struct mono now);
/* A new member that is alive: 0, ERR_FULL, ERR_NOMEM. */
int swim_state_add(
    struct swim *s, uint64_t node, uint64_t incarnation, struct mono now, struct swim_member **out) MUST_USE;
/* It is alive, unless it has no links: then it is as soon as it has some. */
void swim_state_revive(struct swim *s, struct swim_member *m, struct mono now);
/* An alive one becomes suspect.  from: who suspects it; 0: its links are gone. */
void swim_state_begin(struct swim *s, struct swim_member *m, uint64_t from, struct mono now);
/* Dead, or left if it said goodbye. */
void swim_state_end(struct swim *s, struct swim_member *m, uint64_t from, struct mono now);
/* Suspicions that end, dead members that are forgotten. */
void swim_state_step(struct swim *s, struct mono now);
struct mono swim_state_next(const struct swim *s);
/* This process stood still for so long. */
void swim_state_shift(struct swim *s, int64_t us);
/* The message that tells of a member's state. */
void swim_state_message(const struct swim *s, const struct swim_member *m, struct swim_msg *out);
void swim_state_meta_message(const struct swim_member *m, struct swim_msg *out);

/* --- swim_pushpull.c --- */
/* Until the next push/pull. */
int64_t swim_pushpull_wait(struct swim *s);
void swim_pushpull_step(struct swim *s, struct mono now);
void swim_pushpull_asked(struct swim *s, const struct swim_msg *m, uint64_t from, struct mono now);
void swim_pushpull_digest(struct swim *s, const struct swim_msg *m, uint64_t from, struct mono now);

#endif
