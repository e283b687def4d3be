/*
 * api_router: gatewayd's side of the edge gateway_router: nodes, links and routes of the mesh.
 */
#include "gatewayd/backend.h"
#include "proto/messages.h"

#define EDGE_DEF "proto/gateway_router.def"
#define EDGE_HANDLERS router_handlers
#include "proto/edge_client.h"

void
api_router_init(struct backend *b, struct gateway *gw)
{
	*b = (struct backend){
	    .gw = gw,
	    .name = "routerd",
	    .id = BACKEND_ROUTER,
	    .msg_node_status = GR_NODE_STATUS,
	    .msg_metrics = GR_METRICS,
	    .conf = {.edge = &edge_gateway_router,
		.handlers = router_handlers,
		.handler_count = sizeof(router_handlers) / sizeof(router_handlers[0])},
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
