/* api_json_shared: what the nodes of a mesh share, and what of it one of them could not take; see api_json.h.
 */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "meshctl/api_json.h"
#include "meshctl/api_json_impl.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

/* The rows of a message that is one list. */
static json_t *
list_of(const struct buf *reply, const char *what, const pb_msgdesc_t *fields, void *msg, pb_callback_t *cb,
    json_t *(*make)(const struct pb_slice *))
{
	struct pb_raw_list list = {0};
	json_t *rows = NULL;

	if (api_json_list(&list, cb) == 0 && pb_unpack(buf_head(reply), buf_left(reply), fields, msg) == 0)
		rows = api_json_rows(&list, make);
	mem_free(list.items);
	return rows != NULL ? rows : api_json_unreadable(what);
}

static json_t *
one_of(const struct buf *reply, const char *what, json_t *(*make)(const struct pb_slice *))
{
	struct pb_slice entry = {buf_head(reply), buf_left(reply)};
	json_t *o = make(&entry);

	return o != NULL ? o : api_json_unreadable(what);
}

/* --- configuration --- */

static json_t *
config_row(const struct pb_slice *entry)
{
	mesh_v1_ConfigEntry e = mesh_v1_ConfigEntry_init_zero;
	struct pb_slice value;

	pb_slice_decode(&e.value, &value);
	if (pb_unpack(entry->data, entry->len, mesh_v1_ConfigEntry_fields, &e) != 0)
		return NULL;
	return json_pack("{s:s, s:o*, s:I, s:I, s:s, s:I, s:b}", "key", e.key, "value",
	    api_json_parsed(&value), "version", api_json_num(e.version), "index", api_json_num(e.index),
	    "node_id", e.node_id, "updated", api_json_num(e.updated), "removed", e.removed);
}

json_t *
api_json_config_entry(const struct buf *reply)
{
	return one_of(reply, "ConfigEntry", config_row);
}

json_t *
api_json_config_list(const struct buf *reply)
{
	mesh_v1_ConfigList msg = mesh_v1_ConfigList_init_zero;

	return list_of(reply, "ConfigList", mesh_v1_ConfigList_fields, &msg, &msg.entries, config_row);
}

/* --- keys --- */

static json_t *
key_row(const struct pb_slice *entry)
{
	mesh_v1_KeyInfo k = mesh_v1_KeyInfo_init_zero;
	struct pb_raw_list nodes = {0};
	json_t *ids = NULL, *o = NULL;

	if (api_json_list(&nodes, &k.node_ids) == 0 &&
	    pb_unpack(entry->data, entry->len, mesh_v1_KeyInfo_fields, &k) == 0)
		ids = api_json_rows(&nodes, api_json_text_row);
	if (ids != NULL)
		o = json_pack("{s:s, s:I, s:s, s:o, s:I, s:s, s:b, s:I}", "tenant_id", k.tenant_id, "version",
		    api_json_num(k.version), "key_id", k.key_id, "node_ids", ids, "created",
		    api_json_num(k.created), "node_id", k.node_id, "held", k.held, "valid_until",
		    api_json_num(k.valid_until));
	mem_free(nodes.items);
	return o;
}

json_t *
api_json_key(const struct buf *reply)
{
	return one_of(reply, "KeyInfo", key_row);
}

json_t *
api_json_keys(const struct buf *reply)
{
	mesh_v1_KeyList msg = mesh_v1_KeyList_init_zero;

	return list_of(reply, "KeyList", mesh_v1_KeyList_fields, &msg, &msg.keys, key_row);
}

/* --- dead letters --- */

static json_t *
letter_row(const struct pb_slice *entry)
{
	mesh_v1_DeadLetter l = mesh_v1_DeadLetter_init_zero;
	struct pb_slice key, row;

	pb_slice_decode(&l.key, &key);
	pb_slice_decode(&l.row, &row);
	if (pb_unpack(entry->data, entry->len, mesh_v1_DeadLetter_fields, &l) != 0)
		return NULL;
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:o*, s:o*}", "position",
	    api_json_num(l.position), "update_id", l.update_id, "table", l.table, "operation", l.operation,
	    "error", l.error, "failed_at", api_json_num(l.failed_at), "attempts", api_json_num(l.attempts),
	    "blocking", l.blocking, "key", api_json_parsed(&key), "row", api_json_parsed(&row));
}

json_t *
api_json_letters(const struct buf *reply)
{
	mesh_v1_DeadLetterList msg = mesh_v1_DeadLetterList_init_zero;

	return list_of(
	    reply, "DeadLetterList", mesh_v1_DeadLetterList_fields, &msg, &msg.letters, letter_row);
}

static json_t *
dead_letter(const uint8_t *data, size_t len)
{
	mesh_v1_StreamDeadLetter l = mesh_v1_StreamDeadLetter_init_zero;

	if (pb_unpack(data, len, mesh_v1_StreamDeadLetter_fields, &l) != 0)
		return NULL;
	return json_pack("{s:I, s:s, s:I, s:s, s:s, s:s, s:I, s:s, s:I, s:I}", "position",
	    api_json_num(l.position), "stream_id", l.stream_id, "seq", api_json_num(l.seq), "message_id",
	    l.message_id, "tenant_id", l.tenant_id, "source_node", l.source_node, "attempts",
	    api_json_num(l.attempts), "error", l.error, "failed_at", api_json_num(l.failed_at), "bytes",
	    api_json_num(l.bytes));
}

static json_t *
dead_letter_row(const struct pb_slice *entry)
{
	return dead_letter(entry->data, entry->len);
}

json_t *
api_json_dead_letter(const struct buf *reply)
{
	json_t *row = dead_letter(buf_head(reply), buf_left(reply));

	return row != NULL ? row : api_json_unreadable("ResolveStreamDeadLetter");
}

json_t *
api_json_dead_letters(const struct buf *reply)
{
	mesh_v1_StreamDeadLetterList msg = mesh_v1_StreamDeadLetterList_init_zero;

	return list_of(reply, "StreamDeadLetterList", mesh_v1_StreamDeadLetterList_fields, &msg, &msg.letters,
	    dead_letter_row);
}

/* --- of the mesh --- */

json_t *
api_json_join_token(const struct buf *reply)
{
	mesh_v1_JoinToken t = mesh_v1_JoinToken_init_zero;

	if (pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_JoinToken_fields, &t) != 0)
		return api_json_unreadable("CreateJoinToken");
	return json_pack("{s:s, s:I}", "token", t.token, "expires", api_json_num(t.expires));
}

json_t *
api_json_settings(const struct buf *reply)
{
	mesh_v1_MeshSettings s = mesh_v1_MeshSettings_init_zero;
	json_t *o;

	if (pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_MeshSettings_fields, &s) != 0)
		return api_json_unreadable("SetMeshSettings");
	o = json_pack("{s:s}", "mesh_id", s.mesh_id);
	if (s.has_description)
		json_object_set_new(o, "description", json_string(s.description));
	if (s.has_allow_join)
		json_object_set_new(o, "allow_join", json_string(s.allow_join));
	if (s.has_voters)
		json_object_set_new(o, "voters", json_integer(s.voters));
	return o;
}

json_t *
api_json_nothing(const struct buf *reply)
{
	(void)reply;
	return json_object();
}
