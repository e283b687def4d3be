/*
 * api_transport: gatewayd's side of the edge gateway_transport: this node's own links.
 */
#include "gatewayd/backend.h"
#include "proto/messages.h"

#define EDGE_DEF "proto/gateway_transport.def"
#define EDGE_HANDLERS transport_handlers
#include "proto/edge_client.h"

void
api_transport_init(struct backend *b, struct gateway *gw)
{
	*b = (struct backend){
	    .gw = gw,
	    .name = "transportd",
	    .id = BACKEND_TRANSPORT,
	    .msg_node_status = GT_NODE_STATUS,
	    .msg_metrics = GT_METRICS,
	    .conf = {.edge = &edge_gateway_transport,
		.handlers = transport_handlers,
		.handler_count = sizeof(transport_handlers) / sizeof(transport_handlers[0])},
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
