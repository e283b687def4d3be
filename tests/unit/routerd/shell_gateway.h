/*
 * shell_gateway: the gatewayd that shell.h plays: what it was answered, and which events it was told.
 */
#ifndef TESTS_UNIT_ROUTERD_SHELL_GATEWAY_H
#define TESTS_UNIT_ROUTERD_SHELL_GATEWAY_H

#include "tests/unit/routerd/shell_env.h"

static int
on_reply(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	assert_true(m->peerid < CALLS_MAX);
	e->calls[m->peerid].replies++;
	e->calls[m->peerid].bytes += m->len;
	if (m->peerid == 0)
		assert_int_equal(pb_unpack(m->body, m->len, mesh_v1_NodeStatus_fields, &e->status), 0);
	return 0;
}

static void
take_link(struct env *e, const struct imsg *m)
{
	struct pb_slice items[4];
	struct pb_raw_list list = {.items = items, .max = 4};
	mesh_v1_LinkInfo info = mesh_v1_LinkInfo_init_zero;
	char id[NODEID_TEXT_SIZE];
	size_t n = 0;

	pb_raw_list_decode(&info.metadata, &list);
	assert_int_equal(pb_unpack(m->body, m->len, mesh_v1_LinkInfo_fields, &info), 0);
	info.metadata = (pb_callback_t){0};
	e->link_info = info;
	nodeid_format(id, e->peer_id.node);
	if (strcmp(info.source_node_id, id) != 0)
		return;
	memset(e->link_metadata, 0, sizeof(e->link_metadata));
	for (size_t i = 0; i < list.count; i++)
		for (size_t k = 0; k < items[i].len && n + 1 < sizeof(e->link_metadata); k++)
			if (items[i].data[k] >= ' ')
				e->link_metadata[n++] = (char)items[i].data[k];
}

static int
on_item(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	assert_true(m->peerid < CALLS_MAX);
	e->calls[m->peerid].items++;
	if (m->peerid == 3)
		assert_int_equal(pb_unpack(m->body, m->len, mesh_v1_RouteInfo_fields, &e->route_info), 0);
	if (m->peerid == 6) {
		mesh_v1_NodeInfo info;

		memset(&info, 0, sizeof(info));
		assert_int_equal(pb_unpack(m->body, m->len, mesh_v1_NodeInfo_fields, &info), 0);
		if (strcmp(info.node_name, "beta") == 0)
			e->node_info = info;
		else
			e->self_info = info;
	}
	if (m->peerid == 2)
		take_link(e, m);
	return 0;
}

static int
on_done(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_ipc_CallStatus status;
	struct env *e = ctx;

	(void)ch;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_ipc_CallStatus_fields, &status), 0);
	e->calls[m->peerid].done++;
	e->calls[m->peerid].code = status.code;
	return 0;
}

static int
on_event(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	e->events++;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_v1_MeshEvent_fields, &e->event), 0);
	if (strncmp(e->event.event_type, "path_", 5) == 0 &&
	    strcmp(e->event.event_type, "path_changed") != 0) {
		e->path_event = e->event;
		e->path_events++;
	}
	e->of_nodes += strncmp(e->event.event_type, "node_", 5) == 0;
	return 0;
}

static int
gateway_up(void *ctx, struct channel *ch)
{
	(void)ctx;
	(void)ch;
	return 0;
}

static void
connect_gateway(struct env *e)
{
	e->gateway_conf = (struct channel_conf){
	    .edge = &edge_gateway_router,
	    .handlers = gateway_handlers,
	    .handler_count = COUNT(gateway_handlers),
	    .on_up = gateway_up,
	    .on_down = no_down,
	    .ctx = e,
	};
	e->gateway = channel_connect(e->loop, e->socket, "gatewayd", &e->gateway_conf);
}

#endif
