/* api_json: see api_json.h. */
#include "meshctl/api_json.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "meshctl/api_json_impl.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum { METADATA_MAX = 16 }; /* entries of the metadata of a node or link; there are two at most */

json_t *
api_json_unreadable(const char *what)
{
	out_error("%s: the node's answer cannot be read (meshctl and the node must be of one release)", what);
	return NULL;
}

json_t *
api_json_rows(const struct pb_raw_list *list, json_t *(*make)(const struct pb_slice *))
{
	json_t *rows = json_array();

	for (size_t i = 0; i < list->count; i++) {
		json_t *row = make(&list->items[i]);

		if (row == NULL) {
			json_decref(rows);
			return NULL;
		}
		json_array_append_new(rows, row);
	}
	return rows;
}

int
api_json_list(struct pb_raw_list *list, pb_callback_t *cb)
{
	*list = (struct pb_raw_list){
	    .items = mem_calloc(API_JSON_ROWS_MAX, sizeof(*list->items)), .max = API_JSON_ROWS_MAX};
	if (list->items == NULL)
		return ERR_NOMEM;
	pb_raw_list_decode(cb, list);
	return 0;
}

json_t *
api_json_text_row(const struct pb_slice *entry)
{
	return json_stringn((const char *)entry->data, entry->len);
}

json_t *
api_json_parsed(const struct pb_slice *text)
{
	json_t *value;

	if (text->len == 0)
		return NULL;
	value = json_loadb((const char *)text->data, text->len, JSON_DECODE_ANY, NULL);
	return value != NULL ? value : json_stringn((const char *)text->data, text->len);
}

/* --- the node itself --- */

json_t *
api_json_node_status(const struct buf *reply)
{
	mesh_v1_NodeStatus s = mesh_v1_NodeStatus_init_zero;
	json_t *daemons;

	if (pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_NodeStatus_fields, &s) != 0)
		return api_json_unreadable("GetNodeStatus");
	daemons = json_array();
	for (size_t i = 0; i < s.daemons_count; i++)
		json_array_append_new(daemons,
		    json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", s.daemons[i].name, "state",
			s.daemons[i].state, "detail", s.daemons[i].detail, "pid",
			api_json_num(s.daemons[i].pid), "uptime_ms", api_json_num(s.daemons[i].uptime_ms)));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o}", "mesh_id", s.mesh_id, "mesh_name",
	    s.mesh_name, "node_id", s.node_id, "node_name", s.node_name, "version", s.version, "serving",
	    s.serving, "daemons", daemons);
}

/* --- the mesh --- */

/* An entry of a map<string, string>; both kinds have the same encoding. */
static bool
entry_of(const struct pb_slice *item, struct pb_slice *key, struct pb_slice *value)
{
	mesh_v1_NodeInfo_MetadataEntry e = {0};

	*key = *value = (struct pb_slice){0};
	pb_slice_decode(&e.key, key);
	pb_slice_decode(&e.value, value);
	return pb_unpack(item->data, item->len, mesh_v1_NodeInfo_MetadataEntry_fields, &e) == 0;
}

static bool
is_text(const struct pb_slice *s, const char *text)
{
	return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}

/* The entry "addresses" of a node's metadata, at its spaces. */
static json_t *
addresses_of(const struct pb_raw_list *metadata)
{
	struct pb_slice key, value = {0};
	json_t *list = json_array();
	size_t len, i = 0;

	while (i < metadata->count &&
	       (!entry_of(&metadata->items[i], &key, &value) || !is_text(&key, "addresses")))
		i++;
	if (i == metadata->count)
		return list;
	for (const char *p = (const char *)value.data, *end = p + value.len; p < end; p += len + 1) {
		const char *space = memchr(p, ' ', (size_t)(end - p));

		len = space != NULL ? (size_t)(space - p) : (size_t)(end - p);
		json_array_append_new(list, json_stringn(p, len));
	}
	return list;
}

static json_t *
labels_of(const char (*labels)[sizeof(((mesh_v1_NodeInfo *)0)->services[0])], size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(labels[i]));
	return list;
}

/* What is not known is left out. */
static void
member_fields(const mesh_v1_NodeInfo *n, json_t *row)
{
	if (n->has_load_permille)
		json_object_set_new(row, "load_permille", json_integer(api_json_num(n->load_permille)));
	if (n->probe_rtt_us != 0)
		json_object_set_new(row, "probe_rtt_us", json_integer(api_json_num(n->probe_rtt_us)));
	if (n->status_since != 0)
		json_object_set_new(row, "status_since", json_integer(api_json_num(n->status_since)));
	if (n->detail[0] != '\0')
		json_object_set_new(row, "detail", json_string(n->detail));
}

static json_t *
node_row(const struct pb_slice *entry)
{
	mesh_v1_NodeInfo n = mesh_v1_NodeInfo_init_zero;
	struct pb_slice items[METADATA_MAX];
	struct pb_raw_list metadata = {.items = items, .max = METADATA_MAX};
	json_t *row;

	pb_raw_list_decode(&n.metadata, &metadata);
	if (pb_unpack(entry->data, entry->len, mesh_v1_NodeInfo_fields, &n) != 0)
		return NULL;
	row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "node_id",
	    n.node_id, "node_name", n.node_name, "status", n.status, "version", n.version, "region_id",
	    n.region_id, "ip_address", n.ip_address, "port", api_json_num(n.port), "addresses",
	    addresses_of(&metadata), "services", labels_of(n.services, n.services_count), "capabilities",
	    labels_of(n.capabilities, n.capabilities_count), "last_seen", api_json_num(n.last_seen),
	    "incarnation", api_json_num((int64_t)n.incarnation), "lsa_seq", api_json_num((int64_t)n.lsa_seq),
	    "hops", api_json_num(n.hops));
	member_fields(&n, row);
	return row;
}

static json_t *
lane_value(const mesh_v1_LaneDetail *l)
{
	json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I}",
	    "lane", api_json_num(l->lane), "class", l->class, "state", l->state, "roles", l->roles,
	    "priority", api_json_num(l->priority), "weight", api_json_num(l->weight), "dialled", l->dialled,
	    "address", l->address, "local_address", l->local_address, "since_unix_ms",
	    api_json_num((int64_t)l->since_unix_ms), "rtt_us", api_json_num(l->rtt_us), "rtt_min_us",
	    api_json_num(l->rtt_min_us), "rtt_var_us", api_json_num(l->rtt_var_us), "loss_ppm",
	    api_json_num(l->loss_ppm));
	json_t *more = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:I}",
	    "bandwidth_kbps", api_json_num((int64_t)l->bandwidth_kbps), "utilization_permille",
	    api_json_num(l->utilization_permille), "tx_kbps", api_json_num((int64_t)l->tx_kbps), "rx_kbps",
	    api_json_num((int64_t)l->rx_kbps), "tx_bytes", api_json_num((int64_t)l->tx_bytes), "rx_bytes",
	    api_json_num((int64_t)l->rx_bytes), "tx_frames", api_json_num((int64_t)l->tx_frames), "rx_frames",
	    api_json_num((int64_t)l->rx_frames), "queued_bytes", api_json_num((int64_t)l->queued_bytes),
	    "unacked_bytes", api_json_num((int64_t)l->unacked_bytes), "window_bytes",
	    api_json_num((int64_t)l->window_bytes), "cipher", l->cipher, "auth", l->auth,
	    "auth_until_unix_ms", api_json_num((int64_t)l->auth_until_unix_ms));

	json_object_update_new(o, more);
	return o;
}

/* What only the node itself knows of its links. */
static json_t *
link_detail(const mesh_v1_LinkDetail *d)
{
	json_t *lanes = json_array();

	for (size_t i = 0; i < d->lanes_count; i++)
		json_array_append_new(lanes, lane_value(&d->lanes[i]));
	return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o}",
	    "address", d->address, "dialled", d->dialled, "since_unix_ms",
	    api_json_num((int64_t)d->since_unix_ms), "rtt_min_us", api_json_num(d->rtt_min_us), "rtt_var_us",
	    api_json_num(d->rtt_var_us), "tx_bytes", api_json_num((int64_t)d->tx_bytes), "rx_bytes",
	    api_json_num((int64_t)d->rx_bytes), "tx_frames", api_json_num((int64_t)d->tx_frames), "rx_frames",
	    api_json_num((int64_t)d->rx_frames), "dropped_frames", api_json_num((int64_t)d->dropped_frames),
	    "queued_bytes", api_json_num((int64_t)d->queued_bytes), "memory_bytes",
	    api_json_num((int64_t)d->memory_bytes), "memory_max_bytes",
	    api_json_num((int64_t)d->memory_max_bytes), "cipher", d->cipher, "lanes", lanes);
}

/* What is measured here is newer than what was last told to the mesh. */
static void
set_measured(json_t *row, const char *key, uint64_t value)
{
	if (value != 0)
		json_object_set_new(row, key, json_integer(api_json_num((int64_t)value)));
}

static json_t *
link_value(const mesh_v1_LinkInfo *l)
{
	json_t *row = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I}",
	    "link_id", l->link_id, "source_node_id", l->source_node_id, "target_node_id", l->target_node_id,
	    "latency_ms", api_json_num(l->latency_ms), "bandwidth_mbps", api_json_num(l->bandwidth_mbps),
	    "loss", api_json_num(l->loss), "utilization", api_json_num(l->utilization), "status", l->status,
	    "rtt_us", api_json_num(l->rtt_us), "cost", api_json_num(l->cost), "bandwidth_kbps",
	    api_json_num((int64_t)l->bandwidth_kbps), "loss_ppm", api_json_num(l->loss_ppm),
	    "utilization_permille", api_json_num(l->utilization_permille), "weight", api_json_num(l->weight));

	if (!l->has_detail)
		return row;
	json_object_update_new(row, link_detail(&l->detail));
	set_measured(row, "bandwidth_kbps", l->detail.bandwidth_kbps);
	set_measured(row, "loss_ppm", l->detail.loss_ppm);
	set_measured(row, "utilization_permille", l->detail.utilization_permille);
	return row;
}

static json_t *
metadata_value(const struct pb_raw_list *metadata)
{
	json_t *o = json_object();
	struct pb_slice key, value;

	for (size_t i = 0; i < metadata->count; i++)
		if (entry_of(&metadata->items[i], &key, &value))
			json_object_setn_new(o, (const char *)key.data, key.len,
			    json_stringn((const char *)value.data, value.len));
	return o;
}

static json_t *
link_row(const struct pb_slice *entry)
{
	mesh_v1_LinkInfo l = mesh_v1_LinkInfo_init_zero;
	struct pb_slice items[METADATA_MAX];
	struct pb_raw_list metadata = {.items = items, .max = METADATA_MAX};
	json_t *row;

	pb_raw_list_decode(&l.metadata, &metadata);
	if (pb_unpack(entry->data, entry->len, mesh_v1_LinkInfo_fields, &l) != 0)
		return NULL;
	row = link_value(&l);
	if (metadata.count != 0)
		json_object_set_new(row, "metadata", metadata_value(&metadata));
	return row;
}

const char *
api_json_node_name(const json_t *nodes, const char *id)
{
	const json_t *n;
	size_t i;

	json_array_foreach (nodes, i, n) {
		const char *name = json_string_value(json_object_get(n, "node_name"));

		if (strcmp(json_string_value(json_object_get(n, "node_id")), id) == 0 && name[0] != '\0')
			return name;
	}
	return id;
}

static void
name_links(json_t *links, const json_t *nodes)
{
	json_t *l;
	size_t i;

	json_array_foreach (links, i, l) {
		const char *a = json_string_value(json_object_get(l, "source_node_id")),
			   *b = json_string_value(json_object_get(l, "target_node_id"));

		json_object_set_new(l, "source_name", json_string(api_json_node_name(nodes, a)));
		json_object_set_new(l, "target_name", json_string(api_json_node_name(nodes, b)));
	}
}

json_t *
api_json_mesh_status(const struct buf *reply)
{
	mesh_v1_MeshStatus s = mesh_v1_MeshStatus_init_zero;
	struct pb_raw_list nodes = {0}, links = {0}, groups = {0};
	json_t *node_rows = NULL, *link_rows = NULL, *group_rows = NULL, *o = NULL;

	if (api_json_list(&nodes, &s.nodes) == 0 && api_json_list(&links, &s.links) == 0 &&
	    api_json_list(&groups, &s.raft_groups) == 0 &&
	    pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_MeshStatus_fields, &s) == 0) {
		node_rows = api_json_rows(&nodes, node_row);
		link_rows = api_json_rows(&links, link_row);
		group_rows = api_json_rows(&groups, api_json_group_row);
	}
	if (node_rows != NULL && link_rows != NULL && group_rows != NULL) {
		name_links(link_rows, node_rows);
		o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:O, s:O, s:O}", "mesh_id", s.mesh_id,
		    "mesh_name", s.mesh_name, "node_id", s.node_id, "status", s.status, "lsdb_version",
		    api_json_num(s.lsdb_version), "last_updated", api_json_num(s.last_updated), "nodes",
		    node_rows, "links", link_rows, "raft_groups", group_rows);
	}
	json_decref(node_rows);
	json_decref(link_rows);
	json_decref(group_rows);
	mem_free(nodes.items);
	mem_free(links.items);
	mem_free(groups.items);
	return o != NULL ? o : api_json_unreadable("GetMeshStatus");
}

json_t *
api_json_discovered(const struct buf *reply)
{
	mesh_v1_DiscoverNodesReply s = mesh_v1_DiscoverNodesReply_init_zero;
	struct pb_raw_list nodes = {0};
	json_t *rows = NULL;

	if (api_json_list(&nodes, &s.nodes) == 0 &&
	    pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_DiscoverNodesReply_fields, &s) == 0)
		rows = api_json_rows(&nodes, node_row);
	mem_free(nodes.items);
	return rows != NULL ? rows : api_json_unreadable("DiscoverNodes");
}

json_t *
api_json_topology(const struct buf *reply)
{
	mesh_v1_TopologyStatus s = mesh_v1_TopologyStatus_init_zero;
	struct pb_raw_list links = {0};
	json_t *rows = NULL, *o = NULL;

	if (api_json_list(&links, &s.links) == 0 &&
	    pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_TopologyStatus_fields, &s) == 0)
		rows = api_json_rows(&links, link_row);
	if (rows != NULL)
		o = json_pack("{s:b, s:s, s:o}", "success", s.success, "error", s.error, "links", rows);
	mem_free(links.items);
	return o != NULL ? o : api_json_unreadable("TopologyStatus");
}

/* --- routes --- */

static json_t *
texts(const void *items, size_t size, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string((const char *)items + i * size));
	return list;
}

static json_t *
path_value(const mesh_v1_PathInfo *p)
{
	json_t *o = json_pack("{s:o, s:o, s:I, s:I, s:I, s:s}", "hops",
	    texts(p->hops, sizeof(p->hops[0]), p->hops_count), "hop_ids",
	    texts(p->hop_ids, sizeof(p->hop_ids[0]), p->hop_ids_count), "cost", api_json_num(p->cost),
	    "weight", api_json_num(p->weight), "path_id", api_json_num(p->path_id), "state", p->state);

	if (p->state_since != 0)
		json_object_update_new(
		    o, json_pack("{s:s, s:I, s:I, s:I, s:I}", "reason", p->reason, "state_since",
			   api_json_num(p->state_since), "rtt_us", api_json_num(p->rtt_us), "loss_ppm",
			   api_json_num(p->loss_ppm), "rate_kbps", api_json_num(p->rate_kbps)));
	return o;
}

static json_t *
route_row(const struct pb_slice *entry)
{
	mesh_v1_RouteInfo r = mesh_v1_RouteInfo_init_zero;
	json_t *paths;

	if (pb_unpack(entry->data, entry->len, mesh_v1_RouteInfo_fields, &r) != 0)
		return NULL;
	paths = json_array();
	for (size_t i = 0; i < r.paths_count; i++)
		json_array_append_new(paths, path_value(&r.paths[i]));
	return json_pack("{s:s, s:s, s:o, s:I, s:o}", "destination", r.destination, "destination_name",
	    r.destination_name, "classes", texts(r.classes, sizeof(r.classes[0]), r.classes_count), "version",
	    api_json_num((int64_t)r.version), "paths", paths);
}

json_t *
api_json_routes(const struct buf *reply)
{
	mesh_v1_RouteList msg = mesh_v1_RouteList_init_zero;
	struct pb_raw_list list = {0};
	json_t *rows = NULL;

	if (api_json_list(&list, &msg.routes) == 0 &&
	    pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_RouteList_fields, &msg) == 0)
		rows = api_json_rows(&list, route_row);
	mem_free(list.items);
	return rows != NULL ? rows : api_json_unreadable("ListRoutes");
}

/* --- streams --- */

static json_t *
target_value(const mesh_v1_TargetProgress *t)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "node_id",
	    t->node_id, "stored_seq", api_json_num(t->stored_seq), "processed_seq",
	    api_json_num(t->processed_seq), "in_flight_bytes", api_json_num(t->in_flight_bytes),
	    "retransmits", api_json_num(t->retransmits), "state", t->state, "error", t->error, "lag_messages",
	    api_json_num(t->lag_messages), "processed_per_s", api_json_num(t->processed_per_s), "oldest_ms",
	    api_json_num(t->oldest_ms), "asks", api_json_num(t->asks), "rtt_us", api_json_num(t->rtt_us),
	    "window_bytes", api_json_num(t->window_bytes));
}

/* What came to a stream's description later. */
static json_t *
stream_traffic(const mesh_v1_StreamInfo *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:s, s:s, s:I, s:I, s:s}",
	    "messages_per_s", api_json_num(s->messages_per_s), "bytes_per_s", api_json_num(s->bytes_per_s),
	    "processed_per_s", api_json_num(s->processed_per_s), "oldest_ms", api_json_num(s->oldest_ms),
	    "retransmits", api_json_num(s->retransmits), "messages", api_json_num(s->messages), "bytes",
	    api_json_num(s->bytes), "paused", s->paused, "limit_messages_per_s",
	    api_json_num(s->limit_messages_per_s), "limit_bytes_per_s", api_json_num(s->limit_bytes_per_s),
	    "control_reason", s->control_reason, "handler", s->handler, "failed_seq",
	    api_json_num(s->failed_seq), "failed_attempts", api_json_num(s->failed_attempts), "failed_error",
	    s->failed_error);
}

static json_t *
stream_row(const struct pb_slice *entry)
{
	mesh_v1_StreamInfo s = mesh_v1_StreamInfo_init_zero;
	json_t *targets, *row, *traffic;

	if (pb_unpack(entry->data, entry->len, mesh_v1_StreamInfo_fields, &s) != 0)
		return NULL;
	targets = json_array();
	for (size_t i = 0; i < s.targets_count; i++)
		json_array_append_new(targets, target_value(&s.targets[i]));
	row = json_pack(
	    "{s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:s, s:I,"
	    " s:I, s:I, s:I, s:I, s:s, s:I}",
	    "stream_id", s.stream_id, "tenant_id", s.tenant_id, "role", s.role, "source_node", s.source_node,
	    "targets", targets, "status", s.status, "qos", s.qos, "priority", api_json_num(s.priority),
	    "created_at", api_json_num(s.created_at), "next_seq", api_json_num(s.next_seq), "committed_seq",
	    api_json_num(s.committed_seq), "stored_seq", api_json_num(s.stored_seq), "backlog_messages",
	    api_json_num(s.backlog_messages), "backlog_bytes", api_json_num(s.backlog_bytes), "subscribed",
	    s.subscribed, "striping", s.striping, "ack", s.ack, "ack_quorum", api_json_num(s.ack_quorum),
	    "producer_epoch", api_json_num((int64_t)s.producer_epoch), "answered_seq",
	    api_json_num(s.answered_seq), "retention_bytes", api_json_num(s.retention_bytes), "retention_ms",
	    api_json_num(s.retention_ms), "overflow", s.overflow, "skipped_seq", api_json_num(s.skipped_seq));
	traffic = stream_traffic(&s);
	json_object_update(row, traffic);
	json_decref(traffic);
	return row;
}

json_t *
api_json_streams(const struct buf *reply)
{
	mesh_v1_StreamList msg = mesh_v1_StreamList_init_zero;
	struct pb_raw_list list = {0};
	json_t *rows = NULL;

	if (api_json_list(&list, &msg.streams) == 0 &&
	    pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_StreamList_fields, &msg) == 0)
		rows = api_json_rows(&list, stream_row);
	mem_free(list.items);
	return rows != NULL ? rows : api_json_unreadable("ListStreams");
}

json_t *
api_json_handle(const struct buf *reply)
{
	mesh_v1_StreamHandle h = mesh_v1_StreamHandle_init_zero;

	if (pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_StreamHandle_fields, &h) != 0)
		return api_json_unreadable("OpenClientDataStream");
	return json_pack("{s:s, s:s, s:o, s:s, s:I, s:I, s:I, s:I, s:s, s:I}", "stream_id", h.stream_id,
	    "tenant_id", h.tenant_id, "target_nodes",
	    texts(h.target_nodes, sizeof(h.target_nodes[0]), h.target_nodes_count), "status", h.status,
	    "created_at", api_json_num(h.created_at), "next_seq", api_json_num(h.next_seq), "committed_seq",
	    api_json_num(h.committed_seq), "producer_epoch", api_json_num((int64_t)h.producer_epoch), "ack",
	    h.ack, "ack_quorum", api_json_num(h.ack_quorum));
}

json_t *
api_json_message(const struct buf *reply)
{
	mesh_v1_MessageStatus m = mesh_v1_MessageStatus_init_zero;
	json_t *targets;

	if (pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_MessageStatus_fields, &m) != 0)
		return api_json_unreadable("GetMessageStatus");
	targets = json_array();
	for (size_t i = 0; i < m.targets_count; i++)
		json_array_append_new(
		    targets, json_pack("{s:s, s:s, s:I, s:s}", "node_id", m.targets[i].node_id, "state",
				 m.targets[i].state, "updated", api_json_num(m.targets[i].updated), "error",
				 m.targets[i].error));
	return json_pack("{s:s, s:I, s:s, s:s, s:o}", "stream_id", m.stream_id, "seq", api_json_num(m.seq),
	    "message_id", m.message_id, "state", m.state, "targets", targets);
}

void
api_json_ack_text(json_t *row)
{
	const char *ack = json_string_value(json_object_get(row, "ack"));
	long long quorum = (long long)json_integer_value(json_object_get(row, "ack_quorum"));

	json_object_set_new(row, "ack_text",
	    quorum > 0 ? json_sprintf("%s:%lld", ack, quorum) : json_string(ack != NULL ? ack : ""));
}

/* --- events --- */

json_t *
api_json_event(const void *data, size_t len)
{
	mesh_v1_MeshEvent e = mesh_v1_MeshEvent_init_zero;
	json_t *metadata;

	if (pb_unpack(data, len, mesh_v1_MeshEvent_fields, &e) != 0)
		return api_json_unreadable("WatchMeshEvents");
	metadata = json_object();
	for (size_t i = 0; i < e.metadata_count; i++)
		json_object_set_new(metadata, e.metadata[i].key, json_string(e.metadata[i].value));
	return json_pack("{s:s, s:s, s:I, s:o}", "event_id", e.event_id, "event_type", e.event_type,
	    "timestamp", api_json_num(e.timestamp), "metadata", metadata);
}
