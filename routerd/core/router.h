/*
 * router: the whole of routerd's logic, without I/O: events and time in, effects out.
 *
 * Events change state; router_step() does what is due (paths, the own LSA, what neighbours are to be
 * told), and router_next() says when that will be: in the past if right after an event.  Effects are
 * calls of router_ops, which must not call back into the router and may borrow their arguments for the
 * call only.  Everything that memory shortage prevents is done again later.
 *
 * Order that holds: a neighbour's database is here before its adjacency is advertised (as RFC 2328
 * section 10 has it); an LSA is verified before it is stored, and stored before it is acknowledged or
 * flooded; the whole FIB is sent before differences to it.
 */
#ifndef ROUTERD_CORE_ROUTER_H
#define ROUTERD_CORE_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "routerd/core/fib.h"
#include "routerd/core/lsa.h"
#include "routerd/core/lsdb.h"
#include "routerd/core/tlv.h"

struct router;

struct router_conf {
	int64_t lsa_refresh_us, lsa_max_age_us, spf_delay_us;
	size_t nodes_max;
	char software[LSA_SOFTWARE_SIZE]; /* version of the suite, for the LSA */
	size_t paths_max;                 /* to a used destination, up to ROUTE_PATHS_MAX; 0 is 1 */
	uint32_t hysteresis_percent;      /* below 100: see choice.h */
	struct cost_coefficients cost[FRAME_CLASS_COUNT]; /* by traffic class */
};

struct router_identity {
	uint64_t node;
	uint64_t incarnation;
	uint8_t pubkey[LSA_PUBKEY_BYTES];
	char name[NODE_NAME_SIZE];
	char region[NODE_NAME_SIZE];
};

/* A link as transportd describes it. */
struct router_link {
	uint64_t peer;
	uint64_t since_unix_ms;
	uint32_t rtt_us, bandwidth_kbps, loss_ppm;
	uint16_t utilisation_permille;
	uint16_t weight; /* set by the operator */
};

enum router_event {
	ROUTER_NODE_UP,       /* a: node */
	ROUTER_NODE_DOWN,     /* a: node; no path to it any more */
	ROUTER_NODE_LEFT,     /* a: node */
	ROUTER_LINK_UP,       /* a, b: its ends, a < b; both list it */
	ROUTER_LINK_DOWN,     /* a, b */
	ROUTER_LINK_DEGRADED, /* a: who measures it, b: the other end; see quality.h */
	ROUTER_LINK_WELL,     /* a, b; again */
	ROUTER_PATH_CHANGED,  /* a: destination */
	ROUTER_SYNCED,        /* a: neighbour; its database is here */
	ROUTER_LSA_FORGED,    /* a: neighbour it came from, b: node it claims to be of */
	ROUTER_LSA_MALFORMED, /* a: neighbour */
	ROUTER_LSDB_FULL,     /* a: node that was refused */
	ROUTER_NODE_EVICTED,  /* a: node */
	ROUTER_REISSUED,      /* a newer LSA of this node was out there; a: neighbour */
};
const char *router_event_name(enum router_event ev);

struct router_ops {
	/* 0 if the signature is the key's, and the key is the node's. */
	int (*verify)(void *arg, const struct lsa *lsa, const uint8_t *raw, size_t raw_len);
	/* One LINK_STATE payload to a neighbour; may be lost. */
	void (*send)(void *arg, uint64_t neighbour, const uint8_t *payload, size_t len);
	/* Sign this; the answer is router_signature(ticket). */
	void (*sign)(void *arg, uint32_t ticket, const uint8_t *text, size_t len);
	/* fib_begin, route_set for all, fib_end: the whole FIB.  Otherwise differences.  Not 0: it could
	 * not be passed on, and the whole FIB follows later. */
	int (*fib_begin)(void *arg, uint64_t version);
	int (*route_set)(void *arg, uint64_t destination, uint8_t class_mask, const struct fib_paths *p);
	int (*route_del)(void *arg, uint64_t destination);
	int (*fib_end)(void *arg, uint64_t version);
	/* A node is new, or its state or LSA changed. */
	void (*node)(void *arg, const struct lsdb_entry *e);
	void (*event)(void *arg, enum router_event ev, uint64_t a, uint64_t b);
	/* A new LSA of another node carries the wish for full links; it may be an old one. */
	void (*wish)(void *arg, uint64_t node, uint64_t unix_ms);
};

struct router_counters {
	uint64_t lsa_received;         /* LSAs that neighbours sent */
	uint64_t lsa_accepted;         /* LSAs that were newer and valid */
	uint64_t lsa_duplicate;        /* LSAs that were here already */
	uint64_t lsa_stale;            /* LSAs older than the one here */
	uint64_t lsa_expired;          /* LSAs beyond their maximum age */
	uint64_t lsa_forged;           /* LSAs with a bad signature or key */
	uint64_t lsa_limited;          /* LSAs dropped because their origin sends too many */
	uint64_t lsa_refused;          /* LSAs of new nodes refused because the database is full */
	uint64_t lsa_evicted;          /* LSAs refused because their node was evicted */
	uint64_t lsa_quarantined;      /* LSAs ignored because their neighbour sent forged ones */
	uint64_t lsa_aged_out;         /* LSAs removed because they were not refreshed */
	uint64_t lsa_originated;       /* LSAs of this node made and signed */
	uint64_t lsa_reissued;         /* newer LSAs of this node from before a restart */
	uint64_t lsa_sent;             /* LSAs sent to neighbours */
	uint64_t lsa_resent;           /* LSAs sent again for lack of an acknowledgement */
	uint64_t adjacencies_left_out; /* adjacencies that did not fit the LSA of this node */
	uint64_t signatures_refused;   /* signatures that were refused or not valid */
	uint64_t payloads_received;    /* link-state payloads received */
	uint64_t payloads_sent;        /* link-state payloads sent */
	uint64_t payloads_malformed;   /* link-state payloads that could not be read to the end */
	uint64_t payloads_unexpected;  /* link-state payloads from nodes that are no neighbours */
	uint64_t digests_sent;         /* digests of the database sent */
	uint64_t sync_given_up;        /* LSAs that a neighbour announced and did not send */
	uint64_t spf_runs;             /* path computations */
	uint64_t alternatives_runs;    /* destinations whose alternatives were computed */
	uint64_t links_damped;         /* times a link became damped */
	uint64_t routes_changed;       /* routes added, changed or removed */
	uint64_t fib_whole;            /* times the whole FIB was installed */
	uint64_t memory_out;           /* things put off because memory was out */
};

/* ops is borrowed for the life of the router.  NULL when memory is out. */
struct router *router_new(
    const struct router_conf *conf, const struct router_ops *ops, void *arg, uint64_t seed) MUST_USE;
void router_free(struct router *r);
/* New intervals and costs; nodes_max stays. */
void router_configure(struct router *r, const struct router_conf *conf, struct mono now);

/* Who this node is, and that signatures can be had; also when that is said again.  ERR_STATE: it has
 * another id than before.  ERR_FORMAT: it can't be said in an LSA. */
int router_identity(struct router *r, const struct router_identity *id, struct mono now) MUST_USE;
/* Signatures can't be had for now; the identity stays. */
void router_signer_down(struct router *r);
/* sig NULL: refused. */
void router_signature(struct router *r, uint32_t ticket, const uint8_t *sig, struct mono now);

/* Links: a snapshot (begin, link…, end), then changes.  Links that the snapshot lacks are down. */
void router_links_begin(struct router *r);
int router_link(struct router *r, const struct router_link *l, struct mono now) MUST_USE;
void router_links_end(struct router *r, struct mono now);
void router_link_down(struct router *r, uint64_t peer, struct mono now);
/* No transportd, no links, and no paths; but that is no news of others (router_blind), until there are paths
 * to all that were reachable, or until RETURN_US after its return. */
void router_transport_down(struct router *r, struct mono now);

/* Where this node can be dialled: goes into its LSA. */
void router_addresses(struct router *r, const struct address_list *list);
/* What this node offers and is able to do: goes into its LSA, too. */
void router_labels(
    struct router *r, const struct label_list *services, const struct label_list *capabilities);
/* This node was asked for full links: goes into its LSA, too. */
void router_wish(struct router *r, uint64_t unix_ms);
/* Membership found a node dead although others list it: no path leads to or through it until it gives a
 * newer LSA, or membership takes that back (dead false). */
void router_node_dead(struct router *r, uint64_t node, bool dead, struct mono now);
/* Which nodes may not be in the mesh any more, as another daemon sent it: what is known of them is dropped,
 * and their LSAs are refused.  Errors as of idset_decode(): as before. */
int router_evicted(struct router *r, const uint8_t *body, size_t len, struct mono now) MUST_USE;
/* A new router takes over from another, of which nothing else holds any more, which nodes these are. */
void router_inherit(struct router *r, struct router *before);
/* This node says goodbye: its LSA says so, and nobody sends anything over it or to it any more.  For as long
 * as this router lives. */
void router_leave(struct router *r);
/* Is there a link with this node? */
bool router_linked(struct router *r, uint64_t node);
/* Is there a transportd? */
bool router_transport(const struct router *r);
/* Is it away, or back for so short a time that a node without a path may be as well as before? */
bool router_blind(const struct router *r);

/* Data is sent to this node, or no longer: see demand.h.  Forgotten with the transportd that told it.
 * ERR_FULL: of too many; ERR_NOMEM. */
int router_used(struct router *r, uint64_t node, bool used) MUST_USE;

/* A LINK_STATE payload came from a neighbour. */
void router_feed(struct router *r, uint64_t neighbour, const uint8_t *payload, size_t len, struct mono now);

void router_step(struct router *r, struct mono now);
struct mono router_next(struct router *r);

/* To look at: borrowed, not to be changed. */
const struct router_identity *router_self(const struct router *r); /* NULL: not known */
struct lsdb *router_lsdb(struct router *r);
struct fib *router_fib(struct router *r);
const struct cost_profiles *router_profiles(const struct router *r);
const struct router_counters *router_counters(const struct router *r);
struct router_summary {
	size_t links, links_synced, nodes, nodes_alive, routes, lsdb_bytes;
	bool signer, transport, fib_installed, blind;
	uint64_t fib_version;
	size_t paths;   /* in the FIB */
	size_t waiting; /* destinations whose alternatives are to be computed */
	size_t links_damped;
	size_t used; /* destinations that data is sent to */
};
void router_show(struct router *r, struct router_summary *out);

#endif
