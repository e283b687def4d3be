#include "common/base/buf.h"
#include "common/os/metrics.h"
#include "routerd/routerd.h"

/* The core counts for itself; its counters become metrics when they are asked for. */
#define X(name, help)                                                                                        \
	static struct metric name = METRIC_COUNTER_INIT("mesh_router_" #name "_total", help, NULL);
ROUTER_COUNTERS(X)
#undef X

static struct metric nodes = METRIC_GAUGE_INIT("mesh_router_nodes", "nodes in the link-state database", NULL);
static struct metric nodes_alive = METRIC_GAUGE_INIT(
    "mesh_router_nodes_reachable", "nodes that there is a path to, this one included", NULL);
static struct metric links = METRIC_GAUGE_INIT("mesh_router_links", "links of this node", NULL);
static struct metric links_synced =
    METRIC_GAUGE_INIT("mesh_router_links_synchronised", "links of this node that are advertised", NULL);
static struct metric routes = METRIC_GAUGE_INIT("mesh_router_routes", "routes computed", NULL);
static struct metric lsdb_bytes =
    METRIC_GAUGE_INIT("mesh_router_lsdb_bytes", "size of the LSAs in the link-state database", NULL);
static struct metric fib_version =
    METRIC_GAUGE_INIT("mesh_router_fib_version", "version of the forwarding table", NULL);

void
counters_init(void)
{
#define X(name, help) metrics_add(&name);
	ROUTER_COUNTERS(X)
#undef X
	metrics_add(&nodes);
	metrics_add(&nodes_alive);
	metrics_add(&links);
	metrics_add(&links_synced);
	metrics_add(&routes);
	metrics_add(&lsdb_bytes);
	metrics_add(&fib_version);
}

int
counters_print(struct routerd *d, struct buf *out)
{
	const struct router_counters *c = router_counters(d->router);
	struct router_summary sum;

#define X(name, help) metric_set(&name, (int64_t)c->name);
	ROUTER_COUNTERS(X)
#undef X
	router_show(d->router, &sum);
	metric_set(&nodes, (int64_t)sum.nodes);
	metric_set(&nodes_alive, (int64_t)sum.nodes_alive);
	metric_set(&links, (int64_t)sum.links);
	metric_set(&links_synced, (int64_t)sum.links_synced);
	metric_set(&routes, (int64_t)sum.routes);
	metric_set(&lsdb_bytes, (int64_t)sum.lsdb_bytes);
	metric_set(&fib_version, (int64_t)sum.fib_version);
	return metrics_print(out, "routerd");
}
