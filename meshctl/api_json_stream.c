/* api_json: rules about streams; see api_json.h. */
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "meshctl/api_json.h"
#include "meshctl/api_json_impl.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

static json_t *
rule_row(const struct pb_slice *entry)
{
	mesh_v1_StreamRule r = mesh_v1_StreamRule_init_zero;
	json_t *row;

	if (pb_unpack(entry->data, entry->len, mesh_v1_StreamRule_fields, &r) != 0)
		return NULL;
	row = json_pack("{s:s, s:b, s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:I}", "kind", r.kind, "exception",
	    r.exception, "side", r.side, "stream_id", r.stream_id, "tenant_id", r.tenant_id, "messages_per_s",
	    api_json_num(r.messages_per_s), "bytes_per_s", api_json_num(r.bytes_per_s), "created_at",
	    api_json_num(r.created_at), "reason", r.reason, "streams", api_json_num(r.streams));
	if (r.has_min_priority)
		json_object_set_new(row, "min_priority", json_integer(r.min_priority));
	if (r.has_max_priority)
		json_object_set_new(row, "max_priority", json_integer(r.max_priority));
	return row;
}

json_t *
api_json_stream_rules(const struct buf *reply)
{
	mesh_v1_StreamControlList msg = mesh_v1_StreamControlList_init_zero;
	struct pb_raw_list list;
	json_t *rows = NULL;

	if (api_json_list(&list, &msg.rules) == 0 &&
	    pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_StreamControlList_fields, &msg) == 0)
		rows = api_json_rows(&list, rule_row);
	mem_free(list.items);
	return rows != NULL ? rows : api_json_unreadable("ControlStreams");
}
