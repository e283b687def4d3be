/* events: see events.h. */
#include "gatewayd/events.h"

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "gatewayd/call.h"
#include "gatewayd/gateway.h"
#include "gatewayd/limits.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

struct watcher {
	struct call *call;
	mesh_v1_Filter filter;
	LIST_ENTRY(watcher) entry;
};

struct events {
	LIST_HEAD(, watcher) watchers;
	struct ulid last;
};

struct events *
events_new(void)
{
	struct events *ev = mem_calloc(1, sizeof(*ev));

	if (ev != NULL)
		LIST_INIT(&ev->watchers);
	return ev;
}

void
events_free(struct events *ev)
{
	MUST(ev == NULL || LIST_EMPTY(&ev->watchers));
	mem_free(ev);
}

/* A filter's values match if one of them is the value of one of the event's metadata. */
static bool
value_matches(const mesh_v1_Filter *f, const mesh_v1_MeshEvent *e)
{
	for (pb_size_t i = 0; i < f->values_count; i++)
		for (pb_size_t k = 0; k < e->metadata_count; k++)
			if (strcmp(f->values[i], e->metadata[k].value) == 0)
				return true;
	return f->values_count == 0;
}

static bool
filter_matches(const mesh_v1_Filter *f, const mesh_v1_MeshEvent *e)
{
	return (f->type[0] == '\0' || strcmp(f->type, e->event_type) == 0) && value_matches(f, e);
}

int
events_publish(struct events *ev, const uint8_t *data, size_t len)
{
	mesh_v1_MeshEvent e = mesh_v1_MeshEvent_init_zero;
	struct watcher *w, *next;
	int rc;

	if ((rc = pb_unpack(data, len, mesh_v1_MeshEvent_fields, &e)) != 0)
		return rc;
	for (w = LIST_FIRST(&ev->watchers); w != NULL; w = next) {
		next = LIST_NEXT(w, entry);
		if (!filter_matches(&w->filter, &e))
			continue;
		/* A gap would be worse than an end: a watcher that lags starts again from GetMeshStatus. */
		if (call_queued(w->call) > WATCH_QUEUE_MAX_BYTES)
			call_fail(
			    w->call, GRPC_RESOURCE_EXHAUSTED, "events are read too slowly; watch again");
		else
			call_send(w->call, data, len);
	}
	return 0;
}

void
events_daemon(struct events *ev, const char *name, bool up)
{
	mesh_v1_MeshEvent e = mesh_v1_MeshEvent_init_zero;
	uint8_t random[10], mem[256];
	struct ulid id;
	struct buf b;

	crypto_random(random, sizeof(random));
	ulid_next(&id, &ev->last, clock_unix_ms(), random);
	ev->last = id;
	ulid_format(e.event_id, &id);
	snprintf(e.event_type, sizeof(e.event_type), "daemon_%s", up ? "up" : "down");
	e.timestamp = (int64_t)clock_unix_ms();
	e.metadata_count = 1;
	snprintf(e.metadata[0].key, sizeof(e.metadata[0].key), "daemon");
	snprintf(e.metadata[0].value, sizeof(e.metadata[0].value), "%s", name);
	buf_init_fixed(&b, mem, sizeof(mem));
	if (pb_pack(&b, mesh_v1_MeshEvent_fields, &e) != 0 ||
	    events_publish(ev, buf_head(&b), buf_left(&b)) != 0)
		log_warn("the event %s of %s could not be encoded", e.event_type, name);
}

static void
watch_message(struct call *c, const uint8_t *data, size_t len)
{
	struct watcher *w = mem_calloc(1, sizeof(*w));

	if (w == NULL) {
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "gatewayd is out of memory");
		return;
	}
	w->call = c;
	c->state = w;
	LIST_INSERT_HEAD(&c->gw->events->watchers, w, entry);
	/* method_valid() has decoded it already. */
	if (pb_unpack(data, len, mesh_v1_Filter_fields, &w->filter) != 0)
		call_fail(c, GRPC_INTERNAL, "the filter is not valid protobuf");
}

static void
watch_ended(struct call *c)
{
	struct watcher *w = c->state;

	if (w == NULL)
		return;
	LIST_REMOVE(w, entry);
	mem_free(w);
}

const struct call_ops events_ops = {.message = watch_message, .ended = watch_ended};
