/* api: status, metrics, health and events; see api.h. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "common/os/metrics.h"
#include "consensusd/acl.h"
#include "consensusd/api_impl.h"
#include "consensusd/applier.h"
#include "consensusd/dbsink.h"
#include "consensusd/memo.h"
#include "consensusd/engine.h"
#include "consensusd/meters.h"
#include "consensusd/router.h"
#include "consensusd/sink.h"
#include "consensusd/store.h"
#include "consensusd/transport.h"
#include "proto/ipc.pb.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

enum { API_METRICS_MAX_BYTES = 4 * 1024 * 1024, API_STATUS_MAX_BYTES = 8192 };

/* Whether the API can be served, and what is wrong (it may be served though). */
static bool
condition(const struct engine *e, char *detail, size_t size)
{
	const char *why, *trouble = e->store != NULL ? store_error(e->store) : "";

	if (engine_held(e, FRAME_CLASS_SYSTEM, &why)) {
		snprintf(detail, size, "%s%s%s", why, *trouble != '\0' ? ": " : "", trouble);
		return e->loaded && store_ready(e->store);
	}
	if (!transport_up(e->transport))
		snprintf(detail, size, "transportd is away: messages wait");
	else if (!router_up(e->router))
		snprintf(detail, size, "routerd is away: paths are as they were");
	else if (e->letters_waiting > 0)
		snprintf(detail, size,
		    "%zu streams wait for room for dead letters (dead-letters-max): there are %llu",
		    e->letters_waiting, (unsigned long long)e->letters);
	else if (sink_stuck(e, detail, size))
		return true;
	else if (!acl_trouble(e->acl, detail, size) && !memo_trouble(e, detail, size) &&
		 *applier_trouble(e->applier, detail, size) == '\0')
		dbsinks_trouble(e->dbsinks, detail, size);
	return true;
}

void
api_status_health(struct api *a, struct client *c)
{
	mesh_ipc_Health h = mesh_ipc_Health_init_zero;
	uint8_t mem[512];
	struct buf out;
	int err;

	h.serving = condition(a->engine, h.reason, sizeof(h.reason));
	buf_init_fixed(&out, mem, sizeof(mem));
	err = pb_pack(&out, mesh_ipc_Health_fields, &h);
	/* An empty message would be refused by the edge: not serving always has a reason. */
	if (err == 0)
		err = channel_send(c->channel, GC_HEALTH, 0, buf_head(&out), buf_left(&out));
	if (err != 0)
		channel_close(c->channel, err);
}

void
api_health_changed(struct api *a)
{
	struct client *c;

	TAILQ_FOREACH (c, &a->clients, entry)
		api_status_health(a, c);
}

static void
event_add(mesh_v1_MeshEvent *ev, const struct api_field *f)
{
	mesh_v1_MeshEvent_MetadataEntry *m = &ev->metadata[ev->metadata_count++];

	snprintf(m->key, sizeof(m->key), "%s", f->key);
	snprintf(m->value, sizeof(m->value), "%s", f->value);
}

void
api_event(struct engine *e, const char *type, const struct api_field *fields, size_t count)
{
	mesh_v1_MeshEvent ev = mesh_v1_MeshEvent_init_zero;
	uint8_t mem[2048];
	struct buf out;
	struct ulid id;
	struct client *c;

	engine_ulid(e, &id);
	ulid_format(ev.event_id, &id);
	snprintf(ev.event_type, sizeof(ev.event_type), "%s", type);
	ev.timestamp = (int64_t)clock_unix_ms();
	for (size_t i = 0; i < count && i < API_FIELDS_MAX; i++)
		event_add(&ev, &fields[i]);
	buf_init_fixed(&out, mem, sizeof(mem));
	if (pb_pack(&out, mesh_v1_MeshEvent_fields, &ev) != 0)
		return;
	TAILQ_FOREACH (c, &e->api->clients, entry) {
		int err = channel_send(c->channel, GC_EVENT, 0, buf_head(&out), buf_left(&out));

		if (err != 0)
			log_debug("an event is lost: %s", err_text(err));
	}
}

void
api_stream_event(
    struct engine *e, const char *type, const char *stream_id, const char *tenant, const char *role)
{
	const struct api_field fields[] = {
	    {"stream_id", stream_id}, {"tenant_id", tenant}, {"role", role}, {"node_name", e->node_name}};

	api_event(e, type, fields, sizeof(fields) / sizeof(fields[0]));
}

void
api_status_node(struct api *a, struct client *c, const struct imsg *m)
{
	struct engine *e = a->engine;
	struct call *call = api_unary(a, c, m);
	mesh_v1_NodeStatus st = mesh_v1_NodeStatus_init_zero;
	mesh_v1_DaemonStatus *d = &st.daemons[0];

	if (call == NULL)
		return;
	ulid_format(st.mesh_id, &e->mesh_id);
	memcpy(st.mesh_name, e->mesh_name, sizeof(st.mesh_name));
	nodeid_format(st.node_id, e->self);
	memcpy(st.node_name, e->node_name, sizeof(st.node_name));
	snprintf(st.version, sizeof(st.version), "%s", mesh_version);
	st.daemons_count = 1;
	snprintf(d->name, sizeof(d->name), "consensusd");
	st.serving = condition(e, d->detail, sizeof(d->detail));
	snprintf(d->state, sizeof(d->state), "%s", d->detail[0] == '\0' ? "running" : "degraded");
	d->pid = getpid();
	d->uptime_ms = mono_diff_us(clock_mono(), e->started) / 1000;
	api_reply_message(call, mesh_v1_NodeStatus_fields, &st, API_STATUS_MAX_BYTES);
}

void
api_status_metrics(struct api *a, struct client *c, const struct imsg *m)
{
	struct call *call = api_unary(a, c, m);
	struct buf out;
	int err;

	if (call == NULL)
		return;
	if (a->engine->applier != NULL)
		applier_measure(a->engine->applier);
	buf_init(&out, API_METRICS_MAX_BYTES);
	err = metrics_print(&out, "consensusd");
	if (err == 0)
		err = meters_print(a->engine->meters, &out);
	if (err == 0)
		call_reply(call, buf_head(&out), buf_left(&out));
	else
		call_done(call, CODE_RESOURCE_EXHAUSTED, "metrics can't be printed: %s", err_text(err));
	buf_fini(&out);
}
