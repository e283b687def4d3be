#include "transportd/edge_gateway.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "proto/ipc.pb.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "transportd/conn_auth.h"
#include "transportd/core/fib.h"
#include "transportd/core/sched.h"
#include "transportd/lane.h"
#include "transportd/stats.h"
#include "transportd/tls.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

#define EDGE_DEF "proto/gateway_transport.def"
#define EDGE_HANDLERS handlers
#include "proto/edge_server.h"

enum { ITEM_MAX_BYTES = 16384, EVENT_MAX_BYTES = 4096, METRICS_MAX_BYTES = 1024 * 1024 };

static int
send_pb(struct channel *ch, uint32_t type, uint32_t call, const pb_msgdesc_t *fields, const void *msg)
{
	uint8_t mem[ITEM_MAX_BYTES];
	struct buf out;
	int err;

	buf_init_fixed(&out, mem, sizeof(mem));
	if ((err = pb_pack(&out, fields, msg)) != 0)
		return err;
	return channel_send(ch, type, call, mem, buf_left(&out));
}

/* --- links --- */

static void
fill_measures(mesh_v1_LaneDetail *d, struct lane *n, struct mono now)
{
	d->rtt_us = n->hb.rtt_us;
	d->rtt_min_us = heartbeat_rtt_min_us(&n->hb);
	d->rtt_var_us = heartbeat_rtt_var_us(&n->hb);
	d->loss_ppm = heartbeat_loss_ppm(&n->hb);
	d->bandwidth_kbps = pace_bandwidth_kbps(&n->pace);
	d->utilization_permille = pace_utilisation_permille(&n->pace, now);
	d->tx_kbps = pace_tx_kbps(&n->pace, now);
	d->rx_kbps = pace_rx_kbps(&n->pace, now);
	d->tx_bytes = n->tx_bytes;
	d->rx_bytes = n->rx_bytes;
	d->tx_frames = n->tx_frames;
	d->rx_frames = n->rx_frames;
	d->queued_bytes = sched_lane_bytes(n->link->q, n->id);
	d->unacked_bytes = credit_tx_unacked(&n->tx);
	d->window_bytes = credit_tx_room(&n->tx);
}

static void
fill_lane(mesh_v1_LaneDetail *d, struct lane *n, struct mono now)
{
	struct link *l = n->link;
	enum lane_class class = lane_class_of(n->id);

	d->lane = n->id;
	snprintf(d->class, sizeof(d->class), "%s", lane_class_name(class));
	snprintf(d->state, sizeof(d->state), "%s", lane_state_name(l->lanes.state[n->id]));
	lanes_roles(&l->lanes, n->id, d->roles, sizeof(d->roles));
	d->priority = LANE_CLASS_COUNT - class;
	d->weight = 1;
	d->dialled = n->conn->dialled;
	snprintf(d->address, sizeof(d->address), "%s", n->conn->address);
	ws_format_endpoint(n->conn->local, d->local_address, sizeof(d->local_address));
	d->since_unix_ms = n->since_unix_ms;
	fill_measures(d, n, now);
	tls_cipher(ws_session(n->conn->ws), d->cipher);
	snprintf(d->auth, sizeof(d->auth), "%s", conn_auth_kind(n->conn));
	d->auth_until_unix_ms = conn_auth_until_ms(n->conn);
}

static void
fill_detail(mesh_v1_LinkDetail *d, struct link *l, const struct link_figures *f)
{
	const struct conn *c = link_conn(l);
	struct mono now = clock_mono();

	snprintf(d->address, sizeof(d->address), "%s", c != NULL ? c->address : "");
	d->dialled = l->dialler;
	d->since_unix_ms = l->since_unix_ms;
	d->rtt_min_us = f->rtt_min_us;
	d->rtt_var_us = f->rtt_var_us;
	d->tx_bytes = f->tx_bytes;
	d->rx_bytes = f->rx_bytes;
	d->tx_frames = f->tx_frames;
	d->rx_frames = f->rx_frames;
	d->dropped_frames = l->dropped_frames;
	d->queued_bytes = f->queued_bytes;
	d->loss_ppm = f->loss_ppm;
	d->bandwidth_kbps = f->bandwidth_kbps;
	d->utilization_permille = f->utilisation_permille;
	d->memory_bytes = f->memory_bytes;
	d->memory_max_bytes = f->memory_max_bytes;
	if (c != NULL)
		tls_cipher(ws_session(c->ws), d->cipher);
	for (unsigned i = 0; i < LANES_MAX; i++)
		if (l->lane[i] != NULL)
			fill_lane(&d->lanes[d->lanes_count++], l->lane[i], now);
}

static int
send_link(struct channel *ch, uint32_t call, const struct transport *t, struct link *l)
{
	mesh_v1_LinkInfo info = mesh_v1_LinkInfo_init_default;
	struct link_figures f;

	_Static_assert(sizeof(info.detail.cipher) >= TLS_CIPHER_SIZE, "room for the cipher");
	nodeid_format(info.source_node_id, t->identity.node_id);
	nodeid_format(info.target_node_id, l->node);
	snprintf(info.link_id, sizeof(info.link_id), "%s-%s", info.source_node_id, info.target_node_id);
	link_figures(l, &f);
	info.latency_ms = (int32_t)((f.rtt_us / 2 + 500) / 1000);
	info.bandwidth_mbps = (int32_t)(f.bandwidth_kbps / 1000);
	info.loss = (int32_t)(f.loss_ppm / 1000);
	info.utilization = (int32_t)(f.utilisation_permille / 10);
	snprintf(info.status, sizeof(info.status), "up");
	info.rtt_us = f.rtt_us;
	info.loss_ppm = f.loss_ppm;
	info.bandwidth_kbps = f.bandwidth_kbps;
	info.utilization_permille = f.utilisation_permille;
	info.weight = wish_weight(t, l->node);
	info.has_detail = true;
	fill_detail(&info.detail, l, &f);
	return send_pb(ch, GT_ITEM, call, mesh_v1_LinkInfo_fields, &info);
}

static int
on_list_links(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	mesh_ipc_CallStatus done = mesh_ipc_CallStatus_init_default;
	uint32_t call = m->peerid;
	struct link *l;
	int err;

	TAILQ_FOREACH (l, &t->links.all, order)
		if ((err = send_link(ch, call, t, l)) != 0)
			return err;
	return send_pb(ch, GT_DONE, call, mesh_ipc_CallStatus_fields, &done);
}

/* --- links that are asked for --- */

static int
on_add_link(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_v1_AddLinkReq req = mesh_v1_AddLinkReq_init_default;
	mesh_ipc_CallStatus status = mesh_ipc_CallStatus_init_default;
	int err = pb_unpack(m->body, m->len, mesh_v1_AddLinkReq_fields, &req);

	if (err != 0)
		return err;
	wish_add_link(ctx, &req, &status);
	return send_pb(ch, GT_DONE, m->peerid, mesh_ipc_CallStatus_fields, &status);
}

static int
on_drop_link(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_v1_DropLinkReq req = mesh_v1_DropLinkReq_init_default;
	mesh_ipc_CallStatus status = mesh_ipc_CallStatus_init_default;
	int err = pb_unpack(m->body, m->len, mesh_v1_DropLinkReq_fields, &req);

	if (err != 0)
		return err;
	wish_drop_link(ctx, &req, &status);
	return send_pb(ch, GT_DONE, m->peerid, mesh_ipc_CallStatus_fields, &status);
}

/* --- status and metrics --- */

static void
fill_daemon(mesh_v1_DaemonStatus *d, const struct transport *t)
{
	bool ok = t->identity.known;

	snprintf(d->name, sizeof(d->name), "transportd");
	snprintf(d->state, sizeof(d->state), "%s", ok ? "running" : "degraded");
	if (!ok)
		snprintf(d->detail, sizeof(d->detail), "waiting for consensusd to tell this node's identity");
	else
		snprintf(d->detail, sizeof(d->detail), "%zu links, %zu destinations, %u connections pending",
		    t->links.count, fib_count(t->fib), ws_pending_count(t->ws));
	d->pid = getpid();
	d->uptime_ms = (int64_t)(clock_unix_ms() - t->started_unix_ms);
}

static int
on_node_status(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	mesh_v1_NodeStatus s = mesh_v1_NodeStatus_init_default;

	ulid_format(s.mesh_id, &t->set.mesh_id);
	if (t->identity.known)
		nodeid_format(s.node_id, t->identity.node_id);
	snprintf(s.node_name, sizeof(s.node_name), "%s", t->identity.name);
	snprintf(s.version, sizeof(s.version), "%s", mesh_version);
	s.daemons_count = 1;
	fill_daemon(&s.daemons[0], t);
	s.serving = t->identity.known;
	return send_pb(ch, GT_REPLY, m->peerid, mesh_v1_NodeStatus_fields, &s);
}

static void
measure_links(struct transport *t)
{
	int64_t memory = 0, kbps = 0;
	struct link_figures f;
	struct link *l;

	TAILQ_FOREACH (l, &t->links.all, order) {
		link_figures(l, &f);
		memory += (int64_t)f.memory_bytes;
		kbps += (int64_t)f.bandwidth_kbps;
	}
	stat_set(STAT_LINK_MEMORY, memory);
	stat_set(STAT_LINK_BANDWIDTH, kbps * 1000 / 8);
}

static int
on_metrics(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	struct buf out;
	int err;

	stat_set(STAT_CERT_EXPIRY, tls_not_after(t->tls));
	measure_links(t);
	buf_init(&out, METRICS_MAX_BYTES);
	err = metrics_print(&out, "transportd");
	if (err == 0)
		err = channel_send(ch, GT_REPLY, m->peerid, buf_head(&out), buf_left(&out));
	buf_fini(&out);
	return err;
}

/* --- events --- */

static void
put_meta(mesh_v1_MeshEvent *e, const char *key, const char *value)
{
	mesh_v1_MeshEvent_MetadataEntry *m = &e->metadata[e->metadata_count++];

	snprintf(m->key, sizeof(m->key), "%s", key);
	snprintf(m->value, sizeof(m->value), "%s", value);
}

void
gateway_event(struct transport *t, const char *type, const struct link *l, const char *reason)
{
	mesh_v1_MeshEvent e = mesh_v1_MeshEvent_init_default;
	char id[NODEID_TEXT_SIZE];
	struct ulid event_id;
	uint8_t random[10];

	crypto_random(random, sizeof(random));
	ulid_make(&event_id, clock_unix_ms(), random);
	ulid_format(e.event_id, &event_id);
	snprintf(e.event_type, sizeof(e.event_type), "%s", type);
	e.timestamp = (int64_t)clock_unix_ms();
	nodeid_format(id, l->node);
	put_meta(&e, "node_id", id);
	put_meta(&e, "node_name", l->name);
	if (link_conn(l) != NULL)
		put_meta(&e, "address", link_conn(l)->address);
	if (reason != NULL)
		put_meta(&e, "reason", reason);
	for (unsigned i = 0; i < GATEWAYS_MAX; i++) {
		struct channel *ch = t->gateway.chs[i];

		/* Events are news, not state: one that finds no room is lost. */
		if (ch != NULL && !channel_full(ch) &&
		    send_pb(ch, GT_EVENT, 0, mesh_v1_MeshEvent_fields, &e) != 0)
			log_debug("event %s not sent to %s", type, channel_peer(ch));
	}
}

/* --- the channel --- */

static int
on_up(void *ctx, struct channel *ch)
{
	struct transport *t = ctx;

	for (unsigned i = 0; i < GATEWAYS_MAX; i++) {
		if (t->gateway.chs[i] == NULL) {
			t->gateway.chs[i] = ch;
			return 0;
		}
	}
	return ERR_FULL;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct transport *t = ctx;

	(void)err;
	for (unsigned i = 0; i < GATEWAYS_MAX; i++)
		if (t->gateway.chs[i] == ch)
			t->gateway.chs[i] = NULL;
}

void
gateway_conf(struct transport *t, struct channel_conf *out)
{
	*out = (struct channel_conf){
	    .edge = &edge_gateway_transport,
	    .handlers = handlers,
	    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .ctx = t,
	};
}
