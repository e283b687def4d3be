/*
 * router_impl: the router's insides, for the files that make it up.
 */
#ifndef ROUTERD_CORE_ROUTER_IMPL_H
#define ROUTERD_CORE_ROUTER_IMPL_H

#include "common/base/rng.h"
#include "routerd/core/graph.h"
#include "routerd/core/linkstate.h"
#include "routerd/core/neighbour.h"
#include "routerd/core/origin.h"
#include "routerd/core/router.h"
#include "routerd/core/spf.h"

/* What transportd has of our FIB. */
enum fib_state {
	FIB_AWAY,  /* there is no transportd */
	FIB_LINKS, /* its links are not all here yet */
	FIB_WAIT,  /* the whole FIB is to be sent, when neighbours have told what they know */
	FIB_LIVE,  /* it has all; differences follow */
};

struct router {
	struct router_conf conf;
	const struct router_ops *ops;
	void *arg;
	struct rng rng;
	struct router_counters counters;

	bool identified, signer;
	struct mono settle_by; /* what changes before the links are all here is advertised then */
	struct router_identity self;
	struct origin origin;
	struct node_about about;        /* what the own LSA says beside its links */
	uint8_t tlv[LSA_TLV_MAX_BYTES]; /* of the LSA being made */
	struct lsdb db;
	struct neighbour_table neighbours;
	struct mono check_at; /* a random neighbour's database is compared */

	bool spf_wanted;
	struct mono spf_at;   /* not before this */
	struct mono spf_last; /* when it last ran */
	int64_t spf_wait_us;  /* grows while computations follow each other closely */
	struct graph graph, graph_before;
	struct spf spf;
	struct fib fib;
	enum fib_state fib_state;
	struct mono fib_from, fib_by; /* FIB_WAIT: not before, and at the latest at, this */

	uint64_t writing_to; /* the neighbour that writer's payloads go to */
	struct linkstate_writer writer;
	struct lsa lsa; /* being decoded or made */
};

/* --- paths.c: from the database to routes and states of nodes --- */

/* Paths have to be computed; at once if urgent, else after the delay. */
void paths_want(struct router *r, struct mono now, bool urgent);
/* Computes them if it is time, and installs the FIB or what changed of it. */
void paths_step(struct router *r, struct mono now);
struct mono paths_next(struct router *r);
/* transportd is there and has told its links; or it is gone. */
void paths_transport_up(struct router *r, struct mono now);
void paths_transport_down(struct router *r);
/* Tells of a node whose LSA changed in nothing that paths depend on. */
void paths_refreshed(struct router *r, struct lsdb_entry *e);
/* An LSA is about to end. */
void paths_ended(struct router *r, struct lsdb_entry *e);

/* --- exchange.c: with neighbours --- */

/* All neighbours but one (0: all) shall have this node's LSA. */
void exchange_flood(struct router *r, uint64_t node, uint64_t but, struct mono now);
/* Compares databases with a random neighbour from time to time. */
void exchange_check(struct router *r, struct mono now);
/* Sends what each neighbour is due. */
void exchange_step(struct router *r, struct mono now);
struct mono exchange_next(struct router *r);

#endif
