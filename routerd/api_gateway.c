#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/log.h"
#include "common/os/metrics.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "routerd/members.h"
#include "routerd/message.h"
#include "routerd/report.h"
#include "routerd/routerd.h"

#define EDGE_DEF "proto/gateway_router.def"
#define EDGE_HANDLERS gateway_handlers
#include "proto/edge_server.h"

enum {
	GRPC_OK = 0,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_UNAVAILABLE = 14
}; /* status codes of the API */

/* A list that is being sent: where it goes on when the channel takes more. */
struct dump {
	TAILQ_ENTRY(dump) entry;
	uint32_t call;
	/* Sends the next item: 1, 0 when there are no more, or an error. */
	int (*item)(struct routerd *d, struct channel *ch, struct dump *dump);
	uint64_t cursor; /* node id to go on from */
	size_t index;    /* and the item of that node */
};

struct gateway_conn {
	LIST_ENTRY(gateway_conn) entry;
	struct routerd *d;
	struct channel *ch;
	TAILQ_HEAD(, dump) dumps;
	size_t dump_count;
	struct loop_defer turn;
};

static struct metric events_dropped = METRIC_COUNTER_INIT(
    "mesh_router_events_dropped_total", "events that gatewayd was too slow to take", NULL);

/* --- items of lists --- */

/* Nodes of the database, and those that were evicted from it. */
static int
node_item(struct routerd *d, struct channel *ch, struct dump *dump)
{
	struct lsdb *db = router_lsdb(d->router);
	const struct lsdb_entry *e = lsdb_from(db, dump->cursor);
	uint64_t evicted = idset_from(&db->evicted, dump->cursor), node;
	struct report_metadata metadata;
	mesh_v1_NodeInfo out;
	int err;

	if (e == NULL && evicted == 0)
		return 0;
	if (e == NULL || (evicted != 0 && evicted < e->node)) {
		node = evicted;
		report_evicted(d, node, &out);
	} else {
		node = e->node;
		report_node(d, e, &metadata, &out);
	}
	err = message_send(ch, GR_ITEM, dump->call, mesh_v1_NodeInfo_fields, &out);
	dump->cursor = node + 1;
	return err != 0 ? err : node != UINT64_MAX;
}

static int
link_item(struct routerd *d, struct channel *ch, struct dump *dump)
{
	struct lsdb *db = router_lsdb(d->router);
	struct lsdb_entry *e = lsdb_from(db, dump->cursor);
	struct report_metadata metadata;
	mesh_v1_LinkInfo out;
	int err;

	if (e != NULL && e->node != dump->cursor)
		dump->index = 0;
	while (e != NULL && dump->index >= e->lsa->adj_count) {
		e = lsdb_next(db, e);
		dump->index = 0;
	}
	if (e == NULL)
		return 0;
	report_link(d, e, &e->lsa->adj[dump->index], &metadata, &out);
	err = message_send(ch, GR_ITEM, dump->call, mesh_v1_LinkInfo_fields, &out);
	dump->cursor = e->node;
	dump->index++;
	return err != 0 ? err : 1;
}

/* One item for each profile of each route. */
static int
route_item(struct routerd *d, struct channel *ch, struct dump *dump)
{
	const struct cost_profiles *profiles = router_profiles(d->router);
	const struct fib_route *r = fib_from(router_fib(d->router), dump->cursor);
	mesh_v1_RouteInfo out;
	int err;

	if (r != NULL && r->destination != dump->cursor)
		dump->index = 0;
	while (r != NULL && (dump->index >= profiles->count || r->paths[dump->index] == NULL)) {
		r = fib_next(router_fib(d->router), r);
		dump->index = 0;
	}
	if (r == NULL)
		return 0;
	report_route(d, r, dump->index, &out);
	err = message_send(ch, GR_ITEM, dump->call, mesh_v1_RouteInfo_fields, &out);
	dump->cursor = r->destination;
	dump->index++;
	return err != 0 ? err : 1;
}

/* --- lists --- */

static int
call_done(struct channel *ch, uint32_t call, uint32_t code, const char *message)
{
	mesh_ipc_CallStatus out = {.code = code};

	snprintf(out.message, sizeof(out.message), "%s", message);
	return message_send(ch, GR_DONE, call, mesh_ipc_CallStatus_fields, &out);
}

static void
dump_free(struct gateway_conn *c, struct dump *dump)
{
	TAILQ_REMOVE(&c->dumps, dump, entry);
	c->dump_count--;
	mem_free(dump);
}

/* Sends items of the lists, the oldest first, as many as the channel and the turn allow. */
static int
pump(struct gateway_conn *c)
{
	struct dump *dump;
	int more;

	for (unsigned n = 0; (dump = TAILQ_FIRST(&c->dumps)) != NULL; n++) {
		if (channel_full(c->ch))
			return 0; /* on_drain goes on */
		if (n == ROUTERD_DUMP_TURN_ITEMS) {
			loop_defer_add(c->d->loop, &c->turn);
			return 0;
		}
		if ((more = dump->item(c->d, c->ch, dump)) == 0) {
			more = call_done(c->ch, dump->call, GRPC_OK, "");
			dump_free(c, dump);
		}
		if (more < 0)
			return more;
	}
	return 0;
}

static void
pump_or_close(void *arg)
{
	struct gateway_conn *c = arg;
	int err = pump(c);

	if (err != 0)
		channel_close(c->ch, err);
}

static int
dump_start(struct channel *ch, const struct imsg *m,
    int (*item)(struct routerd *d, struct channel *ch, struct dump *dump))
{
	struct gateway_conn *c = channel_data(ch);
	struct dump *dump;

	if (c->dump_count >= ROUTERD_DUMPS_MAX)
		return call_done(ch, m->peerid, GRPC_RESOURCE_EXHAUSTED, "too many lists at the same time");
	if ((dump = mem_calloc(1, sizeof(*dump))) == NULL)
		return call_done(ch, m->peerid, GRPC_RESOURCE_EXHAUSTED, "routerd is out of memory");
	dump->call = m->peerid;
	dump->item = item;
	TAILQ_INSERT_TAIL(&c->dumps, dump, entry);
	c->dump_count++;
	loop_defer_add(c->d->loop, &c->turn);
	return 0;
}

static int
on_list_nodes(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	return dump_start(ch, m, node_item);
}

static int
on_list_links(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	return dump_start(ch, m, link_item);
}

static int
on_list_routes(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	return dump_start(ch, m, route_item);
}

/* --- single answers --- */

static int
on_node_status(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_v1_NodeStatus out;

	report_status(ctx, &out);
	return message_send(ch, GR_REPLY, m->peerid, mesh_v1_NodeStatus_fields, &out);
}

static int
on_metrics(void *ctx, struct channel *ch, struct imsg *m)
{
	struct buf out;
	int err;

	buf_init(&out, ROUTERD_METRICS_MAX_BYTES);
	if ((err = counters_print(ctx, &out)) == 0)
		err = channel_send(ch, GR_REPLY, m->peerid, buf_head(&out), buf_left(&out));
	else
		err = call_done(ch, m->peerid, GRPC_RESOURCE_EXHAUSTED, err_text(err));
	buf_fini(&out);
	return err;
}

static int
on_full_links(void *ctx, struct channel *ch, struct imsg *m)
{
	int err = wish_make(ctx);

	if (err == ERR_STATE)
		return call_done(ch, m->peerid, GRPC_UNAVAILABLE,
		    "this node does not know who it is yet: consensusd has not told it; try again");
	if (err != 0)
		return call_done(ch, m->peerid, GRPC_UNAVAILABLE,
		    "the other nodes are told, but transportd of this one can't be; try again");
	return call_done(ch, m->peerid, GRPC_OK, "");
}

static int
on_user_event(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_v1_UserEventReq req = mesh_v1_UserEventReq_init_zero;
	struct routerd *d = ctx;
	int err = pb_unpack(m->body, m->len, mesh_v1_UserEventReq_fields, &req);

	if (err != 0)
		return err;
	err = members_event(d, req.name, req.payload.bytes, req.payload.size);
	if (err == ERR_STATE)
		return call_done(ch, m->peerid, GRPC_UNAVAILABLE,
		    "this node does not know who it is yet: consensusd has not told it; try again");
	if (err == ERR_RANGE || err == ERR_LIMIT || err == ERR_FORMAT)
		return call_done(ch, m->peerid, GRPC_INVALID_ARGUMENT,
		    "an event has a name of 1 to 63 characters and at most 512 bytes");
	if (err != 0)
		return call_done(ch, m->peerid, GRPC_RESOURCE_EXHAUSTED, "too many events wait; try again");
	return call_done(ch, m->peerid, GRPC_OK, "");
}

/* Goodbye: others route around this node and send it nothing more, until routerd is started again. */
static int
on_leave(void *ctx, struct channel *ch, struct imsg *m)
{
	struct routerd *d = ctx;

	if (router_self(d->router) == NULL)
		return call_done(ch, m->peerid, GRPC_UNAVAILABLE,
		    "this node does not know who it is yet: consensusd has not told it; try again");
	log_notice("this node leaves the mesh: nothing is sent over it any more until routerd is restarted");
	d->left = true;
	router_leave(d->router);
	members_leave(d);
	engine_touch(d);
	return call_done(ch, m->peerid, GRPC_OK, "");
}

static void
send_event(struct routerd *d, const mesh_v1_MeshEvent *out)
{
	struct gateway_conn *c;

	LIST_FOREACH (c, &d->gateways, entry)
		if (channel_full(c->ch) ||
		    message_send(c->ch, GR_EVENT, 0, mesh_v1_MeshEvent_fields, out) != 0)
			metric_inc(&events_dropped);
}

void
api_gateway_event(struct routerd *d, enum router_event ev, uint64_t a, uint64_t b)
{
	mesh_v1_MeshEvent out;

	if (!LIST_EMPTY(&d->gateways) && report_event(d, ev, a, b, &out))
		send_event(d, &out);
}

void
api_gateway_member(struct routerd *d, enum swim_event ev, uint64_t node)
{
	mesh_v1_MeshEvent out;

	if (!LIST_EMPTY(&d->gateways) && report_member(d, ev, node, &out))
		send_event(d, &out);
}

void
api_gateway_path(struct routerd *d, const struct pathstate *path)
{
	mesh_v1_MeshEvent out;

	if (LIST_EMPTY(&d->gateways))
		return;
	report_path(d, path, &out);
	send_event(d, &out);
}

void
api_gateway_user_event(struct routerd *d, const struct swim_user_event *ev)
{
	mesh_v1_MeshEvent out;

	if (LIST_EMPTY(&d->gateways))
		return;
	report_user_event(d, ev, &out);
	send_event(d, &out);
}

/* --- connections --- */

static int
on_up(void *ctx, struct channel *ch)
{
	struct gateway_conn *c = mem_calloc(1, sizeof(*c));
	struct routerd *d = ctx;

	channel_set_data(ch, c);
	if (c == NULL)
		return ERR_NOMEM;
	c->d = d;
	c->ch = ch;
	c->turn = (struct loop_defer){.fn = pump_or_close, .arg = c};
	TAILQ_INIT(&c->dumps);
	LIST_INSERT_HEAD(&d->gateways, c, entry);
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct gateway_conn *c = channel_data(ch);
	struct dump *dump;

	(void)ctx;
	(void)err;
	if (c == NULL)
		return;
	while ((dump = TAILQ_FIRST(&c->dumps)) != NULL)
		dump_free(c, dump);
	loop_defer_del(&c->turn);
	LIST_REMOVE(c, entry);
	mem_free(c);
	channel_set_data(ch, NULL);
}

static void
on_drain(void *ctx, struct channel *ch)
{
	(void)ctx;
	pump_or_close(channel_data(ch));
}

void
api_gateway_conf(struct routerd *d, struct channel_conf *out)
{
	metrics_add(&events_dropped);
	*out = (struct channel_conf){
	    .edge = &edge_gateway_router,
	    .handlers = gateway_handlers,
	    .handler_count = sizeof(gateway_handlers) / sizeof(gateway_handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .on_drain = on_drain,
	    .ctx = d,
	};
}
