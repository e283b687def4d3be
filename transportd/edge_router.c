#include "transportd/edge_router.h"

#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "transportd/core/fib.h"
#include "transportd/relay.h"
#include "transportd/stats.h"
#include "transportd/transport.h"

#define EDGE_DEF "proto/router_transport.def"
#define EDGE_HANDLERS handlers
#include "proto/edge_server.h"

enum { LINK_MESSAGE_MAX = 1024 };

_Static_assert(FIB_PATHS_MAX == sizeof(((mesh_ipc_FibRoute *)0)->paths) / sizeof(mesh_ipc_FibPath), "paths");
_Static_assert(FIB_HOPS_MAX == sizeof(((mesh_ipc_FibPath *)0)->hops) / sizeof(uint64_t), "hops");

/* --- the FIB --- */

static int
on_fib_begin(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	mesh_ipc_FibVersion msg = mesh_ipc_FibVersion_init_default;
	int err = pb_unpack(m->body, m->len, mesh_ipc_FibVersion_fields, &msg);

	(void)ch;
	return err != 0 ? err : fib_begin(t->fib);
}

static int
path_read(const mesh_ipc_FibPath *in, struct fib_path *out)
{
	if (in->hops_count == 0 || in->hops_count > FIB_HOPS_MAX)
		return ERR_RANGE;
	*out = (struct fib_path){
	    .path_id = in->path_id,
	    .weight = in->weight,
	    .cost = in->cost,
	    .hop_count = (uint8_t)in->hops_count,
	};
	memcpy(out->hops, in->hops, in->hops_count * sizeof(out->hops[0]));
	return 0;
}

static int
on_fib_route(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	mesh_ipc_FibRoute msg = mesh_ipc_FibRoute_init_default;
	struct fib_path paths[FIB_PATHS_MAX];
	int err = pb_unpack(m->body, m->len, mesh_ipc_FibRoute_fields, &msg);

	(void)ch;
	if (err != 0)
		return err;
	for (pb_size_t i = 0; i < msg.paths_count; i++)
		if ((err = path_read(&msg.paths[i], &paths[i])) != 0)
			return err;
	err = fib_set(t->fib, msg.destination, msg.class_mask, msg.version, paths, msg.paths_count);
	reroute_fib_changed(t, msg.destination);
	stat_set(STAT_ROUTES, (int64_t)fib_count(t->fib));
	return err;
}

static int
on_fib_del(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	mesh_ipc_FibDestination msg = mesh_ipc_FibDestination_init_default;
	int err = pb_unpack(m->body, m->len, mesh_ipc_FibDestination_fields, &msg);

	(void)ch;
	if (err != 0)
		return err;
	fib_del(t->fib, msg.destination);
	reroute_fib_changed(t, msg.destination);
	stat_set(STAT_ROUTES, (int64_t)fib_count(t->fib));
	return 0;
}

static int
on_fib_end(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	mesh_ipc_FibVersion msg = mesh_ipc_FibVersion_init_default;
	int err = pb_unpack(m->body, m->len, mesh_ipc_FibVersion_fields, &msg);

	(void)ch;
	if (err != 0 || (err = fib_end(t->fib, msg.version)) != 0)
		return err;
	reroute_fib_changed(t, 0);
	stat_set(STAT_ROUTES, (int64_t)fib_count(t->fib));
	log_info("forwarding table: %zu destinations", fib_count(t->fib));
	return 0;
}

/* --- whom to dial --- */

static int
on_dial(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_ipc_Dial msg = mesh_ipc_Dial_init_default;
	int err = pb_unpack(m->body, m->len, mesh_ipc_Dial_fields, &msg);

	(void)ch;
	if (err == 0)
		wish_dial(ctx, &msg);
	return err;
}

/* --- frames of routerd --- */

/* To any node, over the FIB.  No way, or no room: routerd sends what matters again. */
static int
gossip_out(struct transport *t, uint64_t destination, struct frame *f)
{
	if (f->visit_count != 1 || f->visit[0] != destination || destination == t->identity.node_id)
		return ERR_DENIED;
	if (!relay_own(t, f))
		log_debug("gossip frame dropped: there is no way");
	return 0;
}

static int
on_frame_out(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	uint64_t neighbour;
	struct frame f;
	struct link *l;
	struct buf in;
	int err;

	(void)ch;
	buf_view(&in, m->body, m->len);
	if ((err = buf_get_u64(&in, &neighbour)) != 0 || (err = frame_decode(&in, &f)) != 0 ||
	    (err = buf_end(&in)) != 0)
		return err;
	/* routerd may know the node's id before this daemon, after a restart of this one. */
	if (f.src != t->identity.node_id)
		return t->identity.known ? ERR_DENIED : 0;
	f.ttl = 1;
	f.hop_count = 0;
	f.flags = 0;
	if (f.type == FRAME_GOSSIP)
		return gossip_out(t, neighbour, &f);
	if (f.type != FRAME_LINK_STATE || f.visit_count != 0)
		return ERR_DENIED;
	l = links_get(&t->links, neighbour);
	/* No link, or no room: routerd sends again what is not acknowledged. */
	if (l != NULL && link_send(l, &f) != 0)
		log_debug("link-state frame to %s dropped", l->name);
	return 0;
}

void
router_frame(struct transport *t, uint64_t neighbour, const uint8_t *raw, size_t size)
{
	uint8_t head[8];
	struct iovec iov[2] = {
	    {.iov_base = head, .iov_len = sizeof(head)},
	    {.iov_base = (void *)(uintptr_t)raw, .iov_len = size},
	};

	be_store64(head, neighbour);
	if (t->router.ch == NULL || channel_full(t->router.ch) ||
	    channel_sendv(t->router.ch, RT_FRAME_IN, 0, -1, iov, 2) != 0)
		stat_inc(STAT_DROP_LOCAL);
}

/* --- links --- */

static int
send_link(struct transport *t, struct link *l)
{
	const struct conn *c = link_conn(l);
	struct link_figures f;
	mesh_ipc_Link msg = {
	    .peer = l->node,
	    .dialled = l->dialler,
	    .since_unix_ms = l->since_unix_ms,
	    .weight = wish_weight(t, l->node),
	};
	uint8_t mem[LINK_MESSAGE_MAX];
	struct buf out;
	int err;

	link_figures(l, &f);
	msg.rtt_us = f.rtt_us;
	msg.rtt_min_us = f.rtt_min_us;
	msg.loss_ppm = f.loss_ppm;
	msg.bandwidth_kbps = (uint32_t)(f.bandwidth_kbps < UINT32_MAX ? f.bandwidth_kbps : UINT32_MAX);
	msg.utilisation_permille = f.utilisation_permille;
	snprintf(msg.peer_name, sizeof(msg.peer_name), "%s", l->name);
	snprintf(msg.address, sizeof(msg.address), "%s", c != NULL ? c->address : "");
	buf_init_fixed(&out, mem, sizeof(mem));
	if ((err = pb_pack(&out, mesh_ipc_Link_fields, &msg)) != 0)
		return err;
	return channel_send(t->router.ch, RT_LINK, 0, mem, buf_left(&out));
}

static int
send_addresses(struct transport *t)
{
	uint8_t mem[mesh_ipc_Addresses_size];
	struct buf out;
	int err;

	buf_init_fixed(&out, mem, sizeof(mem));
	if ((err = pb_pack(&out, mesh_ipc_Addresses_fields, &t->advertised)) != 0)
		return err;
	return channel_send(t->router.ch, RT_ADDRESSES, 0, mem, buf_left(&out));
}

/* routerd must not miss a change: if it can't be told, it starts over with a snapshot. */
static void
check(struct transport *t, int err)
{
	if (err != 0)
		channel_close(t->router.ch, err);
}

void
router_addresses(struct transport *t)
{
	if (t->router.ch != NULL)
		check(t, send_addresses(t));
}

void
router_link(struct transport *t, struct link *l)
{
	if (t->router.ch != NULL)
		check(t, send_link(t, l));
}

void
router_link_down(struct transport *t, uint64_t node, const char *reason)
{
	mesh_ipc_LinkDown msg = {.peer = node};
	uint8_t mem[LINK_MESSAGE_MAX];
	struct buf out;
	int err;

	if (t->router.ch == NULL)
		return;
	snprintf(msg.reason, sizeof(msg.reason), "%s", reason);
	buf_init_fixed(&out, mem, sizeof(mem));
	err = pb_pack(&out, mesh_ipc_LinkDown_fields, &msg);
	if (err == 0)
		err = channel_send(t->router.ch, RT_LINK_DOWN, 0, mem, buf_left(&out));
	check(t, err);
}

/* --- paths --- */

static int
send_used(struct transport *t, uint64_t destination, bool used)
{
	mesh_ipc_FibDestination msg = {.destination = destination};
	uint8_t mem[mesh_ipc_FibDestination_size];
	struct buf out;
	int err;

	buf_init_fixed(&out, mem, sizeof(mem));
	if ((err = pb_pack(&out, mesh_ipc_FibDestination_fields, &msg)) != 0)
		return err;
	return channel_send(t->router.ch, used ? RT_USED : RT_UNUSED, 0, mem, buf_left(&out));
}

void
router_used(struct transport *t, uint64_t destination, bool used)
{
	if (t->router.ch != NULL)
		check(t, send_used(t, destination, used));
}

static int
send_all_used(struct transport *t)
{
	struct path_dst *d;
	int err = 0;

	for (unsigned i = 0; i < PATH_BUCKETS; i++)
		LIST_FOREACH (d, &t->paths.buckets[i], entry)
			if (err == 0)
				err = send_used(t, d->dst, true);
	return err;
}

static uint32_t
ppm(uint64_t part, uint64_t whole)
{
	return whole != 0 && part < whole ? (uint32_t)(part * 1000000 / whole) : 0;
}

/* Appends what is known of a path. */
static int
put_path(const struct path *p, mesh_ipc_PathStateCode state, struct buf *out)
{
	uint64_t kbps = pathwin_rate(&p->w) * 8 / 1000;
	mesh_ipc_PathState msg = {
	    .destination = p->d->dst,
	    .path_id = p->w.path_id,
	    .state = state,
	    .rtt_us = p->w.srtt_us,
	    .loss_ppm = ppm(p->w.lost_bytes, p->w.sent_bytes),
	    .rate_kbps = (uint32_t)(kbps < UINT32_MAX ? kbps : UINT32_MAX),
	    .used = path_in_use(p, clock_mono()),
	};

	snprintf(msg.reason, sizeof(msg.reason), "%s",
	    p->health.state == PATHHEALTH_UP ? "" : pathhealth_reason_name(p->health.reason));
	return pb_pack(out, mesh_ipc_PathState_fields, &msg);
}

bool
router_path(struct transport *t, const struct path *p)
{
	static const mesh_ipc_PathStateCode codes[] = {
	    [PATHHEALTH_UP] = mesh_ipc_PathStateCode_PATH_UP,
	    [PATHHEALTH_SLOW] = mesh_ipc_PathStateCode_PATH_SLOW,
	    [PATHHEALTH_SUSPECT] = mesh_ipc_PathStateCode_PATH_SUSPECT,
	};
	uint8_t mem[mesh_ipc_PathState_size];
	struct buf out;

	if (t->router.ch == NULL)
		return true;
	buf_init_fixed(&out, mem, sizeof(mem));
	return !channel_full(t->router.ch) && put_path(p, codes[p->health.state], &out) == 0 &&
	       channel_send(t->router.ch, RT_PATH_STATE, 0, mem, buf_left(&out)) == 0;
}

void
router_path_forgotten(struct transport *t, const struct path *p)
{
	uint8_t mem[mesh_ipc_PathState_size];
	struct buf out;
	int err;

	if (t->router.ch == NULL)
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	err = put_path(p, mesh_ipc_PathStateCode_PATH_FORGOTTEN, &out);
	if (err == 0)
		err = channel_send(t->router.ch, RT_PATH_STATE, 0, mem, buf_left(&out));
	check(t, err);
}

/* --- the channel --- */

static int
on_up(void *ctx, struct channel *ch)
{
	struct transport *t = ctx;
	struct link *l;
	int err;

	if (t->router.ch != NULL)
		channel_close(t->router.ch, ERR_EXISTS);
	t->router.ch = ch;
	fib_abort(t->fib);
	if ((err = send_addresses(t)) != 0 || (err = channel_send(ch, RT_LINKS_BEGIN, 0, NULL, 0)) != 0)
		return err;
	TAILQ_FOREACH (l, &t->links.all, order)
		if ((err = send_link(t, l)) != 0)
			return err;
	if ((err = channel_send(ch, RT_LINKS_END, 0, NULL, 0)) == 0 && (err = send_all_used(t)) == 0)
		reroute_router_up(t);
	return err;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct transport *t = ctx;

	(void)err;
	if (t->router.ch != ch)
		return;
	/* The table in use stays: frames go on while routerd restarts. */
	t->router.ch = NULL;
	fib_abort(t->fib);
}

void
router_conf(struct transport *t, struct channel_conf *out)
{
	*out = (struct channel_conf){
	    .edge = &edge_router_transport,
	    .handlers = handlers,
	    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .ctx = t,
	};
}
