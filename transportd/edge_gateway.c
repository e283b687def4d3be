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
#include "transportd/core/fib.h"
#include "transportd/stats.h"
#include "transportd/tls.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

#define EDGE_DEF "proto/gateway_transport.def"
#define EDGE_HANDLERS handlers
#include "proto/edge_server.h"

enum { ITEM_MAX_BYTES = 4096, EVENT_MAX_BYTES = 4096, METRICS_MAX_BYTES = 1024 * 1024 };

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
fill_detail(mesh_v1_LinkDetail *d, const struct link *l)
{
	snprintf(d->address, sizeof(d->address), "%s", l->conn->address);
	d->dialled = l->conn->dialled;
	d->since_unix_ms = l->since_unix_ms;
	d->rtt_min_us = heartbeat_rtt_min_us(&l->hb);
	d->tx_bytes = l->tx_bytes;
	d->rx_bytes = l->rx_bytes;
	d->tx_frames = l->tx_frames;
	d->rx_frames = l->rx_frames;
	d->dropped_frames = l->dropped_frames;
	d->queued_bytes = l->q.bytes;
	tls_cipher(ws_session(l->conn->ws), d->cipher);
}

static int
send_link(struct channel *ch, uint32_t call, const struct transport *t, const struct link *l)
{
	mesh_v1_LinkInfo info = mesh_v1_LinkInfo_init_default;

	_Static_assert(sizeof(info.detail.cipher) >= TLS_CIPHER_SIZE, "room for the cipher");
	nodeid_format(info.source_node_id, t->identity.node_id);
	nodeid_format(info.target_node_id, l->node);
	snprintf(info.link_id, sizeof(info.link_id), "%s-%s", info.source_node_id, info.target_node_id);
	info.latency_ms = (int32_t)((l->hb.rtt_us / 2 + 500) / 1000);
	info.loss = (int32_t)(heartbeat_loss_ppm(&l->hb) / 1000);
	snprintf(info.status, sizeof(info.status), "up");
	info.rtt_us = l->hb.rtt_us;
	info.has_detail = true;
	fill_detail(&info.detail, l);
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

static int
on_metrics(void *ctx, struct channel *ch, struct imsg *m)
{
	struct transport *t = ctx;
	struct buf out;
	int err;

	stat_set(STAT_CERT_EXPIRY, tls_not_after(t->tls));
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
	put_meta(&e, "address", l->conn->address);
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
