/* api_json_group: Raft groups of the API as JSON; see api_json.h. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "meshctl/api_json.h"
#include "meshctl/api_json_impl.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

static json_t *
member_row(const struct pb_slice *entry)
{
	mesh_v1_RaftMemberInfo m = mesh_v1_RaftMemberInfo_init_zero;

	if (pb_unpack(entry->data, entry->len, mesh_v1_RaftMemberInfo_fields, &m) != 0)
		return NULL;
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:b, s:s, s:s, s:I}", "node_id", m.node_id,
	    "node_name", m.node_name, "role", m.role, "status", m.status, "match_index",
	    api_json_num(m.match_index), "lag", api_json_num(m.lag), "applied_index",
	    api_json_num(m.applied_index), "active", m.active, "snapshot", m.snapshot, "replica_id",
	    m.replica_id, "reason", m.reason, "since", api_json_num(m.since));
}

static json_t *
group_value(
    const mesh_v1_RaftGroupInfo *g, const struct pb_raw_list *members, const struct pb_raw_list *details)
{
	json_t *ids = api_json_rows(members, api_json_text_row), *rows = api_json_rows(details, member_row),
	       *o;

	if (ids == NULL || rows == NULL) {
		json_decref(ids);
		json_decref(rows);
		return NULL;
	}
	o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:b, s:I}", "group_id",
	    g->group_id, "group_type", g->group_type, "status", g->status, "role", g->role, "term",
	    api_json_num(g->term), "leader_id", g->leader_id, "leader_name",
	    api_json_node_name(rows, g->leader_id), "commit_index", api_json_num(g->commit_index),
	    "applied_index", api_json_num(g->applied_index), "first_index", api_json_num(g->first_index),
	    "last_index", api_json_num(g->last_index), "quiet", g->quiet, "changing", g->changing,
	    "log_bytes", api_json_num(g->log_bytes));
	json_object_set_new(o, "members", ids);
	json_object_set_new(o, "member_details", rows);
	return o;
}

json_t *
api_json_group_row(const struct pb_slice *entry)
{
	mesh_v1_RaftGroupInfo g = mesh_v1_RaftGroupInfo_init_zero;
	struct pb_raw_list members = {0}, details = {0};
	json_t *o = NULL;

	if (api_json_list(&members, &g.members) == 0 && api_json_list(&details, &g.member_details) == 0 &&
	    pb_unpack(entry->data, entry->len, mesh_v1_RaftGroupInfo_fields, &g) == 0)
		o = group_value(&g, &members, &details);
	mem_free(members.items);
	mem_free(details.items);
	return o;
}

json_t *
api_json_group(const struct buf *reply)
{
	struct pb_slice entry = {buf_head(reply), buf_left(reply)};
	json_t *o = api_json_group_row(&entry);

	return o != NULL ? o : api_json_unreadable("RaftGroupInfo");
}
