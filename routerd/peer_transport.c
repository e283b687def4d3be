#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "common/os/metrics.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "routerd/members.h"
#include "routerd/message.h"
#include "routerd/pathstate.h"
#include "routerd/routerd.h"

#define EDGE_DEF "proto/router_transport.def"
#define EDGE_HANDLERS transport_handlers
#include "proto/edge_client.h"

_Static_assert(ROUTE_PATHS_MAX <= sizeof(((mesh_ipc_FibRoute *)0)->paths) / sizeof(mesh_ipc_FibPath),
    "all paths of a route fit its message");
_Static_assert(mesh_ipc_FibRoute_size <= 4096, "a route fits FIB_ROUTE");

static struct metric frames_dropped = METRIC_COUNTER_INIT("mesh_router_frames_dropped_total",
    "frames that could not be passed to transportd; what matters is sent again", NULL);
static struct metric frames_bad = METRIC_COUNTER_INIT("mesh_router_frames_bad_total",
    "frames from transportd that are neither gossip nor link state of a neighbour", NULL);

/* --- what transportd tells --- */

static int
on_links_begin(void *ctx, struct channel *ch, struct imsg *m)
{
	struct routerd *d = ctx;

	(void)ch;
	(void)m;
	router_links_begin(d->router);
	return 0;
}

static int
on_link(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_ipc_Link in = mesh_ipc_Link_init_zero;
	struct routerd *d = ctx;
	struct router_link link;
	int err = pb_unpack(m->body, m->len, mesh_ipc_Link_fields, &in);

	(void)ch;
	if (err != 0)
		return err;
	link = (struct router_link){
	    .peer = in.peer,
	    .since_unix_ms = in.since_unix_ms,
	    .rtt_us = in.rtt_us,
	    .bandwidth_kbps = in.bandwidth_kbps,
	    .loss_ppm = in.loss_ppm,
	    .utilisation_permille =
		(uint16_t)(in.utilisation_permille < 1000 ? in.utilisation_permille : 1000),
	    .weight = (uint16_t)(in.weight < LSA_WEIGHT_NEVER ? in.weight : LSA_WEIGHT_NEVER),
	};
	err = router_link(d->router, &link, clock_mono());
	engine_touch(d);
	return err;
}

static int
on_links_end(void *ctx, struct channel *ch, struct imsg *m)
{
	struct routerd *d = ctx;

	(void)ch;
	(void)m;
	router_links_end(d->router, clock_mono());
	engine_touch(d);
	return 0;
}

static int
on_link_down(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_ipc_LinkDown in = mesh_ipc_LinkDown_init_zero;
	struct routerd *d = ctx;
	int err = pb_unpack(m->body, m->len, mesh_ipc_LinkDown_fields, &in);

	(void)ch;
	if (err != 0)
		return err;
	router_link_down(d->router, in.peer, clock_mono());
	engine_touch(d);
	return 0;
}

static int
on_addresses(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_ipc_Addresses in = mesh_ipc_Addresses_init_zero;
	struct address_list list = {0};
	struct routerd *d = ctx;
	int err = pb_unpack(m->body, m->len, mesh_ipc_Addresses_fields, &in);

	(void)ch;
	if (err != 0)
		return err;
	for (pb_size_t i = 0; i < in.addresses_count; i++)
		if (!address_add(&list, in.addresses[i]))
			log_warn("other nodes can't be told of the address '%s'", in.addresses[i]);
	router_addresses(d->router, &list);
	engine_touch(d);
	return 0;
}

/* Between neighbours only: what has travelled further is not link state of this neighbour. */
static bool
frame_valid(const struct frame *f, uint64_t neighbour)
{
	return f->type == FRAME_LINK_STATE && f->src == neighbour && f->visit_count == 0 && f->hop_count == 0;
}

static bool
gossip_valid(const struct frame *f)
{
	return f->type == FRAME_GOSSIP && f->visit_count == 0;
}

static int
on_frame_in(void *ctx, struct channel *ch, struct imsg *m)
{
	struct routerd *d = ctx;
	uint64_t neighbour;
	struct frame f;
	struct buf in;
	int err;

	(void)ch;
	buf_view(&in, m->body, m->len);
	if ((err = buf_get_u64(&in, &neighbour)) != 0 || (err = frame_decode(&in, &f)) != 0 ||
	    (err = buf_end(&in)) != 0)
		return err;
	/* What a neighbour sends is not transportd's fault. */
	if (gossip_valid(&f)) {
		members_feed(d, f.src, f.payload, f.payload_len);
		return 0;
	}
	if (!frame_valid(&f, neighbour)) {
		metric_inc(&frames_bad);
		return 0;
	}
	router_feed(d->router, neighbour, f.payload, f.payload_len, clock_mono());
	engine_touch(d);
	return 0;
}

static int
on_path_state(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_ipc_PathState in = mesh_ipc_PathState_init_zero;
	struct routerd *d = ctx;
	int err = pb_unpack(m->body, m->len, mesh_ipc_PathState_fields, &in);

	(void)ch;
	if (err != 0)
		return err;
	if (in.state > mesh_ipc_PathStateCode_PATH_FORGOTTEN)
		return ERR_FORMAT;
	pathstate_told(d, &in);
	return 0;
}

static int
set_used(struct routerd *d, const struct imsg *m, bool used)
{
	mesh_ipc_FibDestination in = mesh_ipc_FibDestination_init_zero;
	int err = pb_unpack(m->body, m->len, mesh_ipc_FibDestination_fields, &in);

	if (err != 0 || (err = router_used(d->router, in.destination, used)) != 0)
		return err;
	engine_touch(d);
	return 0;
}

static int
on_used(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	return set_used(ctx, m, true);
}

static int
on_unused(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	return set_used(ctx, m, false);
}

/* --- what transportd is told --- */

/* The frame, for the neighbour or destination that it names. */
static void
send_frame(struct routerd *d, uint64_t node, struct frame *f)
{
	const struct router_identity *self = router_self(d->router);
	uint8_t mem[8 + FRAME_MAX_BYTES];
	struct buf b;
	int err;

	f->src = self != NULL ? self->node : 0;
	f->class = FRAME_CLASS_CONTROL;
	f->ttl = 1;
	buf_init_fixed(&b, mem, sizeof(mem));
	if ((err = buf_put_u64(&b, node)) == 0 && (err = frame_encode(f, &b)) == 0)
		err = channel_full(d->transport)
			  ? ERR_FULL
			  : channel_send(d->transport, RT_FRAME_OUT, 0, buf_head(&b), buf_left(&b));
	if (err == 0)
		return;
	metric_inc(&frames_dropped);
	log_debug("could not pass a %s frame to transportd: %s", frame_type_name(f->type), err_text(err));
}

void
peer_transport_send(struct routerd *d, uint64_t neighbour, const uint8_t *payload, size_t len)
{
	struct frame f = {.type = FRAME_LINK_STATE, .payload = payload, .payload_len = (uint32_t)len};

	send_frame(d, neighbour, &f);
}

void
peer_transport_gossip(struct routerd *d, uint64_t node, const uint8_t *payload, size_t len)
{
	struct frame f = {
	    .type = FRAME_GOSSIP,
	    .visit_count = 1,
	    .visit = {node},
	    .payload = payload,
	    .payload_len = (uint32_t)len,
	};

	send_frame(d, node, &f);
}

int
peer_transport_fib_mark(struct routerd *d, uint32_t type, uint64_t version)
{
	mesh_ipc_FibVersion out = {.version = version};

	return message_send(d->transport, type, 0, mesh_ipc_FibVersion_fields, &out);
}

int
peer_transport_route_set(
    struct routerd *d, uint64_t destination, uint8_t class_mask, const struct fib_paths *paths)
{
	mesh_ipc_FibRoute out = {
	    .destination = destination,
	    .class_mask = class_mask,
	    .paths_count = (pb_size_t)paths->count,
	    .version = paths->version,
	};

	for (uint32_t i = 0; i < paths->count; i++) {
		const struct fib_path *from = &paths->path[i];
		mesh_ipc_FibPath *p = &out.paths[i];

		p->path_id = from->path_id;
		p->weight = from->weight;
		p->cost = from->path.cost;
		p->hops_count = (pb_size_t)from->path.hop_count;
		memcpy(p->hops, from->path.hops, from->path.hop_count * sizeof(p->hops[0]));
	}
	return message_send(d->transport, RT_FIB_ROUTE, 0, mesh_ipc_FibRoute_fields, &out);
}

int
peer_transport_route_del(struct routerd *d, uint64_t destination)
{
	mesh_ipc_FibDestination out = {.destination = destination};

	return message_send(d->transport, RT_FIB_DEL, 0, mesh_ipc_FibDestination_fields, &out);
}

int
peer_transport_dial(struct routerd *d, uint64_t node, const struct address_list *list)
{
	mesh_ipc_Dial out = {.node_id = node, .addresses_count = (pb_size_t)list->count};

	for (size_t i = 0; i < list->count; i++)
		memcpy(out.addresses[i], list->text[i], strlen(list->text[i]) + 1);
	return channel_full(d->transport)
		   ? ERR_FULL
		   : message_send(d->transport, RT_DIAL, 0, mesh_ipc_Dial_fields, &out);
}

/* --- the connection --- */

static int
on_up(void *ctx, struct channel *ch)
{
	(void)ctx;
	(void)ch;
	return 0; /* it begins: with its links */
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct routerd *d = ctx;

	(void)ch;
	log_warn(
	    "lost transportd (%s): no links, and no news of other nodes, until it is back", err_text(err));
	router_transport_down(d->router, clock_mono());
	members_sight(d);
	pathstate_clear(d);
	engine_touch(d);
}

int
peer_transport_init(struct routerd *d)
{
	const struct channel_conf conf = {
	    .edge = &edge_router_transport,
	    .handlers = transport_handlers,
	    .handler_count = sizeof(transport_handlers) / sizeof(transport_handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .ctx = d,
	};

	metrics_add(&frames_dropped);
	metrics_add(&frames_bad);
	d->transport = daemon_connect(d->daemon, "transportd", &conf);
	return d->transport != NULL ? 0 : ERR_NOMEM;
}

void
peer_transport_fini(struct routerd *d)
{
	channel_free(d->transport);
	d->transport = NULL;
}
