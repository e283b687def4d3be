/* api: keys that the control group distributes; see api.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "consensusd/api_op.h"
#include "consensusd/engine.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum { API_KEY_MAX_BYTES = 256 * 1024, API_KEYS_MAX_BYTES = 4 * 1024 * 1024, API_KEY_VALID_MS = 3600 * 1000 };

static void
hex8(char out[17], const uint8_t id[CRYPTO_KEY_ID_BYTES])
{
	for (int i = 0; i < CRYPTO_KEY_ID_BYTES; i++)
		snprintf(out + 2 * i, 3, "%02x", id[i]);
}

static int
encode_key(struct engine *e, const struct mcg_key *k, struct buf *out)
{
	mesh_v1_KeyInfo info = mesh_v1_KeyInfo_init_zero;
	char(*id)[NODEID_TEXT_SIZE] = mem_calloc(k->sealed_count + 1, sizeof(*id));
	struct pb_slice *slice = mem_calloc(k->sealed_count + 1, sizeof(*slice));
	struct pb_list list = {slice, k->sealed_count};
	int err = id == NULL || slice == NULL ? ERR_NOMEM : 0;

	for (size_t i = 0; err == 0 && i < k->sealed_count; i++) {
		nodeid_format(id[i], k->sealed[i].node);
		slice[i] = (struct pb_slice){(const uint8_t *)id[i], strlen(id[i])};
	}
	memcpy(info.tenant_id, k->tenant, sizeof(info.tenant_id));
	info.version = (int64_t)k->version;
	hex8(info.key_id, k->key_id);
	info.created = (int64_t)k->unix_ms;
	nodeid_format(info.node_id, k->node);
	info.held = mesh_has_key(e->mesh, k);
	info.valid_until = (int64_t)mesh_key_ends(e->mesh, k->tenant, k->version);
	pb_list_encode(&info.node_ids, &list);
	if (err == 0)
		err = pb_pack(out, mesh_v1_KeyInfo_fields, &info);
	mem_free(id);
	mem_free(slice);
	return err;
}

void
api_keys_list(struct api *a, struct client *c, const struct imsg *m)
{
	struct call *call = api_unary(a, c, m);
	const struct mcg *mcg = mesh_mcg(a->engine->mesh);
	mesh_v1_KeyList msg = mesh_v1_KeyList_init_zero;
	size_t count = mcg_key_count(mcg);
	struct pb_slice *slice;
	struct pb_list list;
	struct buf all;
	int err = 0;

	if (call == NULL)
		return;
	buf_init(&all, API_KEYS_MAX_BYTES);
	if ((slice = mem_calloc(count + 1, sizeof(*slice))) == NULL)
		err = ERR_NOMEM;
	for (size_t i = 0; i < count && err == 0; i++) {
		size_t at = buf_left(&all);

		err = encode_key(a->engine, mcg_key_at(mcg, i), &all);
		slice[i].len = buf_left(&all) - at;
	}
	for (size_t i = 0, at = 0; i < count && err == 0; at += slice[i++].len)
		slice[i].data = buf_head(&all) + at;
	list = (struct pb_list){slice, count};
	pb_list_encode(&msg.keys, &list);
	if (err == 0)
		api_reply_message(call, mesh_v1_KeyList_fields, &msg, API_KEYS_MAX_BYTES);
	else
		call_done(call, CODE_RESOURCE_EXHAUSTED, "the answer can't be made: %s", err_text(err));
	mem_free(slice);
	buf_fini(&all);
}

/* --- rotation --- */

static void
on_rotated(void *ctx, const struct mesh_outcome *o)
{
	struct api_op *op = ctx;
	struct engine *e = op->api->engine;
	const struct mcg_key *k = mcg_key_get(mesh_mcg(e->mesh), op->tenant);
	struct call *call;
	struct buf out;
	int err;

	if (o->err != 0 || k == NULL) {
		api_op_refuse(op, o->err != 0 ? o->err : ERR_NOENT,
		    o->err == ERR_STALE ? "another node rotated it at the same time: look, then try again"
		    : o->err != 0       ? o->text
					: NULL);
		return;
	}
	if ((call = api_op_end(op)) == NULL)
		return;
	buf_init(&out, API_KEY_MAX_BYTES);
	if ((err = encode_key(e, k, &out)) == 0)
		call_reply(call, buf_head(&out), buf_left(&out));
	else
		call_done(call, CODE_RESOURCE_EXHAUSTED, "the answer can't be made: %s", err_text(err));
	buf_fini(&out);
}

/* Names or ids of members. */
static bool
read_nodes(struct api_op *op, const struct pb_raw_list *in, uint64_t *out)
{
	char text[NODE_NAME_SIZE];

	for (size_t i = 0; i < in->count; i++) {
		if (in->items[i].len >= sizeof(text) || in->items[i].len == 0) {
			api_op_refuse(op, ERR_RANGE, "node_ids are ids or names of members");
			return false;
		}
		memcpy(text, in->items[i].data, in->items[i].len);
		text[in->items[i].len] = '\0';
		if (!api_op_node(op, text, &out[i]))
			return false;
	}
	return true;
}

static void
rotate(struct api_op *op, const mesh_v1_RotateKeyReq *in, const struct pb_raw_list *names)
{
	uint64_t *nodes = mem_calloc(MCG_SEALED_MAX, sizeof(*nodes));
	int err;

	if (nodes == NULL) {
		api_op_refuse(op, ERR_NOMEM, NULL);
		return;
	}
	if (read_nodes(op, names, nodes)) {
		err = mesh_rotate(op->api->engine->mesh, in->tenant_id, nodes, names->count,
		    in->valid_ms != 0 ? (uint64_t)in->valid_ms : API_KEY_VALID_MS, API_OP_DEFAULT_MS,
		    on_rotated, op);
		if (err != 0)
			api_op_refuse(op, err,
			    err == ERR_NOENT ? "the tenant has no key yet: name the members that may have "
					       "one (all have to be "
					       "members)"
					     : NULL);
	}
	mem_free(nodes);
}

void
api_keys_rotate(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_RotateKeyReq in = mesh_v1_RotateKeyReq_init_zero;
	struct pb_slice *items = mem_calloc(MCG_SEALED_MAX, sizeof(*items));
	struct pb_raw_list names = {items, 0, MCG_SEALED_MAX};
	struct api_op *op;

	if (items == NULL) {
		call_refuse(c, m->peerid, CODE_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	pb_raw_list_decode(&in.node_ids, &names);
	op = api_op_new(a, c, m, mesh_v1_RotateKeyReq_fields, &in);
	if (op != NULL && api_op_mesh_is(op, in.mesh_id)) {
		memcpy(op->tenant, in.tenant_id, sizeof(op->tenant));
		if (in.valid_ms < 0 || (in.valid_ms > 0 && in.tenant_id[0] == '\0'))
			api_op_refuse(op, ERR_RANGE, "valid_ms is of a tenant's key, and not negative");
		else if (in.tenant_id[0] != '\0' && !tenant_valid(in.tenant_id))
			api_op_refuse(op, ERR_RANGE, "that is no tenant's id");
		else
			rotate(op, &in, &names);
	}
	mem_free(items);
}
