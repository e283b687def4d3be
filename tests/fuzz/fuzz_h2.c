/* Any bytes after HTTP/2's preface: the connection goes on or ends; afterwards nothing is left of it. */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/os/loop.h"
#include "gatewayd/auth.h"
#include "gatewayd/call.h"
#include "gatewayd/conns.h"
#include "gatewayd/events.h"
#include "gatewayd/gateway.h"
#include "gatewayd/h2.h"
#include "gatewayd/health.h"

static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

static void
on_wake(void *arg)
{
	(void)arg;
}

static struct gateway *
gateway_get(void)
{
	static struct gateway gw;

	if (gw.loop != NULL)
		return &gw;
	gw.loop = loop_event_new();
	FUZZ_CHECK(gw.loop != NULL);
	gw.limits = (struct gateway_limits){.message_max_bytes = 1000, .calls_max = 10};
	request_table_init(&gw.requests, 10);
	api_consensus_init(&gw.backends[BACKEND_CONSENSUS], &gw);
	api_router_init(&gw.backends[BACKEND_ROUTER], &gw);
	api_transport_init(&gw.backends[BACKEND_TRANSPORT], &gw);
	gw.calls = calls_new(&gw);
	gw.events = events_new();
	gw.health = health_new();
	gw.auth = auth_new();
	gw.conns = conns_new(&gw);
	FUZZ_CHECK(gw.calls != NULL && gw.events != NULL && gw.health != NULL && gw.auth != NULL &&
		   gw.conns != NULL);
	return &gw;
}

/* Takes what the server wants to say; false: it gave up. */
static int
pull_all(struct h2 *h)
{
	static uint8_t mem[4096];
	struct buf out;

	for (int i = 0; i < 1000; i++) {
		buf_init_fixed(&out, mem, sizeof(mem));
		if (h2_pull(h, &out) != 0)
			return 0;
		if (buf_left(&out) == 0)
			return 1;
	}
	return 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gateway *gw = gateway_get();
	const struct principal who = {.kind = PRINCIPAL_LOCAL};
	const struct h2_owner owner = {.gw = gw, .who = &who, .peer = "fuzz", .wake = on_wake};
	struct h2 *h = h2_new(&owner);
	size_t step = size > 0 ? 1 + data[0] : 1;

	FUZZ_CHECK(h != NULL);
	FUZZ_CHECK(h2_feed(h, preface, sizeof(preface) - 1) == 0);
	for (size_t at = 1; at < size; at += step) {
		size_t n = step < size - at ? step : size - at;

		if (h2_feed(h, data + at, n) != 0 || !pull_all(h))
			break;
	}
	pull_all(h);
	h2_free(h);
	FUZZ_CHECK(calls_count(gw->calls) == 0 && gw->requests.count == 0 && gw->memory_bytes == 0);
	return 0;
}
