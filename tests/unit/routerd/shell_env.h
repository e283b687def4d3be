/*
 * shell_env: what the parts that shell.h plays share.
 */
#ifndef TESTS_UNIT_ROUTERD_SHELL_ENV_H
#define TESTS_UNIT_ROUTERD_SHELL_ENV_H

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/crypto.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "proto/ipc.pb.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "routerd/members.h"
#include "routerd/routerd.h"

/* clang-format off: handler prototypes and tables */
#define EDGE_DEF "proto/router_transport.def"
#define EDGE_HANDLERS transport_handlers
#include "proto/edge_server.h"
#define EDGE_DEF "proto/consensus_router.def"
#define EDGE_HANDLERS consensus_handlers
#include "proto/edge_client.h"
#define EDGE_DEF "proto/gateway_router.def"
#define EDGE_HANDLERS gateway_handlers
#include "proto/edge_client.h"
/* clang-format on */

#define MESH_ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"

enum { DEADLINE_MS = 5000, CALLS_MAX = 8 };

struct call {
	unsigned items, done, replies;
	uint32_t code;
	size_t bytes;
};

struct env {
	char dir[32], socket[64];
	struct daemon daemon;
	struct loop *loop;
	struct loop_timer *alarm, *poll, *timer;
	bool expired;
	bool (*until)(struct env *e);

	/* transportd */
	struct channel_server *server;
	struct channel *transport;
	struct channel_conf transport_conf;
	bool link_up;
	unsigned fib_whole, fib_routes, fib_dels;
	mesh_ipc_FibRoute route;
	unsigned fib_classes; /* of all routes that came */
	unsigned dials;
	mesh_ipc_Dial dial;

	/* consensusd */
	struct channel *consensus;
	struct channel_conf consensus_conf;
	struct crypto_key *key;
	mesh_ipc_Identity identity;
	unsigned signs, nodes_begin, nodes, nodes_end;
	bool refuse;
	mesh_ipc_Node node; /* the neighbour */

	/* gatewayd */
	struct channel *gateway;
	struct channel_conf gateway_conf;
	struct call calls[CALLS_MAX];
	unsigned events;
	mesh_v1_NodeStatus status;
	mesh_v1_RouteInfo route_info;
	mesh_v1_LinkInfo link_info;
	mesh_v1_NodeInfo node_info; /* of the neighbour */
	mesh_v1_NodeInfo self_info;
	char link_metadata[64]; /* entries of the neighbour's link, as encoded */
	bool timer_done;
	unsigned of_nodes; /* events node_up, node_suspect, node_down, node_left */
	mesh_v1_MeshEvent event;
	mesh_v1_MeshEvent path_event; /* the last path_degraded or path_recovered */
	unsigned path_events;

	/* the neighbour */
	struct router *peer;
	struct swim *peer_swim;
	struct loop_timer *swim_timer;
	bool peer_silent; /* it neither hears nor sends gossip */
	unsigned gossip_out;
	struct crypto_key *peer_key;
	struct router_identity peer_id;
	uint32_t ticket;
	uint8_t sig[CRYPTO_SIG_BYTES];
	bool sig_due;
	uint64_t peer_wish_node, peer_wish_unix_ms;
	unsigned mesh_links, topologies; /* told to consensusd */
};

static struct env env;

static void
in_dir(const struct env *e, const char *name, char out[64])
{
	snprintf(out, 64, "%.31s/%.30s", e->dir, name);
}

static void
send_pb(struct channel *ch, uint32_t type, uint32_t peerid, const pb_msgdesc_t *fields, const void *msg)
{
	uint8_t mem[4096];
	struct buf b;

	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(pb_pack(&b, fields, msg), 0);
	assert_int_equal(channel_send(ch, type, peerid, mem, buf_left(&b)), 0);
}

static void
no_down(void *ctx, struct channel *ch, int err)
{
	(void)ctx;
	(void)ch;
	(void)err;
}

#endif
