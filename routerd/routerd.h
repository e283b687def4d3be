/*
 * routerd: the daemon's one context, and how its files are put together.
 *
 *	main.c           checklist table, sandbox
 *	routerd.c        configuration, start and end
 *	engine.c         the core: its timer, its effects, verification
 *	peer_transport.c client of transportd: links, frames, FIB
 *	api_consensus.c  server for consensusd: identity, signatures, nodes
 *	api_gateway.c    server for gatewayd: lists, status, metrics, events
 *	members.c        the membership core: who is alive
 *	nodemeta.c       what it is told of this node
 *	pathstate.c      the paths that transportd has left
 *	wish.c           links between all nodes: asked for here, or at another node
 *	known.c          nodes known before the last restart, for a node that has no link
 *	topology.c       all links of the mesh for consensusd's database
 *	report.c         database and routes as messages of the API; report_member.c: what membership adds;
 *	                 report_event.c: events
 *	counters.c       the core's counters as metrics
 *
 * routerd opens no file and no network socket after its start: its sandbox has nothing beside what
 * every daemon needs.
 */
#ifndef ROUTERD_ROUTERD_H
#define ROUTERD_ROUTERD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/base/id.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "common/os/loop.h"
#include "routerd/core/bucket.h"
#include "routerd/core/router.h"
#include "routerd/core/swim.h"

struct buf;
struct channel;
struct channel_conf;
struct conf;
struct daemon;
struct gateway_conn;
struct known;
struct members;
struct pathstate;
struct pathstates;
struct swim_user_event;

enum {
	ROUTERD_LOG_BURST = 5,                      /* lines about one kind of fault of others */
	ROUTERD_LOG_INTERVAL_US = 10 * 1000 * 1000, /* then one per this */
	ROUTERD_EVENT_KINDS = ROUTER_REISSUED + 1,
	ROUTERD_DUMPS_MAX = 64,            /* lists that one gatewayd gets at the same time; more: refused */
	ROUTERD_DUMP_TURN_ITEMS = 512,     /* items of lists sent per turn of the loop */
	ROUTERD_MESSAGE_MAX_BYTES = 16384, /* largest message that routerd makes, metrics aside: a route with
					    * the names of all nodes on eight paths */
	ROUTERD_METRICS_MAX_BYTES = 1024 * 1024,
	ROUTERD_MEMBER_LOG_BURST = 100,     /* lines about members */
	ROUTERD_MEMBER_LOG_US = 100 * 1000, /* then one per this */
	ROUTERD_WISH_AGE_MS = 600 * 1000,   /* older wishes are ignored, and those so far in the future */
	ROUTERD_WISH_DIALS_MAX = 1024,      /* nodes dialled for one: as many as transportd has peers */
	ROUTERD_TOPOLOGY_MS = 10 * 1000,    /* from a change until consensusd is told of all links */
	ROUTERD_ALONE_MS = 5 * 1000,        /* without a link, known nodes are dialled after two of these */
	ROUTERD_KNOWN_MS = 60 * 1000,       /* with links: until what is known is looked at again */
};

struct routerd {
	struct daemon *daemon;
	struct loop *loop;
	struct mono started;
	struct ulid mesh_id;
	struct ulid event_id; /* of the last event */
	char mesh_name[NODE_NAME_SIZE];

	struct router_conf conf;
	struct router *router;
	struct loop_timer *timer;
	struct loop_defer turn; /* steps the router after the events of a turn */
	struct bucket log_rate[ROUTERD_EVENT_KINDS];

	struct channel *transport;
	struct channel_server *server;
	struct channel *consensus; /* the one that is up, or NULL */
	uint64_t wish_unix_ms;     /* the newest wish for full links that was followed */
	bool nodes_told;           /* it has the snapshot of nodes: changes follow */
	struct loop_timer *topology_timer;
	bool topology_due;
	struct label_list services, capabilities; /* of mesh.conf */
	struct members *members;
	struct pathstates *pathstates;
	unsigned processors; /* of this machine */
	uint16_t load_told;  /* per mille, to the other members */
	struct loop_timer *load_timer;
	struct known *known;
	struct loop_timer *known_timer;
	unsigned alone; /* times in a row that there was no link */
	bool left;      /* it was told to leave the mesh */
	LIST_HEAD(, gateway_conn) gateways;
};

/* --- routerd.c: called by the checklist (common/os/daemon.h) --- */
int routerd_start(struct daemon *daemon);
void routerd_configure(struct daemon *daemon, const struct conf *fresh);
void routerd_fini(struct daemon *daemon);

/* --- engine.c --- */
int engine_init(struct routerd *d) MUST_USE;
void engine_fini(struct routerd *d);
/* Something was told to the router: steps it at the end of the turn. */
void engine_touch(struct routerd *d);
/* Who this node is.  With another node id than before everything learnt is dropped. */
int engine_identity(struct routerd *d, const struct router_identity *id) MUST_USE;

/* --- peer_transport.c --- */
int peer_transport_init(struct routerd *d) MUST_USE;
void peer_transport_fini(struct routerd *d);
void peer_transport_send(struct routerd *d, uint64_t neighbour, const uint8_t *payload, size_t len);
/* To any node, over the forwarding table. */
void peer_transport_gossip(struct routerd *d, uint64_t node, const uint8_t *payload, size_t len);
int peer_transport_fib_mark(struct routerd *d, uint32_t type, uint64_t version) MUST_USE;
int peer_transport_route_set(
    struct routerd *d, uint64_t destination, uint8_t class_mask, const struct fib_paths *paths) MUST_USE;
int peer_transport_route_del(struct routerd *d, uint64_t destination) MUST_USE;
int peer_transport_dial(struct routerd *d, uint64_t node, const struct address_list *list) MUST_USE;

/* --- api_consensus.c --- */
void api_consensus_conf(struct routerd *d, struct channel_conf *out);
void api_consensus_sign(struct routerd *d, uint32_t ticket, const uint8_t *text, size_t len);
void api_consensus_node(struct routerd *d, const struct lsdb_entry *e);
/* The database is as complete as it will be soon: consensusd may have it. */
void api_consensus_ready(struct routerd *d);

/* --- api_gateway.c --- */
void api_gateway_conf(struct routerd *d, struct channel_conf *out);
void api_gateway_event(struct routerd *d, enum router_event ev, uint64_t a, uint64_t b);
void api_gateway_member(struct routerd *d, enum swim_event ev, uint64_t node);
/* A path in use was left; or one of which that was told is used again, or forgotten. */
void api_gateway_path(struct routerd *d, const struct pathstate *path);
void api_gateway_user_event(struct routerd *d, const struct swim_user_event *ev);

/* --- wish.c --- */
/* Somebody asks this node for full links.  ERR_STATE: it does not know who it is yet; or transportd can't
 * be told now, the others are. */
int wish_make(struct routerd *d) MUST_USE;
/* The LSA of another node says that it was asked. */
void wish_seen(struct routerd *d, uint64_t node, uint64_t unix_ms);

/* --- known.c --- */
int known_init(struct routerd *d) MUST_USE;
void known_fini(struct routerd *d);
/* addresses: host:port, separated by spaces; what is no address is left out. */
void known_add(struct routerd *d, uint64_t node, const char *addresses);

/* --- topology.c --- */
int topology_init(struct routerd *d) MUST_USE;
void topology_fini(struct routerd *d);
/* A node or a link came or went. */
void topology_changed(struct routerd *d);

/* --- counters.c --- */
void counters_init(void);
/* Appends all metrics of this process. */
int counters_print(struct routerd *d, struct buf *out) MUST_USE;

#endif
