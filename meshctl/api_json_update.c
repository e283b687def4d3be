/* api_json_update: updates, and what became of them, as JSON; see api_json.h. */
#include <string.h>

#include "common/base/base64.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "meshctl/api_json.h"
#include "meshctl/api_json_impl.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

void
api_json_payload(json_t *o, const void *data, size_t len)
{
	json_t *text = json_stringn(data, len); /* NULL: no UTF-8 */
	struct buf b;

	if (text != NULL) {
		json_object_set_new(o, "payload", text);
		return;
	}
	buf_init(&b, (len + 2) / 3 * 4);
	if (base64_encode(&b, BASE64_STD, data, len) == 0)
		json_object_set_new(
		    o, "payload_base64", json_stringn((const char *)buf_head(&b), buf_left(&b)));
	buf_fini(&b);
}

json_t *
api_json_broadcast(const struct buf *reply)
{
	mesh_v1_BroadcastResult r = mesh_v1_BroadcastResult_init_zero;
	struct pb_raw_list applied = {0}, pending = {0};
	json_t *have = NULL, *lack = NULL, *o = NULL;

	if (api_json_list(&applied, &r.applied_nodes) == 0 &&
	    api_json_list(&pending, &r.pending_nodes) == 0 &&
	    pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_BroadcastResult_fields, &r) == 0) {
		have = api_json_rows(&applied, api_json_text_row);
		lack = api_json_rows(&pending, api_json_text_row);
	}
	if (have != NULL && lack != NULL)
		o = json_pack("{s:b, s:s, s:s, s:I, s:I, s:b, s:O, s:O, s:b}", "success", r.success, "error",
		    r.error, "update_id", r.update_id, "index", api_json_num(r.index), "term",
		    api_json_num(r.term), "committed", r.committed, "applied_nodes", have, "pending_nodes",
		    lack, "repeated_update", r.repeated_update);
	json_decref(have);
	json_decref(lack);
	mem_free(applied.items);
	mem_free(pending.items);
	return o != NULL ? o : api_json_unreadable("BroadcastResult");
}

json_t *
api_json_node_update(const void *data, size_t len)
{
	mesh_v1_NodeUpdate u = mesh_v1_NodeUpdate_init_zero;
	struct pb_slice payload;
	json_t *o;

	pb_slice_decode(&u.payload, &payload);
	if (pb_unpack(data, len, mesh_v1_NodeUpdate_fields, &u) != 0)
		return api_json_unreadable("SubscribeNodeUpdates");
	o = json_pack("{s:I, s:s, s:s, s:I, s:I, s:b}", "position", api_json_num(u.position), "node_id",
	    u.node_id, "type", u.type, "version", api_json_num(u.version), "timestamp",
	    api_json_num(u.timestamp), "removed", u.removed);
	api_json_payload(o, payload.data, payload.len);
	return o;
}

json_t *
api_json_mesh_update(const void *data, size_t len)
{
	mesh_v1_MeshUpdate u = mesh_v1_MeshUpdate_init_zero;
	struct pb_slice payload;
	json_t *o;

	pb_slice_decode(&u.payload, &payload);
	if (pb_unpack(data, len, mesh_v1_MeshUpdate_fields, &u) != 0)
		return api_json_unreadable("SubscribeMeshUpdates");
	o = json_pack("{s:I, s:s, s:s, s:s, s:I}", "position", api_json_num(u.position), "update_id",
	    u.update_id, "type", u.type, "node_id", u.node_id, "timestamp", api_json_num(u.timestamp));
	api_json_payload(o, payload.data, payload.len);
	return o;
}

json_t *
api_json_db_update(const void *data, size_t len)
{
	mesh_v1_DBUpdate u = mesh_v1_DBUpdate_init_zero;
	struct pb_slice key, row;

	pb_slice_decode(&u.key, &key);
	pb_slice_decode(&u.row, &row);
	if (pb_unpack(data, len, mesh_v1_DBUpdate_fields, &u) != 0)
		return api_json_unreadable("SubscribeInternalDBUpdates");
	return json_pack("{s:I, s:s, s:s, s:s, s:o*, s:o*, s:s, s:I, s:s, s:s}", "position",
	    api_json_num(u.position), "update_id", u.update_id, "table", u.table, "operation", u.operation,
	    "key", api_json_parsed(&key), "row", api_json_parsed(&row), "node_id", u.node_id, "timestamp",
	    api_json_num(u.timestamp), "status", u.status, "error", u.error);
}
