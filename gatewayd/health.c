/* health: see health.h. */
#include "gatewayd/health.h"

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "common/base/mem.h"
#include "common/os/log.h"
#include "gatewayd/call.h"
#include "gatewayd/core/wire.h"
#include "gatewayd/gateway.h"

/* grpc.health.v1.HealthCheckResponse.ServingStatus */
enum serving { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

enum { SERVICE_NAME_SIZE = 128 };

struct watcher {
	struct call *call;
	char service[SERVICE_NAME_SIZE];
	enum serving told;
	LIST_ENTRY(watcher) entry;
};

struct health {
	bool serving;
	char reason[256];
	LIST_HEAD(, watcher) watchers;
};

struct health *
health_new(void)
{
	struct health *h = mem_calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	snprintf(h->reason, sizeof(h->reason), "consensusd is not connected yet");
	LIST_INIT(&h->watchers);
	return h;
}

void
health_free(struct health *h)
{
	MUST(h == NULL || LIST_EMPTY(&h->watchers));
	mem_free(h);
}

bool
health_serving(const struct health *h)
{
	return h->serving;
}

const char *
health_reason(const struct health *h)
{
	return h->reason;
}

static bool
needs_consensus(const char *service)
{
	return service[0] == '\0' || strcmp(service, "mesh.v1.MeshService") == 0 ||
	       strcmp(service, "mesh.v1.MeshDataService") == 0;
}

static enum serving
state_of(const struct health *h, const char *service)
{
	char path[SERVICE_NAME_SIZE + 2];
	int n = snprintf(path, sizeof(path), "/%s/", service);

	if (needs_consensus(service))
		return h->serving ? SERVING : NOT_SERVING;
	return method_service_known(path, (size_t)n) ? SERVING : SERVICE_UNKNOWN;
}

/* The service that a HealthCheckRequest names; false: it is not valid, or longer than any that exists. */
static bool
service_read(const uint8_t *data, size_t len, char out[SERVICE_NAME_SIZE])
{
	const uint8_t *name;
	size_t n;
	int rc = wire_find_bytes(data, len, 1, &name, &n);

	if (rc < 0 || n >= SERVICE_NAME_SIZE)
		return false;
	if (n > 0)
		memcpy(out, name, n);
	out[n] = '\0';
	return strlen(out) == n;
}

static bool
state_send(struct call *c, enum serving state)
{
	uint8_t body[2] = {1 << 3 | WIRE_VARINT, (uint8_t)state};

	return call_send(c, body, sizeof(body));
}

void
health_set(struct health *h, bool serving, const char *reason)
{
	struct watcher *w, *next;

	if (h->serving != serving)
		log_notice(
		    "the API is %s%s%s", serving ? "serving" : "not serving: ", serving ? "" : reason, "");
	h->serving = serving;
	snprintf(h->reason, sizeof(h->reason), "%s", reason);
	for (w = LIST_FIRST(&h->watchers); w != NULL; w = next) {
		enum serving now = state_of(h, w->service);

		next = LIST_NEXT(w, entry);
		if (now == w->told)
			continue;
		w->told = now;
		state_send(w->call, now);
	}
}

static void
check_message(struct call *c, const uint8_t *data, size_t len)
{
	char service[SERVICE_NAME_SIZE];
	enum serving state;

	if (!service_read(data, len, service)) {
		call_fail(c, GRPC_INTERNAL, "the request is not a valid grpc.health.v1.HealthCheckRequest");
		return;
	}
	state = state_of(c->gw->health, service);
	if (state == SERVICE_UNKNOWN)
		call_fail(c, GRPC_NOT_FOUND, "there is no service '%s' here", service);
	else if (state_send(c, state))
		call_finish(c, GRPC_OK, "");
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
	LIST_INSERT_HEAD(&c->gw->health->watchers, w, entry);
	if (!service_read(data, len, w->service)) {
		call_fail(c, GRPC_INTERNAL, "the request is not a valid grpc.health.v1.HealthCheckRequest");
		return;
	}
	w->told = state_of(c->gw->health, w->service);
	state_send(c, w->told);
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

const struct call_ops health_check_ops = {.message = check_message};
const struct call_ops health_watch_ops = {.message = watch_message, .ended = watch_ended};
