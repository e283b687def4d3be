/* gateway_metrics: see gateway_metrics.h. */
#include "gatewayd/gateway_metrics.h"

#include "common/os/metrics.h"

#define CALLS "mesh_gateway_calls_total"
#define CALLS_HELP "API calls that ended, by gRPC status."

static struct metric calls[GRPC_STATUS_COUNT] = {
#define X(name, value) [value] = METRIC_COUNTER_INIT(CALLS, CALLS_HELP, "code=\"" #name "\""),
    GRPC_STATUS_LIST(X)
#undef X
};

#define REFUSED "mesh_gateway_connections_refused_total"
#define REFUSED_HELP "API connections that gatewayd refused or ended, by reason."

static struct metric refused[REFUSED_COUNT] = {
    [REFUSED_FULL] = METRIC_COUNTER_INIT(REFUSED, REFUSED_HELP, "reason=\"full\""),
    [REFUSED_TLS] = METRIC_COUNTER_INIT(REFUSED, REFUSED_HELP, "reason=\"tls\""),
    [REFUSED_TIMEOUT] = METRIC_COUNTER_INIT(REFUSED, REFUSED_HELP, "reason=\"timeout\""),
    [REFUSED_PROTOCOL] = METRIC_COUNTER_INIT(REFUSED, REFUSED_HELP, "reason=\"protocol\""),
    [REFUSED_PINGS] = METRIC_COUNTER_INIT(REFUSED, REFUSED_HELP, "reason=\"pings\""),
    [REFUSED_SILENT] = METRIC_COUNTER_INIT(REFUSED, REFUSED_HELP, "reason=\"silent\""),
};

static struct metric accepted =
    METRIC_COUNTER_INIT("mesh_gateway_connections_accepted_total", "API connections accepted.", NULL);
static struct metric unauthenticated = METRIC_COUNTER_INIT(
    "mesh_gateway_unauthenticated_total", "API calls without a valid certificate or token.", NULL);
static struct metric received_messages =
    METRIC_COUNTER_INIT("mesh_gateway_received_messages_total", "Request messages.", NULL);
static struct metric received_bytes =
    METRIC_COUNTER_INIT("mesh_gateway_received_bytes_total", "Bytes of request messages.", NULL);
static struct metric sent_messages =
    METRIC_COUNTER_INIT("mesh_gateway_sent_messages_total", "Response messages.", NULL);
static struct metric sent_bytes =
    METRIC_COUNTER_INIT("mesh_gateway_sent_bytes_total", "Bytes of response messages.", NULL);
static struct metric connections_now =
    METRIC_GAUGE_INIT("mesh_gateway_connections", "API connections that are open.", NULL);
static struct metric calls_now = METRIC_GAUGE_INIT("mesh_gateway_calls", "API calls that are open.", NULL);
static struct metric memory_now =
    METRIC_GAUGE_INIT("mesh_gateway_memory_bytes", "Bytes of requests and answers held in memory.", NULL);

static const double duration_bounds[] = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
static struct metric duration = {
    .name = "mesh_gateway_call_duration_seconds",
    .help = "Time that calls with one answer took.",
    .kind = METRIC_HISTOGRAM,
    .bounds = duration_bounds,
    .bound_count = sizeof(duration_bounds) / sizeof(duration_bounds[0]),
};

void
gateway_metrics_init(void)
{
	struct metric *rest[] = {&accepted, &unauthenticated, &received_messages, &received_bytes,
	    &sent_messages, &sent_bytes, &connections_now, &calls_now, &memory_now, &duration};

	for (unsigned i = 0; i < GRPC_STATUS_COUNT; i++)
		metrics_add(&calls[i]);
	for (unsigned i = 0; i < REFUSED_COUNT; i++)
		metrics_add(&refused[i]);
	for (unsigned i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
		metrics_add(rest[i]);
}

void
gateway_metrics_call(enum grpc_status status, int64_t duration_us, bool streaming)
{
	metric_inc(&calls[status]);
	if (!streaming)
		metric_observe(&duration, (double)duration_us / 1e6);
}

void
gateway_metrics_received(size_t bytes)
{
	metric_inc(&received_messages);
	metric_add(&received_bytes, (int64_t)bytes);
}

void
gateway_metrics_sent(size_t bytes)
{
	metric_inc(&sent_messages);
	metric_add(&sent_bytes, (int64_t)bytes);
}

void
gateway_metrics_refused(enum gateway_refusal why)
{
	metric_inc(&refused[why]);
}

void
gateway_metrics_unauthenticated(void)
{
	metric_inc(&unauthenticated);
}

void
gateway_metrics_accepted(void)
{
	metric_inc(&accepted);
}

void
gateway_metrics_now(size_t connections, size_t open_calls, size_t memory_bytes)
{
	metric_set(&connections_now, (int64_t)connections);
	metric_set(&calls_now, (int64_t)open_calls);
	metric_set(&memory_now, (int64_t)memory_bytes);
}
