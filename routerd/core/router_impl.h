/*
 * router_impl: the router's insides, for the files that make it up.
 */
#ifndef ROUTERD_CORE_ROUTER_IMPL_H
#define ROUTERD_CORE_ROUTER_IMPL_H

#include "common/base/rng.h"
#include "routerd/core/damp.h"
#include "routerd/core/demand.h"
#include "routerd/core/graph.h"
#include "routerd/core/ksp.h"
#include "routerd/core/linkstate.h"
#include "routerd/core/neighbour.h"
#include "routerd/core/origin.h"
#include "routerd/core/router.h"

/* What transportd has of our FIB. */
enum fib_state {
	FIB_AWAY,  /* there is no transportd */
	FIB_LINKS, /* its links are not all here yet */
	FIB_WAIT,  /* the whole FIB is to be sent, when neighbours have told what they know */
	FIB_LIVE,  /* it has all; differences follow */
};

/* routes.c: the topology, and what the last change of it may have made better. */
struct routes {
	struct graph graphs[2]; /* the one in use, and that from before */
	size_t used;
	struct ksp ksp[COST_PROFILES_MAX]; /* of the one in use, by profile */
	bool current;                      /* they belong together */
	bool gained;                       /* links came: any destination may have a better alternative */
	size_t cheaper_count;
	struct {
		uint32_t from, edge;
	} cheaper[PATHS_CHEAPER_MAX];    /* links that cost less than before */
	bool sweep;                      /* all destinations are to be looked at again … */
	struct mono sweep_at;            /* … then */
	struct mono now;                 /* of the computation at hand */
	struct mono urgent_at, slice_at; /* alternatives: not before; those in the background */
};

struct router {
	struct router_conf conf;
	const struct router_ops *ops;
	void *arg;
	struct rng rng;
	struct router_counters counters;

	bool identified, signer, leaving;
	struct mono settle_by; /* what changes before the links are all here is advertised then */
	struct router_identity self;
	struct origin origin;
	struct mono refresh_old_at;     /* of the own LSA, if there are nodes that go by their own clock */
	struct node_about about;        /* what the own LSA says beside its links */
	uint8_t tlv[LSA_TLV_MAX_BYTES]; /* of the LSA being made */
	struct lsdb db;
	struct neighbour_table neighbours;
	struct mono check_at; /* a random neighbour's database is compared */

	bool spf_wanted;
	struct mono spf_at;   /* not before this */
	struct mono spf_last; /* when it last ran */
	int64_t spf_wait_us;  /* grows while computations follow each other closely */
	struct cost_profiles profiles;
	struct damp damp;
	struct demand demand;
	struct routes routes;
	struct fib fib;
	enum fib_state fib_state;
	struct mono fib_from, fib_by;         /* FIB_WAIT: not before, and at the latest at, this */
	bool blind;                           /* that there is no path to a node is no news of it … */
	struct mono blind_since, blind_until; /* … until then; MONO_NEVER: while there is no transportd */
	bool missed;                          /* some node is, by the last computation */

	uint64_t writing_to; /* the neighbour that writer's payloads go to */
	struct linkstate_writer writer;
	struct lsa lsa;                         /* being decoded or made */
	struct lsa_adj adj_before[LSA_ADJ_MAX]; /* of its node, in the LSA that it replaces */
};

/* --- routes.c: from the database to the FIB --- */

void routes_init(struct router *r);
void routes_fini(struct router *r);
/* The topology as it is now, and the best path to each node.  ERR_NOMEM: the old ones stay. */
int routes_rebuild(struct router *r, struct mono now) MUST_USE;
/* Gives a node the best paths and those of its others that are left: 1, 0 if there is no path, ERR_NOMEM.
 * *hops: of the best path for the first class.  Whether it needs new alternatives is noted. */
int routes_update(struct router *r, uint64_t node, uint32_t *hops) MUST_USE;
/* Everything before the first routes_update() after routes_rebuild(), and after the last. */
void routes_begin(struct router *r);
void routes_end(struct router *r, bool complete);
/* Computes alternatives if it is time, but no more than a slice: ERR_NOMEM. */
int routes_slice(struct router *r, struct mono now) MUST_USE;
/* Whether data is sent to a destination is another matter now: so is how many alternatives it has. */
void routes_demand(struct router *r, uint64_t node, bool used);
/* When there is more; MONO_NEVER. */
struct mono routes_next(const struct router *r);
/* Sends all paths of a route: router_ops.route_set()'s errors. */
int routes_send(struct router *r, const struct fib_route *route) MUST_USE;

/* --- router.c --- */

/* Stores r->lsa as lsdb_put() does, and tells which of its links have become bad, or well again. */
int router_put(struct router *r, const uint8_t *raw, size_t len, struct mono born, struct mono now,
    struct lsdb_entry **out, bool *topology) MUST_USE;

/* --- paths.c: when paths are computed, states of nodes, the whole FIB --- */

/* How soon paths have to be computed. */
enum paths_hurry {
	PATHS_AT_ONCE,
	PATHS_LOST, /* a link of others is gone: soon, however often that happens */
	PATHS_LATER /* after a delay that grows while computations follow each other */
};
void paths_want(struct router *r, struct mono now, enum paths_hurry hurry);
/* What transportd has is not what we think: it gets everything again, in a while. */
void paths_fib_lost(struct router *r, struct mono now);
/* Costs or numbers of paths are others now. */
void paths_configured(struct router *r, bool costs, struct mono now);
/* Computes them if it is time, and installs the FIB or what changed of it. */
void paths_step(struct router *r, struct mono now);
struct mono paths_next(struct router *r);
/* transportd is there and has told its links; or it is gone. */
void paths_transport_up(struct router *r, struct mono now);
void paths_transport_down(struct router *r, struct mono now);
/* Tells of a node whose LSA changed in nothing that paths depend on. */
void paths_refreshed(struct router *r, struct lsdb_entry *e);
/* An LSA is about to end. */
void paths_ended(struct router *r, struct lsdb_entry *e);
/* Likewise, because its node may not be in the mesh any more. */
void paths_evicted(struct router *r, struct lsdb_entry *e);

/* --- exchange.c: with neighbours --- */

/* All neighbours but one (0: all) shall have this node's LSA. */
void exchange_flood(struct router *r, uint64_t node, uint64_t but, struct mono now);
/* Compares databases with a random neighbour from time to time. */
void exchange_check(struct router *r, struct mono now);
/* Sends what each neighbour is due. */
void exchange_step(struct router *r, struct mono now);
struct mono exchange_next(struct router *r);

#endif
