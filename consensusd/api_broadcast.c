/*
 * api: updates that all nodes get through the control group; see api.h.
 *
 * First the update is committed, then, as the request wants it, some or all members apply it.  An update that
 * was sent before (update_id) is not sent again: the answer is that of the first.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/api_op.h"
#include "consensusd/engine.h"
#include "consensusd/json_text.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum { API_RESULT_MAX_BYTES = 256 * 1024 };

/* --- the answer --- */

struct spread_text {
	char (*text)[NODEID_TEXT_SIZE];
	struct pb_slice *applied, *pending;
	struct pb_list applied_list, pending_list;
};

static int
spread_format(const struct mesh_spread *s, struct spread_text *t)
{
	size_t count = s != NULL ? s->count : 0;

	t->text = mem_calloc(count + 1, sizeof(*t->text));
	t->applied = mem_calloc(count + 1, sizeof(*t->applied));
	t->pending = mem_calloc(count + 1, sizeof(*t->pending));
	if (t->text == NULL || t->applied == NULL || t->pending == NULL)
		return ERR_NOMEM;
	t->applied_list.items = t->applied;
	t->pending_list.items = t->pending;
	for (size_t i = 0; i < count; i++) {
		struct pb_slice *to = s->node[i].applied ? &t->applied[t->applied_list.count++]
							 : &t->pending[t->pending_list.count++];

		nodeid_format(t->text[i], s->node[i].node);
		*to = (struct pb_slice){(const uint8_t *)t->text[i], strlen(t->text[i])};
	}
	return 0;
}

static void
spread_free(struct spread_text *t)
{
	mem_free(t->text);
	mem_free(t->applied);
	mem_free(t->pending);
}

static void
reply(struct api_op *op, const struct mesh_spread *s, const char *error)
{
	mesh_v1_BroadcastResult out = mesh_v1_BroadcastResult_init_zero;
	struct spread_text t = {0};
	struct call *call;

	out.success = error[0] == '\0';
	snprintf(out.error, sizeof(out.error), "%s", error);
	memcpy(out.update_id, op->id, sizeof(out.update_id));
	out.index = (int64_t)op->index;
	out.term = (int64_t)op->term;
	out.committed = op->index != 0;
	out.repeated_update = op->repeated;
	if (spread_format(s, &t) != 0) {
		api_op_refuse(op, ERR_NOMEM, NULL);
	} else if ((call = api_op_end(op)) != NULL) {
		pb_list_encode(&out.applied_nodes, &t.applied_list);
		pb_list_encode(&out.pending_nodes, &t.pending_list);
		api_reply_message(call, mesh_v1_BroadcastResult_fields, &out, API_RESULT_MAX_BYTES);
	}
	spread_free(&t);
}

static void
on_spread(void *ctx, int err, const struct mesh_spread *s)
{
	struct api_op *op = ctx;

	if (err != 0)
		reply(op, NULL, "committed; who has applied it could not be learnt in time");
	else if (!s->reached && op->wait == MESH_WAIT_QUORUM)
		reply(op, s, "committed; a majority has not applied it in time");
	else
		reply(op, s, s->reached ? "" : "committed; not all members have applied it in time");
}

static void
on_committed(void *ctx, const struct mesh_outcome *o)
{
	struct api_op *op = ctx;
	int err = o->err == ERR_EXISTS ? 0 : o->err;

	if (err != 0) {
		api_op_refuse(op, err,
		    err == ERR_FULL ? "the updates that members which are away have not applied fill "
				      "updates-max: they have to "
				      "come back, or be evicted"
				    : o->text);
		return;
	}
	op->index = o->index;
	op->term = o->term;
	op->repeated = o->repeated;
	if ((err = mesh_wait(op->api->engine->mesh, o->index, op->wait, op->timeout_ms, on_spread, op)) != 0)
		on_spread(op, err, NULL);
}

/* Nobody waits for it: the proposal goes its way. */
static void
on_whatever(void *ctx, const struct mesh_outcome *o)
{
	(void)ctx;
	(void)o;
}

/* --- the request --- */

static bool
read_wait(struct api_op *op, const mesh_v1_BroadcastWait *w)
{
	char why[API_OP_WHY_SIZE];

	if (api_op_wait(w, &op->wait, &op->timeout_ms, why, sizeof(why)))
		return true;
	api_op_refuse(op, ERR_RANGE, why);
	return false;
}

static bool
read_id(struct api_op *op, const char *text, struct ulid *id)
{
	if (text[0] == '\0')
		engine_ulid(op->api->engine, id);
	else if (ulid_parse(text, id) != 0 || ulid_is_zero(id)) {
		api_op_refuse(op, ERR_FORMAT, "update_id is no ULID");
		return false;
	}
	ulid_format(op->id, id);
	return true;
}

static void
send_update(struct api_op *op, enum mcg_update_kind kind, const struct ulid *id, const char *type,
    const void *payload, size_t len)
{
	struct mesh *mesh = op->api->engine->mesh;
	bool none = op->wait == MESH_WAIT_NONE;
	int err = mesh_update(mesh, kind, id, type, payload, len, op->timeout_ms,
	    none ? on_whatever : on_committed, none ? NULL : op);

	if (err == ERR_AGAIN)
		api_op_refuse(op, err, "this node has not got the mesh's key yet: try again soon");
	else if (err == ERR_LIMIT)
		api_op_refuse(op, err, "an update is at most 1 MiB");
	else if (err != 0)
		api_op_refuse(op, err, NULL);
	else if (none)
		reply(op, NULL, "");
}

static bool
type_valid(const char *type)
{
	size_t n = strlen(type);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)type[i] <= ' ' || (unsigned char)type[i] >= 0x7f)
			return false;
	return n != 0;
}

void
api_update_mesh(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_MeshUpdate in = mesh_v1_MeshUpdate_init_zero;
	struct pb_slice payload = {0};
	struct api_op *op;
	struct ulid id;

	pb_slice_decode(&in.payload, &payload);
	op = api_op_new(a, c, m, mesh_v1_MeshUpdate_fields, &in);
	if (op == NULL || !read_wait(op, &in.wait) || !read_id(op, in.update_id, &id))
		return;
	if (!type_valid(in.type))
		api_op_refuse(op, ERR_RANGE, "type has 1 to 63 visible ASCII characters");
	else
		send_update(op, MCG_UPDATE_MESH, &id, in.type, payload.data, payload.len);
}

/* --- rows --- */

static bool
operation_known(const char *text)
{
	static const char *const all[] = {"insert", "update", "delete", "upsert"};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(text, all[i]) == 0)
			return true;
	return false;
}

/* False: why says what is wrong with it. */
static bool
row_fits(const mesh_v1_DBUpdate *in, const struct pb_slice *key, const struct pb_slice *row, char *why,
    size_t size)
{
	bool has_key = strcmp(in->operation, "update") == 0 || strcmp(in->operation, "delete") == 0;
	bool has_row = strcmp(in->operation, "delete") != 0;

	if (in->table[0] == '\0')
		snprintf(why, size, "table is missing");
	else if (!operation_known(in->operation))
		snprintf(why, size, "operation is insert, update, delete or upsert");
	else if ((has_key && key->len == 0) || (has_row && row->len == 0))
		snprintf(why, size, "%s is missing", has_key && key->len == 0 ? "key" : "row");
	else
		return (!has_key || json_text_object(key->data, key->len, why, size)) &&
		       (!has_row || json_text_object(row->data, row->len, why, size));
	return false;
}

void
api_update_db(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_DBUpdate in = mesh_v1_DBUpdate_init_zero, row_only = mesh_v1_DBUpdate_init_zero;
	struct pb_slice key = {0}, row = {0};
	struct api_op *op;
	struct ulid id;
	struct buf out;
	char why[160];
	int err;

	pb_slice_decode(&in.key, &key);
	pb_slice_decode(&in.row, &row);
	op = api_op_new(a, c, m, mesh_v1_DBUpdate_fields, &in);
	if (op == NULL || !read_wait(op, &in.wait) || !read_id(op, in.update_id, &id))
		return;
	if (!row_fits(&in, &key, &row, why, sizeof(why))) {
		api_op_refuse(op, ERR_RANGE, why);
		return;
	}
	memcpy(row_only.table, in.table, sizeof(row_only.table));
	memcpy(row_only.operation, in.operation, sizeof(row_only.operation));
	pb_slice_encode(&row_only.key, &key);
	pb_slice_encode(&row_only.row, &row);
	buf_init(&out, MCG_UPDATE_MAX_BYTES + MCG_UPDATE_AROUND_MAX_BYTES);
	if ((err = pb_pack(&out, mesh_v1_DBUpdate_fields, &row_only)) == 0)
		send_update(op, MCG_UPDATE_DB, &id, in.table, buf_head(&out), buf_left(&out));
	else
		api_op_refuse(op, err, NULL);
	buf_fini(&out);
}
