/*
 * swim: membership: who is alive, by SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar, Phillips,
 * Currey 2018), without I/O: events and time in, effects out.
 *
 * Each interval a member is probed, in an order that is shuffled each round; without an ack in time,
 * others probe it; without any, it is suspected, and dead if it does not refute that before its suspicion
 * ends.  Statements travel on probes and acks and in gossip of their own; push/pull repairs what that
 * missed.  Payloads go to any node over the overlay: a member behind relays is as alive as a neighbour.
 *
 * The link-state database has a say (swim_linked):
 *   - while some live node has a link with a member, a failed probe makes it suspect as ever, but only a
 *     suspicion that lasts linked_mult times its maximum, in which nothing came from it, makes it dead;
 *   - a member that lost all its links is suspect at once, and dead unlinked_us later.  All nodes see that
 *     for themselves, so it is not gossiped, and it ends when the member has a link again;
 *   - a member that said goodbye has left when its links are gone, if it is known to have any.
 * A node whose timers fire late blames itself: its deadlines move by what it missed.  So does one that can't
 * speak to anybody (swim_sight): that it hears of nobody says nothing of others.
 *
 * Relays could alter what passes them.  A statement about this node can but make it refute; one about
 * another has to be plausible (incarnation of the start that its signed LSA has, bounded jumps), and with
 * conf.listed no statement makes a member: only swim_member() does.
 */
#ifndef ROUTERD_CORE_SWIM_H
#define ROUTERD_CORE_SWIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "routerd/core/limits.h"

struct swim;
struct swim_meta;

enum swim_state {
	SWIM_STATE_ALIVE,
	SWIM_STATE_SUSPECT,
	SWIM_STATE_DEAD,
	SWIM_STATE_LEFT,
	SWIM_STATE_COUNT,
};
const char *swim_state_name(enum swim_state state);

struct swim_conf {
	int64_t probe_interval_us, probe_timeout_us;
	int64_t gossip_interval_us;
	int64_t sync_interval_us;    /* push/pull with a random member */
	int64_t unlinked_us;         /* a member without links is dead after */
	int64_t dead_keep_us;        /* dead and left members are forgotten after, unless they are listed */
	uint16_t indirect;           /* members asked to probe for us */
	uint16_t gossip_nodes;       /* members that gossip goes to each interval */
	uint16_t suspicion_mult;     /* least suspicion: mult * max(1, log10 n) * probe_interval */
	uint16_t suspicion_max_mult; /* longest suspicion: times the least */
	uint16_t linked_mult;        /* longest suspicion of a member that has links: times the longest */
	uint16_t retransmit_mult;    /* a statement is sent mult * ceil(log10(n + 1)) times */
	size_t members_max;
	bool listed; /* members are those that swim_member() named */
};
/* The defaults of memberlist's LAN profile, but for what that does not have. */
void swim_conf_default(struct swim_conf *conf);

/* What this node can tell of others. */
enum swim_sight {
	SWIM_SIGHT_CLEAR,
	SWIM_SIGHT_DIM,  /* it can speak, and its paths are not back yet: who is not heard may be well */
	SWIM_SIGHT_NONE, /* it can't even speak */
};

enum swim_event {
	SWIM_EVENT_JOIN,    /* a member is new, or back from the dead or left */
	SWIM_EVENT_ALIVE,   /* a suspect refuted */
	SWIM_EVENT_SUSPECT, /* a member is suspected */
	SWIM_EVENT_DEAD,
	SWIM_EVENT_LEFT,
	SWIM_EVENT_META,    /* what a member says of itself is new */
	SWIM_EVENT_REFUTED, /* this node was suspected, and denied it */
	SWIM_EVENT_STALLED, /* this process stood still */
	SWIM_EVENT_COUNT,
};
const char *swim_event_name(enum swim_event ev);

/* Events of one sender ascend in ltime; what follows another one in time has a greater ltime. */
struct swim_user_event {
	uint64_t ltime;
	uint64_t node; /* that sent it, as is claimed */
	const char *name;
	const uint8_t *payload;
	size_t len;
};

/* Must not call back into swim; arguments are borrowed for the call. */
struct swim_ops {
	/* One GOSSIP payload to any node, over the overlay; may be lost. */
	void (*send)(void *arg, uint64_t node, const uint8_t *payload, size_t len);
	void (*event)(void *arg, enum swim_event ev, uint64_t node);
	void (*user_event)(void *arg, const struct swim_user_event *ev);
};

struct swim_counters {
	uint64_t payloads_received;  /* gossip payloads received */
	uint64_t payloads_sent;      /* gossip payloads sent */
	uint64_t bytes_received;     /* bytes of gossip payloads received */
	uint64_t bytes_sent;         /* bytes of gossip payloads sent */
	uint64_t payloads_malformed; /* gossip payloads that could not be read to the end */
	uint64_t payloads_strange;   /* gossip payloads from nodes that are no members */
	uint64_t implausible;        /* statements about members that can't be true */
	uint64_t probes;             /* probes of members */
	uint64_t probes_indirect;    /* probes that others were asked for */
	uint64_t probes_failed;      /* probes that nobody answered */
	uint64_t probes_for_others;  /* probes made for others */
	uint64_t suspected;          /* members that became suspect */
	uint64_t refuted;            /* suspects that refuted */
	uint64_t confirmed;          /* members that were found dead */
	uint64_t unlinked;           /* members found dead because they lost all links */
	uint64_t refutations;        /* suspicions of this node that it refuted */
	uint64_t stalls;             /* times that this process stood still */
	uint64_t members_refused;    /* members refused because the table is full */
	uint64_t broadcasts_dropped; /* statements dropped because too many wait */
	uint64_t syncs;              /* push/pulls begun */
	uint64_t syncs_limited;      /* push/pulls of others not answered because there are too many */
	uint64_t events_received;    /* user events received for the first time */
	uint64_t events_dropped;     /* user events that were too old, too far ahead or too many */
	uint64_t memory_out;         /* things not done because memory was out */
};

struct swim_info {
	uint64_t node, incarnation, meta_version;
	enum swim_state state;
	bool linked, neighbour;
	bool by_links;          /* its state follows from its links alone: it is not gossiped */
	uint32_t rtt_us;        /* of probes; 0: not known */
	struct mono changed_at; /* when its state changed */
	struct mono seen_at;    /* the last sign of life; MONO_ZERO: none yet */
	const uint8_t *meta;    /* as swim_meta_decode() takes it; NULL: not known */
	size_t meta_len;
};

/* ops is borrowed for the life of it.  NULL when memory is out. */
struct swim *swim_new(
    const struct swim_conf *conf, const struct swim_ops *ops, void *arg, uint64_t seed) MUST_USE;
void swim_free(struct swim *s);
/* New intervals; members_max and listed stay. */
void swim_configure(struct swim *s, const struct swim_conf *conf);

/* Who this node is; start is raised at each of its starts.  Before, nothing happens.  Also when that is
 * said again.  ERR_STATE: it has another id than before; ERR_RANGE: start is not below 2^32; ERR_NOMEM. */
int swim_identity(struct swim *s, uint64_t node, uint64_t start, struct mono now) MUST_USE;
/* What this node says about itself; what is measured of it travels slowly.  ERR_RANGE: it can't be said;
 * ERR_NOMEM. */
int swim_describe(struct swim *s, const struct swim_meta *meta, struct mono now) MUST_USE;

/* A gossip payload came from a node (as its frame claims). */
void swim_feed(struct swim *s, uint64_t from, const uint8_t *payload, size_t len, struct mono now);
/* Meets a node that may not know this one: push/pull with it at the next step. */
void swim_join(struct swim *s, uint64_t node);

/* What the link-state database has of a node, told whenever any of it changed.  A greater start than
 * before is a new life, a greater seq of its signed LSA after its death a sign of life, left a goodbye
 * that is signed.  ERR_FULL, ERR_RANGE, ERR_NOMEM. */
struct swim_listing {
	uint64_t node, start, seq;
	bool linked; /* there is a way to it, over links that both ends list */
	bool left;
};
int swim_list(struct swim *s, const struct swim_listing *l, struct mono now) MUST_USE;
/* A node is listed (its LSA is here, of this start); a greater start than before is a new life.
 * ERR_FULL, ERR_RANGE, ERR_NOMEM. */
int swim_member(struct swim *s, uint64_t node, uint64_t start, struct mono now) MUST_USE;
/* It is listed no more. */
void swim_forget(struct swim *s, uint64_t node);
/* Whether the link-state database has a way to it over links that both ends list. */
void swim_linked(struct swim *s, uint64_t node, bool linked, struct mono now);
/* Whether this node has a link with it: neighbours are probed more often. */
void swim_neighbour(struct swim *s, uint64_t node, bool neighbour);

/* Until it is clear again, nobody is probed, no suspicion ends, and lost links are no news; without any
 * sight, what is to be said waits, too.  Then the time until now does not count. */
void swim_sight(struct swim *s, enum swim_sight sight, struct mono now);

/* Tells all members something: 0, ERR_RANGE (name, length), ERR_STATE (no identity), ERR_NOMEM. */
int swim_user_event(
    struct swim *s, const char *name, const uint8_t *payload, size_t len, struct mono now) MUST_USE;
/* Says goodbye; go on stepping until swim_left(), or as long as there is time. */
void swim_leave(struct swim *s, struct mono now);
bool swim_left(const struct swim *s);

void swim_step(struct swim *s, struct mono now);
struct mono swim_next(struct swim *s);

/* To look at.  False: no such member. */
bool swim_get(const struct swim *s, uint64_t node, struct swim_info *out);
/* The first member at or after this node id, this node among them. */
bool swim_from(const struct swim *s, uint64_t node, struct swim_info *out);
const struct swim_counters *swim_counters(const struct swim *s);
struct swim_summary {
	size_t members, alive, suspect, dead, left, broadcasts;
	unsigned health; /* local health multiplier: 0 is well */
	enum swim_sight sight;
	uint64_t incarnation, clock;
};
void swim_show(const struct swim *s, struct swim_summary *out);

#endif
