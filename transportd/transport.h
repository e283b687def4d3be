/*
 * transport: the one context of transportd, and what its parts know of each other.
 *
 *	ws -> conn -> link -> relay -> edge_consensus, edge_router
 *	                ^       |
 *	peer (dials) ---+       +-> fib (from edge_router)
 */
#ifndef TRANSPORTD_TRANSPORT_H
#define TRANSPORTD_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/idset.h"
#include "common/base/rng.h"
#include "transportd/backpressure.h"
#include "transportd/conn.h"
#include "transportd/core/barred.h"
#include "transportd/core/scale.h"
#include "transportd/edge_consensus.h"
#include "transportd/edge_gateway.h"
#include "transportd/edge_router.h"
#include "transportd/link.h"
#include "transportd/path.h"
#include "transportd/peer.h"
#include "transportd/relay.h"
#include "transportd/reroute.h"
#include "transportd/wish.h"

struct conf;
struct daemon;
struct fib;
struct loop;
struct resolver;
struct tls;
struct ws;

/* What mesh.conf(5) says, as numbers. */
struct settings {
	struct ulid mesh_id;
	int64_t heartbeat_us, stall_us, probe_us;
	uint32_t heartbeat_misses;
	unsigned lanes_max, bulk_lanes; /* of a link; always open */
	size_t lane_window;
	struct scale_conf scale;
	uint32_t backoff_min_ms, backoff_max_ms;
	int64_t handshake_ms;
	size_t link_queue, tenant_quota, stream_quota, path_window;
	uint64_t denied[DENIED_MAX];
	size_t denied_count;
	unsigned links_max, pending_max;
};

/* Who this node is; consensusd tells, and it is kept while consensusd restarts. */
struct identity {
	bool known;
	uint64_t node_id;
	uint8_t public_key[32];
	uint64_t incarnation;
	char name[NODE_NAME_SIZE];
};

struct transport {
	struct daemon *daemon;
	struct loop *loop;
	struct settings set;
	struct identity identity;
	struct idset evicted; /* from the mesh; consensusd tells, and it is kept while that restarts */
	struct barred barred; /* tenants not to be relayed; consensusd tells, likewise */
	struct rng rng;       /* jitter */
	struct tls *tls;
	struct ws *ws;
	struct conns conns;
	struct links links;
	struct peers peers;
	struct wishes wishes;
	mesh_ipc_Addresses advertised; /* where others can dial this node */
	struct resolver *resolver;
	struct fib *fib;
	struct relay *relay;
	struct paths paths;
	struct holds holds;
	struct channel_server *server;
	struct edge_router router;
	struct edge_consensus consensus;
	struct edge_gateway gateway;
	struct mono turn; /* when the bytes or the message that are being handled came */
	uint64_t started_unix_ms;
	bool stopping;
	struct loop_timer *stop_timer;
	uint64_t stop_unix_ms; /* then it stops, whoever has not closed yet */
};

void settings_read(struct settings *s, const struct conf *c);
/* Is the node one that no link is held with? */
bool settings_denied(const struct settings *s, uint64_t node);
/* A new identity arrived.  ERR_RANGE (logged) if it belongs to another mesh. */
int transport_identity(
    struct transport *t, const struct ulid *mesh_id, const struct identity *fresh) MUST_USE;

/* NULL: links with the node may be held.  Else what it is told of the reason, which may be "". */
const char *transport_denied(const struct transport *t, uint64_t node);
/* Replaces the set of evicted nodes, and ends their links.  Errors as of idset_decode(). */
int transport_evicted(struct transport *t, const uint8_t *body, size_t len) MUST_USE;

#endif
