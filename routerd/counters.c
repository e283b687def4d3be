#include <stddef.h>

#include "common/base/buf.h"
#include "common/os/metrics.h"
#include "routerd/members.h"
#include "routerd/nodemeta.h"
#include "routerd/routerd.h"

/* The core counts for itself; its counters become metrics when they are asked for. */
#define ROW(field, name, help)                                                                               \
	{                                                                                                    \
		METRIC_COUNTER_INIT(name, help, NULL), offsetof(struct router_counters, field)               \
	}
static struct {
	struct metric metric;
	size_t at; /* in struct router_counters */
} counters[] = {
    ROW(lsa_received, "mesh_router_lsa_received_total", "LSAs that neighbours sent"),
    ROW(lsa_accepted, "mesh_router_lsa_accepted_total", "LSAs that were newer and valid"),
    ROW(lsa_duplicate, "mesh_router_lsa_duplicate_total", "LSAs that were here already"),
    ROW(lsa_stale, "mesh_router_lsa_stale_total", "LSAs older than the one here"),
    ROW(lsa_expired, "mesh_router_lsa_expired_total", "LSAs beyond their maximum age"),
    ROW(lsa_forged, "mesh_router_lsa_forged_total", "LSAs with a bad signature or key"),
    ROW(lsa_limited, "mesh_router_lsa_limited_total", "LSAs dropped because their origin sends too many"),
    ROW(lsa_refused, "mesh_router_lsa_refused_total",
	"LSAs of new nodes refused because the database is full"),
    ROW(lsa_evicted, "mesh_router_lsa_evicted_total", "LSAs refused because their node was evicted"),
    ROW(lsa_quarantined, "mesh_router_lsa_quarantined_total",
	"LSAs ignored because their neighbour sent forged ones"),
    ROW(lsa_aged_out, "mesh_router_lsa_aged_out_total", "LSAs removed because they were not refreshed"),
    ROW(lsa_originated, "mesh_router_lsa_originated_total", "LSAs of this node made and signed"),
    ROW(lsa_reissued, "mesh_router_lsa_reissued_total", "newer LSAs of this node from before a restart"),
    ROW(lsa_sent, "mesh_router_lsa_sent_total", "LSAs sent to neighbours"),
    ROW(lsa_resent, "mesh_router_lsa_resent_total", "LSAs sent again for lack of an acknowledgement"),
    ROW(adjacencies_left_out, "mesh_router_adjacencies_left_out_total",
	"adjacencies that did not fit the LSA of this node"),
    ROW(signatures_refused, "mesh_router_signatures_refused_total",
	"signatures that were refused or not valid"),
    ROW(payloads_received, "mesh_router_payloads_received_total", "link-state payloads received"),
    ROW(payloads_sent, "mesh_router_payloads_sent_total", "link-state payloads sent"),
    ROW(payloads_malformed, "mesh_router_payloads_malformed_total",
	"link-state payloads that could not be read to the end"),
    ROW(payloads_unexpected, "mesh_router_payloads_unexpected_total",
	"link-state payloads from nodes that are no neighbours"),
    ROW(digests_sent, "mesh_router_digests_sent_total", "digests of the database sent"),
    ROW(sync_given_up, "mesh_router_sync_given_up_total", "LSAs that a neighbour announced and did not send"),
    ROW(spf_runs, "mesh_router_spf_runs_total", "path computations"),
    ROW(alternatives_runs, "mesh_router_alternatives_runs_total",
	"destinations whose alternative paths were computed"),
    ROW(links_damped, "mesh_router_links_damped_total",
	"times a link was damped because it went down again and again"),
    ROW(routes_changed, "mesh_router_routes_changed_total", "routes added, changed or removed"),
    ROW(fib_whole, "mesh_router_fib_whole_total", "times the whole FIB was installed"),
    ROW(memory_out, "mesh_router_memory_out_total", "things put off because memory was out"),
};
#undef ROW

#define ROW(field, name, help)                                                                               \
	{                                                                                                    \
		METRIC_COUNTER_INIT(name, help, NULL), offsetof(struct swim_counters, field)                 \
	}
static struct {
	struct metric metric;
	size_t at; /* in struct swim_counters */
} member_counters[] = {
    ROW(payloads_received, "mesh_member_payloads_received_total", "gossip payloads received"),
    ROW(payloads_sent, "mesh_member_payloads_sent_total", "gossip payloads sent"),
    ROW(bytes_received, "mesh_member_bytes_received_total", "bytes of gossip payloads received"),
    ROW(bytes_sent, "mesh_member_bytes_sent_total", "bytes of gossip payloads sent"),
    ROW(payloads_malformed, "mesh_member_payloads_malformed_total",
	"gossip payloads that could not be read to the end"),
    ROW(payloads_strange, "mesh_member_payloads_strange_total",
	"gossip payloads from nodes that are no members"),
    ROW(implausible, "mesh_member_implausible_total", "statements about members that can't be true"),
    ROW(probes, "mesh_member_probes_total", "probes of members"),
    ROW(probes_indirect, "mesh_member_probes_indirect_total", "probes that others were asked for"),
    ROW(probes_failed, "mesh_member_probes_failed_total", "probes that nobody answered"),
    ROW(probes_for_others, "mesh_member_probes_for_others_total", "probes made for others"),
    ROW(suspected, "mesh_member_suspected_total", "members that became suspect"),
    ROW(refuted, "mesh_member_refuted_total", "suspects that refuted"),
    ROW(confirmed, "mesh_member_confirmed_total", "members that were found dead"),
    ROW(unlinked, "mesh_member_unlinked_total", "members found dead because they lost all links"),
    ROW(refutations, "mesh_member_refutations_total", "suspicions of this node that it refuted"),
    ROW(stalls, "mesh_member_stalls_total", "times that this process stood still"),
    ROW(members_refused, "mesh_member_members_refused_total", "members refused because the table is full"),
    ROW(broadcasts_dropped, "mesh_member_broadcasts_dropped_total",
	"statements dropped because too many wait"),
    ROW(syncs, "mesh_member_syncs_total", "push/pulls begun"),
    ROW(syncs_limited, "mesh_member_syncs_limited_total",
	"push/pulls of others not answered because there are too many"),
    ROW(events_received, "mesh_member_events_received_total", "user events received for the first time"),
    ROW(events_dropped, "mesh_member_events_dropped_total",
	"user events that were too old, too far ahead or too many"),
    ROW(memory_out, "mesh_member_memory_out_total", "things not done because memory was out"),
};
#undef ROW

enum { MEMBER_COUNTERS = sizeof(member_counters) / sizeof(member_counters[0]) };
_Static_assert(
    sizeof(struct swim_counters) == MEMBER_COUNTERS * sizeof(uint64_t), "each counter is a metric");

static struct metric members_alive =
    METRIC_GAUGE_INIT("mesh_members_alive", "members that are alive, this one included", NULL);
static struct metric members_suspect =
    METRIC_GAUGE_INIT("mesh_members_suspect", "members that are suspected", NULL);
static struct metric members_dead = METRIC_GAUGE_INIT("mesh_members_dead", "members that are dead", NULL);
static struct metric members_left = METRIC_GAUGE_INIT("mesh_members_left", "members that left", NULL);
static struct metric member_blind = METRIC_GAUGE_INIT("mesh_member_blind",
    "1 while this node can't tell how others are: transportd is away, or its links are not back", NULL);
static struct metric load = METRIC_GAUGE_INIT("mesh_router_load_permille",
    "load average of this machine over five minutes for each processor; 1000: all are busy, or more", NULL);
static struct metric member_health = METRIC_GAUGE_INIT(
    "mesh_member_local_health", "local health multiplier of membership: 0 is well, 8 is worst", NULL);

enum { COUNTERS = sizeof(counters) / sizeof(counters[0]) };
_Static_assert(sizeof(struct router_counters) == COUNTERS * sizeof(uint64_t), "each counter is a metric");

static struct metric nodes = METRIC_GAUGE_INIT("mesh_router_nodes", "nodes in the link-state database", NULL);
static struct metric nodes_alive = METRIC_GAUGE_INIT(
    "mesh_router_nodes_reachable", "nodes that there is a path to, this one included", NULL);
static struct metric links = METRIC_GAUGE_INIT("mesh_router_links", "links of this node", NULL);
static struct metric links_synced =
    METRIC_GAUGE_INIT("mesh_router_links_synchronised", "links of this node that are advertised", NULL);
static struct metric routes = METRIC_GAUGE_INIT("mesh_router_routes", "routes computed", NULL);
static struct metric paths =
    METRIC_GAUGE_INIT("mesh_router_paths", "paths in the forwarding table, alternatives included", NULL);
static struct metric waiting = METRIC_GAUGE_INIT(
    "mesh_router_routes_waiting", "routes whose alternative paths are to be computed", NULL);
static struct metric used = METRIC_GAUGE_INIT(
    "mesh_router_routes_used", "destinations that client data is sent to: with all alternatives", NULL);
static struct metric damped = METRIC_GAUGE_INIT(
    "mesh_router_links_damped", "links that are shunned because they went down again and again", NULL);
static struct metric lsdb_bytes =
    METRIC_GAUGE_INIT("mesh_router_lsdb_bytes", "size of the LSAs in the link-state database", NULL);
static struct metric fib_version =
    METRIC_GAUGE_INIT("mesh_router_fib_version", "version of the forwarding table", NULL);

static uint64_t
counter_value(const void *c, size_t at)
{
	return *(const uint64_t *)(const void *)((const char *)c + at);
}

void
counters_init(void)
{
	for (size_t i = 0; i < COUNTERS; i++)
		metrics_add(&counters[i].metric);
	for (size_t i = 0; i < MEMBER_COUNTERS; i++)
		metrics_add(&member_counters[i].metric);
	metrics_add(&members_alive);
	metrics_add(&members_suspect);
	metrics_add(&members_dead);
	metrics_add(&members_left);
	metrics_add(&member_health);
	metrics_add(&member_blind);
	metrics_add(&load);
	metrics_add(&nodes);
	metrics_add(&nodes_alive);
	metrics_add(&links);
	metrics_add(&links_synced);
	metrics_add(&routes);
	metrics_add(&paths);
	metrics_add(&waiting);
	metrics_add(&used);
	metrics_add(&damped);
	metrics_add(&lsdb_bytes);
	metrics_add(&fib_version);
}

static void
set_members(struct routerd *d)
{
	const struct swim_counters *c = members_counters(d);
	struct swim_summary sum;
	uint16_t permille;

	for (size_t i = 0; i < MEMBER_COUNTERS; i++)
		metric_set(&member_counters[i].metric, (int64_t)counter_value(c, member_counters[i].at));
	members_show(d, &sum);
	metric_set(&members_alive, (int64_t)sum.alive);
	metric_set(&members_suspect, (int64_t)sum.suspect);
	metric_set(&members_dead, (int64_t)sum.dead);
	metric_set(&members_left, (int64_t)sum.left);
	metric_set(&member_health, (int64_t)sum.health);
	metric_set(&member_blind, sum.sight != SWIM_SIGHT_CLEAR);
	if (nodemeta_load(d, &permille) == 0)
		metric_set(&load, permille);
}

int
counters_print(struct routerd *d, struct buf *out)
{
	const struct router_counters *c = router_counters(d->router);
	struct router_summary sum;

	for (size_t i = 0; i < COUNTERS; i++)
		metric_set(&counters[i].metric, (int64_t)counter_value(c, counters[i].at));
	set_members(d);
	router_show(d->router, &sum);
	metric_set(&nodes, (int64_t)sum.nodes);
	metric_set(&nodes_alive, (int64_t)sum.nodes_alive);
	metric_set(&links, (int64_t)sum.links);
	metric_set(&links_synced, (int64_t)sum.links_synced);
	metric_set(&routes, (int64_t)sum.routes);
	metric_set(&paths, (int64_t)sum.paths);
	metric_set(&waiting, (int64_t)sum.waiting);
	metric_set(&used, (int64_t)sum.used);
	metric_set(&damped, (int64_t)sum.links_damped);
	metric_set(&lsdb_bytes, (int64_t)sum.lsdb_bytes);
	metric_set(&fib_version, (int64_t)sum.fib_version);
	return metrics_print(out, "routerd");
}
