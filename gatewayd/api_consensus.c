/*
 * api_consensus: gatewayd's side of the edge gateway_consensus: streams, publishing, subscriptions, the
 * control group.
 */
#include "common/os/daemon.h"
#include "gatewayd/backend.h"
#include "gatewayd/gateway.h"
#include "gatewayd/health.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

#define EDGE_DEF "proto/gateway_consensus.def"
#define EDGE_HANDLERS consensus_handlers
#include "proto/edge_client.h"

void
api_consensus_init(struct backend *b, struct gateway *gw)
{
	*b = (struct backend){
	    .gw = gw,
	    .name = "consensusd",
	    .id = BACKEND_CONSENSUS,
	    .msg_cancel = GC_CANCEL,
	    .msg_node_status = GC_NODE_STATUS,
	    .msg_metrics = GC_METRICS,
	    .msg_who = GC_WHO,
	    .conf = {.edge = &edge_gateway_consensus,
		.handlers = consensus_handlers,
		.handler_count = sizeof(consensus_handlers) / sizeof(consensus_handlers[0])},
	};
}

static int
on_reply(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	return backend_on_reply(ctx, m);
}

static int
on_item(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	return backend_on_item(ctx, m);
}

static int
on_done(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	return backend_on_done(ctx, m);
}

static int
on_event(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	return backend_on_event(ctx, m);
}

static int
on_publish_hold(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	return backend_on_hold(ctx, m);
}

static int
on_health(void *ctx, struct channel *ch, struct imsg *m)
{
	struct backend *b = ctx;
	mesh_ipc_Health h = mesh_ipc_Health_init_zero;
	int rc = pb_unpack(m->body, m->len, mesh_ipc_Health_fields, &h);

	(void)ch;
	if (rc == 0)
		health_set(b->gw->health, h.serving, h.reason);
	return rc;
}

static int
on_config(void *ctx, struct channel *ch, struct imsg *m)
{
	struct backend *b = ctx;

	(void)ch;
	return daemon_overlay_set(b->gw->daemon, m->body, m->len);
}
