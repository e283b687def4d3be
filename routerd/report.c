#include "routerd/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/id.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/daemon.h"
#include "routerd/core/cost.h"
#include "routerd/members.h"
#include "routerd/pathstate.h"
#include "routerd/routerd.h"

/* What membership says, if the node is a member; else what the paths to it say. */
static const char *
state_name(struct routerd *d, const struct lsdb_entry *e)
{
	const struct router_identity *self = router_self(d->router);
	struct swim_info info;

	if (self != NULL && e->node != self->node && members_get(d, e->node, &info) &&
	    info.state != SWIM_STATE_ALIVE)
		return swim_state_name(info.state);
	switch (e->state) {
	case NODE_STATE_ALIVE:
		return "alive";
	case NODE_STATE_LEFT:
		return "left";
	case NODE_STATE_EVICTED:
		return "evicted";
	case NODE_STATE_UNREACHABLE:
		/* That there is no path to it now may be for lack of our own transportd. */
		return e->missed && router_blind(d->router) ? "alive" : "unreachable";
	default:
		return "unreachable";
	}
}

/* When there was last a sign of life of the node: its LSA, or gossip with it. */
static int64_t
last_seen_unix_ms(struct routerd *d, const struct lsdb_entry *e)
{
	const struct router_identity *self = router_self(d->router);
	struct mono now = clock_mono(), seen = e->born;
	struct swim_info info;

	if (self != NULL && e->node == self->node)
		seen = now;
	else if (members_get(d, e->node, &info) && mono_before(seen, info.seen_at))
		seen = info.seen_at;
	return (int64_t)clock_unix_ms() - mono_diff_us(now, seen) / 1000;
}

void
report_node_name(struct routerd *d, uint64_t node, char *out, size_t size)
{
	const struct lsdb_entry *e = lsdb_get(router_lsdb(d->router), node);
	char id[NODEID_TEXT_SIZE];

	nodeid_format(id, node);
	snprintf(out, size, "%s", e != NULL ? e->lsa->name : id);
}

/* --- metadata --- */

void
report_metadata_init(struct report_metadata *m, pb_callback_t *field)
{
	m->list = (struct pb_list){m->entries, 0};
	m->used = 0;
	pb_list_encode(field, &m->list);
}

static uint8_t *
put_field(uint8_t *p, unsigned number, const char *text)
{
	size_t len = strlen(text);

	*p++ = (uint8_t)(number << 3 | 2);
	if (len >= 0x80)
		*p++ = (uint8_t)(len | 0x80);
	*p++ = (uint8_t)(len >= 0x80 ? len >> 7 : len);
	memcpy(p, text, len);
	return p + len;
}

/* As protobuf has an entry of a map: key 1, value 2. */
void
report_metadata_add(struct report_metadata *m, const char *key, const char *value)
{
	uint8_t *start = m->mem + m->used, *end;

	MUST(m->list.count < REPORT_METADATA_MAX && strlen(value) < 1 << 14);
	MUST(strlen(key) + strlen(value) + 6 <= sizeof(m->mem) - m->used);
	end = put_field(put_field(start, 1, key), 2, value);
	m->entries[m->list.count++] = (struct pb_slice){start, (size_t)(end - start)};
	m->used += (size_t)(end - start);
}

static void
put_metadata(const struct address_list *list, struct report_metadata *out)
{
	char text[ADDRESSES_MAX * ADDRESS_SIZE];
	size_t n = 0;

	for (size_t i = 0; i < list->count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i > 0 ? " " : "", list->text[i]);
	report_metadata_add(out, "addresses", text);
}

/* The first one also as host and port, where clients of old look. */
static void
put_addresses(const struct lsdb_entry *e, struct report_metadata *out, mesh_v1_NodeInfo *info)
{
	struct address_list list;
	const char *host, *colon;
	int len;

	lsdb_addresses(e, &list);
	if (list.count == 0)
		return;
	host = list.text[0];
	colon = strrchr(host, ':');
	len = (int)(colon - host);
	info->port = (int32_t)strtol(colon + 1, NULL, 10);
	if (host[0] == '[') {
		host++;
		len -= 2;
	}
	snprintf(info->ip_address, sizeof(info->ip_address), "%.*s", len, host);
	put_metadata(&list, out);
}

static pb_size_t
copy_labels(const struct label_list *list, char (*out)[LABEL_SIZE])
{
	for (size_t i = 0; i < list->count; i++)
		memcpy(out[i], list->text[i], LABEL_SIZE);
	return (pb_size_t)list->count;
}

static void
put_labels(const struct lsdb_entry *e, mesh_v1_NodeInfo *info)
{
	struct label_list list;

	lsdb_services(e, &list);
	info->services_count = copy_labels(&list, info->services);
	lsdb_capabilities(e, &list);
	info->capabilities_count = copy_labels(&list, info->capabilities);
}

void
report_node(
    struct routerd *d, const struct lsdb_entry *e, struct report_metadata *metadata, mesh_v1_NodeInfo *out)
{
	*out = (mesh_v1_NodeInfo){
	    .last_seen = last_seen_unix_ms(d, e),
	    .incarnation = e->lsa->id.incarnation,
	    .lsa_seq = e->lsa->id.seq,
	    .hops = e->hops,
	};
	nodeid_format(out->node_id, e->node);
	snprintf(out->node_name, sizeof(out->node_name), "%s", e->lsa->name);
	snprintf(out->status, sizeof(out->status), "%s", state_name(d, e));
	snprintf(out->version, sizeof(out->version), "%s", e->lsa->software);
	snprintf(out->region_id, sizeof(out->region_id), "%s", e->lsa->region);
	report_metadata_init(metadata, &out->metadata);
	put_addresses(e, metadata, out);
	put_labels(e, out);
	report_member_node(d, e->node, out);
}

void
report_evicted(struct routerd *d, uint64_t node, mesh_v1_NodeInfo *out)
{
	const char *name = lsdb_last_name(router_lsdb(d->router), node);

	*out = (mesh_v1_NodeInfo)mesh_v1_NodeInfo_init_zero;
	nodeid_format(out->node_id, node);
	snprintf(out->node_name, sizeof(out->node_name), "%s", name != NULL ? name : "");
	snprintf(out->status, sizeof(out->status), "evicted");
}

void
report_link(struct routerd *d, const struct lsdb_entry *e, const struct lsa_adj *adj,
    struct report_metadata *metadata, mesh_v1_LinkInfo *out)
{
	const struct lsdb_entry *back = lsdb_get(router_lsdb(d->router), adj->neighbour);
	bool both = back != NULL && lsdb_adj(back, e->node) != NULL;

	*out = (mesh_v1_LinkInfo){
	    .latency_ms = (int32_t)(adj->latency_us / 1000),
	    .bandwidth_mbps = (int32_t)((adj->bandwidth_kbps + 500ULL) / 1000),
	    .loss = (int32_t)(adj->loss_ppm / 1000),
	    .utilization = (adj->utilisation_permille + 5) / 10,
	    .bandwidth_kbps = adj->bandwidth_kbps,
	    .loss_ppm = adj->loss_ppm,
	    .utilization_permille = adj->utilisation_permille,
	    .weight = adj->weight,
	    .rtt_us = adj->latency_us < UINT32_MAX / 2 ? 2 * adj->latency_us : UINT32_MAX,
	    .cost = cost_link(&d->conf.cost[FRAME_CLASS_CONTROL], adj),
	};
	nodeid_format(out->source_node_id, e->node);
	nodeid_format(out->target_node_id, adj->neighbour);
	snprintf(out->link_id, sizeof(out->link_id), "%s-%s", out->source_node_id, out->target_node_id);
	snprintf(out->status, sizeof(out->status), "%s", both ? "up" : "one-way");
	report_metadata_init(metadata, &out->metadata);
	report_member_link(d, e->node, out, adj->neighbour, metadata);
}

static void
put_state(const struct pathstate *s, mesh_v1_PathInfo *p)
{
	snprintf(p->state, sizeof(p->state), "%s",
	    pathstate_name(s != NULL ? s->said.state : mesh_ipc_PathStateCode_PATH_UP));
	if (s == NULL)
		return;
	snprintf(p->reason, sizeof(p->reason), "%s", s->said.reason);
	p->state_since = (int64_t)s->since_unix_ms;
	p->rtt_us = s->said.rtt_us;
	p->loss_ppm = s->said.loss_ppm;
	p->rate_kbps = s->said.rate_kbps;
}

static void
put_path(struct routerd *d, uint64_t destination, const struct fib_path *from, mesh_v1_PathInfo *p)
{
	put_state(pathstate_get(d, destination, from->path_id), p);
	p->cost = from->path.cost;
	p->weight = from->weight;
	p->path_id = from->path_id;
	p->hops_count = p->hop_ids_count = (pb_size_t)from->path.hop_count;
	for (uint32_t i = 0; i < from->path.hop_count; i++) {
		report_node_name(d, from->path.hops[i], p->hops[i], sizeof(p->hops[i]));
		nodeid_format(p->hop_ids[i], from->path.hops[i]);
	}
}

void
report_route(struct routerd *d, const struct fib_route *r, size_t profile, mesh_v1_RouteInfo *out)
{
	const struct fib_paths *paths = r->paths[profile];
	uint8_t class_mask = router_profiles(d->router)->class_mask[profile];

	memset(out, 0, sizeof(*out));
	nodeid_format(out->destination, r->destination);
	report_node_name(d, r->destination, out->destination_name, sizeof(out->destination_name));
	out->version = paths->version;
	for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++)
		if ((class_mask & 1u << i) != 0)
			snprintf(out->classes[out->classes_count++], sizeof(out->classes[0]), "%s",
			    frame_class_name((uint8_t)i));
	out->paths_count = (pb_size_t)paths->count;
	for (uint32_t i = 0; i < paths->count; i++)
		put_path(d, r->destination, &paths->path[i], &out->paths[i]);
}

/* --- status --- */

static const char *
trouble(const struct routerd *d, const struct router_summary *sum)
{
	if (router_self(d->router) == NULL)
		return "waiting for consensusd to say who this node is";
	if (d->left)
		return "this node has left the mesh; it joins again when routerd is restarted";
	if (!sum->transport)
		return "transportd is away";
	if (!sum->signer)
		return "consensusd is away: changes are not advertised";
	if (!sum->fib_installed)
		return "forwarding table is not installed yet";
	return NULL;
}

void
report_status(struct routerd *d, mesh_v1_NodeStatus *out)
{
	const struct router_identity *self = router_self(d->router);
	mesh_v1_DaemonStatus *s = &out->daemons[0];
	struct swim_summary members;
	struct router_summary sum;
	const char *why, *sight = report_sight(d);

	memset(out, 0, sizeof(*out));
	router_show(d->router, &sum);
	why = trouble(d, &sum);
	ulid_format(out->mesh_id, &d->mesh_id);
	snprintf(out->mesh_name, sizeof(out->mesh_name), "%s", d->mesh_name);
	if (self != NULL) {
		nodeid_format(out->node_id, self->node);
		snprintf(out->node_name, sizeof(out->node_name), "%s", self->name);
	}
	snprintf(out->version, sizeof(out->version), "%s", mesh_version);
	out->serving = why == NULL;
	out->daemons_count = 1;
	snprintf(s->name, sizeof(s->name), "routerd");
	snprintf(s->state, sizeof(s->state), "%s", why == NULL ? "running" : "degraded");
	snprintf(s->detail, sizeof(s->detail),
	    "%s%s%zu of %zu nodes reachable, %zu of %zu links synchronised, %zu routes",
	    why != NULL ? why : "", why != NULL ? "; " : "", sum.nodes_alive, sum.nodes, sum.links_synced,
	    sum.links, sum.routes);
	if (sight != NULL && sum.transport)
		snprintf(s->detail + strlen(s->detail), sizeof(s->detail) - strlen(s->detail), "; %s", sight);
	members_show(d, &members);
	if (members.suspect != 0 || members.health != 0)
		snprintf(s->detail + strlen(s->detail), sizeof(s->detail) - strlen(s->detail),
		    "; %zu members suspected, local health %u", members.suspect, members.health);
	s->pid = getpid();
	s->uptime_ms = mono_diff_us(clock_mono(), d->started) / 1000;
}
