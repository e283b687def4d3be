/* api: the configuration that all nodes share; see api.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/acl_json.h"
#include "consensusd/api_op.h"
#include "consensusd/engine.h"
#include "consensusd/json_text.h"
#include "consensusd/shared.h"
#include "consensusd/store.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum {
	API_CONFIG_MAX_BYTES = 4 * 1024 * 1024, /* of an answer */
	API_CONFIG_DEFAULT_COUNT = 100,
	API_CONFIG_MAX_COUNT = 10000,
};

/* Entries that an answer is made of, encoded one after the other. */
struct entries {
	struct buf bytes;
	struct pb_slice *slice;
	size_t count, cap;
	int err;
};

static int
entries_init(struct entries *es, size_t cap)
{
	*es = (struct entries){.cap = cap};
	buf_init(&es->bytes, API_CONFIG_MAX_BYTES);
	es->slice = mem_calloc(cap + 1, sizeof(*es->slice));
	return es->slice != NULL ? 0 : ERR_NOMEM;
}

static void
entries_fini(struct entries *es)
{
	buf_fini(&es->bytes);
	mem_free(es->slice);
}

static void
fill(mesh_v1_ConfigEntry *out, const struct mcg_value *v, struct pb_slice *json)
{
	*out = (mesh_v1_ConfigEntry)mesh_v1_ConfigEntry_init_zero;
	snprintf(out->key, sizeof(out->key), "%s", v->key);
	out->version = (int64_t)v->version;
	out->index = (int64_t)v->index;
	nodeid_format(out->node_id, v->node);
	out->updated = (int64_t)v->unix_ms;
	out->removed = v->json == NULL;
	*json = (struct pb_slice){v->json, v->len};
	if (v->json != NULL)
		pb_slice_encode(&out->value, json);
}

static void
entries_add(struct entries *es, const struct mcg_value *v)
{
	mesh_v1_ConfigEntry msg;
	struct pb_slice json;
	size_t at = buf_left(&es->bytes);

	if (es->err != 0 || es->count == es->cap)
		return;
	fill(&msg, v, &json);
	es->err = pb_pack(&es->bytes, mesh_v1_ConfigEntry_fields, &msg);
	es->slice[es->count].len = buf_left(&es->bytes) - at;
	es->count += es->err == 0;
}

static void
entries_reply(struct entries *es, struct call *call)
{
	mesh_v1_ConfigList msg = mesh_v1_ConfigList_init_zero;
	struct pb_list list = {es->slice, es->count};
	const uint8_t *at = buf_head(&es->bytes);

	for (size_t i = 0; i < es->count; at += es->slice[i++].len)
		es->slice[i].data = at;
	pb_list_encode(&msg.entries, &list);
	if (es->err == 0)
		api_reply_message(call, mesh_v1_ConfigList_fields, &msg, API_CONFIG_MAX_BYTES);
	else
		call_done(call, CODE_RESOURCE_EXHAUSTED,
		    "the answer is too large: ask for fewer keys, or for a prefix (%s)", err_text(es->err));
}

/* "a.b" is that key, "a.*" those that begin so, "" all. */
static bool
fits(const char *key, const char *pattern)
{
	size_t n = strlen(pattern);

	if (n == 0)
		return true;
	return pattern[n - 1] == '*' ? strncmp(key, pattern, n - 1) == 0 : strcmp(key, pattern) == 0;
}

static bool
read_request(struct api_op *op, const mesh_v1_ConfigReq *in, size_t *limit)
{
	if (in->limit < 0 || in->limit > API_CONFIG_MAX_COUNT) {
		api_op_refuse(op, ERR_RANGE, "limit is from 0 to 10000");
		return false;
	}
	*limit = in->limit != 0 ? (size_t)in->limit : API_CONFIG_DEFAULT_COUNT;
	return true;
}

/* What there is now, and ends the op. */
static void
reply_values(struct api_op *op)
{
	const struct mcg *mcg = mesh_mcg(op->api->engine->mesh);
	struct entries es;
	struct mcg_value v;
	struct call *call;

	es.err = entries_init(&es, op->limit);
	for (size_t i = 0; es.err == 0 && mcg_value_at(mcg, i, &v); i++)
		if (fits(v.key, op->key))
			entries_add(&es, &v);
	if ((call = api_op_end(op)) != NULL)
		entries_reply(&es, call);
	entries_fini(&es);
}

static void
on_latest(void *ctx, const struct mesh_outcome *o)
{
	if (o->err != 0)
		api_op_refuse(ctx, o->err, o->text);
	else
		reply_values(ctx);
}

void
api_config_get(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_ConfigReq in = mesh_v1_ConfigReq_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_ConfigReq_fields, &in);
	int err;

	if (op == NULL || !read_request(op, &in, &op->limit))
		return;
	memcpy(op->key, in.key, sizeof(op->key));
	if (mcg_mesh(mesh_mcg(a->engine->mesh)) == NULL)
		api_op_refuse(op, mesh_absent(a->engine->mesh), NULL);
	else if (!in.latest)
		reply_values(op);
	else if ((err = mesh_read(a->engine->mesh, API_OP_DEFAULT_MS, on_latest, op)) != 0)
		api_op_refuse(op, err, NULL);
}

/* --- setting --- */

static void
reply_entry(struct api_op *op)
{
	mesh_v1_ConfigEntry msg;
	struct mcg_value v = {.key = op->key, .index = op->index};
	struct pb_slice json;
	struct call *call;

	/* As it is now: a later one may have come meanwhile, and has a later index. */
	(void)mcg_value_get(mesh_mcg(op->api->engine->mesh), op->key, &v);
	fill(&msg, &v, &json);
	if ((call = api_op_end(op)) != NULL)
		api_reply_message(call, mesh_v1_ConfigEntry_fields, &msg, API_CONFIG_MAX_BYTES);
}

/* The key alone: what will become of it is not known yet. */
static void
reply_accepted(struct api_op *op)
{
	mesh_v1_ConfigEntry msg = mesh_v1_ConfigEntry_init_zero;
	struct call *call;

	memcpy(msg.key, op->key, sizeof(msg.key));
	if ((call = api_op_end(op)) != NULL)
		api_reply_message(call, mesh_v1_ConfigEntry_fields, &msg, API_CONFIG_MAX_BYTES);
}

static void
on_spread(void *ctx, int err, const struct mesh_spread *s)
{
	if (err != 0 || !s->reached)
		api_op_refuse(
		    ctx, ERR_TIMEOUT, "it is set, but not all that were waited for have applied it in time");
	else
		reply_entry(ctx);
}

static void
on_set(void *ctx, const struct mesh_outcome *o)
{
	struct api_op *op = ctx;
	int err;

	if (o->err != 0) {
		api_op_refuse(op, o->err,
		    o->err == ERR_STALE   ? "the key has another version than the expected one"
		    : o->err == ERR_NOENT ? "there is no such key"
		    : o->err == ERR_FULL  ? "the configuration is full"
					  : o->text);
		return;
	}
	op->index = o->index;
	if (op->wait == MESH_WAIT_COMMITTED)
		reply_entry(op);
	else if ((err = mesh_wait(
		      op->api->engine->mesh, o->index, op->wait, op->timeout_ms, on_spread, op)) != 0)
		api_op_refuse(op, err, "it is set; who has applied it can't be learnt now");
}

/* Nobody waits for it: the proposal goes its way. */
static void
on_whatever(void *ctx, const struct mesh_outcome *o)
{
	(void)ctx;
	(void)o;
}

static void
set(struct api_op *op, struct mcg_cmd *cmd)
{
	bool none = op->wait == MESH_WAIT_NONE;
	int err = mesh_propose(
	    op->api->engine->mesh, cmd, op->timeout_ms, none ? on_whatever : on_set, none ? NULL : op);

	if (err != 0)
		api_op_refuse(op, err, NULL);
	else if (none)
		reply_accepted(op);
}

static bool
read_entry(struct api_op *op, const mesh_v1_ConfigEntry *in, const struct pb_slice *value,
    struct mcg_cmd_config *out)
{
	char why[SHARED_WHY_SIZE];

	memcpy(out->key, in->key, sizeof(out->key));
	memcpy(op->key, in->key, sizeof(op->key));
	out->remove = in->removed;
	out->expected = in->has_expected_version ? (uint64_t)in->expected_version : UINT64_MAX;
	out->json = value->data;
	out->len = value->len;
	if (!mcg_cmd_key_valid(in->key))
		api_op_refuse(op, ERR_RANGE, "a key has 1 to 127 visible ASCII characters, none of them '*'");
	else if (in->has_expected_version && in->expected_version < 0)
		api_op_refuse(op, ERR_RANGE, "expected_version is negative");
	else if (in->removed && value->len != 0)
		api_op_refuse(op, ERR_RANGE, "a key that is removed has no value");
	else if (!in->removed && value->len > MCG_CONFIG_VALUE_MAX_BYTES)
		api_op_refuse(op, ERR_LIMIT, "a value has at most 65536 bytes");
	else if (!in->removed && (!json_text_valid(value->data, value->len, why, sizeof(why)) ||
				     !shared_check(in->key, value->data, value->len, why) ||
				     !acl_json_check(in->key, value->data, value->len, why, sizeof(why))))
		api_op_refuse(op, ERR_FORMAT, why);
	else
		return true;
	return false;
}

void
api_config_set(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_ConfigEntry in = mesh_v1_ConfigEntry_init_zero;
	struct mcg_cmd cmd = {.type = MCG_CONFIG};
	struct pb_slice value = {0};
	struct api_op *op;
	char why[API_OP_WHY_SIZE];

	pb_slice_decode(&in.value, &value);
	op = api_op_new(a, c, m, mesh_v1_ConfigEntry_fields, &in);
	if (op == NULL || !read_entry(op, &in, &value, &cmd.u.config))
		return;
	if (api_op_wait(&in.wait, &op->wait, &op->timeout_ms, why, sizeof(why)))
		set(op, &cmd);
	else
		api_op_refuse(op, ERR_RANGE, why);
}

/* --- history --- */

/* Collects what the store reads. */
struct history {
	struct api_op *op;
	struct entries entries;
};

static void
on_history(void *arg, const struct store_config *row, int err)
{
	struct history *h = arg;
	struct call *call;

	if (row != NULL) {
		const struct mcg_value v = {.key = row->key,
		    .json = row->json,
		    .len = row->len,
		    .version = row->version,
		    .index = row->index,
		    .unix_ms = row->unix_ms,
		    .node = row->node};

		entries_add(&h->entries, &v);
		return;
	}
	if (err != 0)
		api_op_refuse(h->op, err, "the database of this node is away");
	else if ((call = api_op_end(h->op)) != NULL)
		entries_reply(&h->entries, call);
	entries_fini(&h->entries);
	mem_free(h);
}

void
api_config_history(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_ConfigReq in = mesh_v1_ConfigReq_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_ConfigReq_fields, &in);
	struct history *h;
	size_t limit, n;
	bool prefix;
	int err;

	if (op == NULL || !read_request(op, &in, &limit))
		return;
	if ((h = mem_calloc(1, sizeof(*h))) == NULL || entries_init(&h->entries, limit) != 0) {
		mem_free(h);
		api_op_refuse(op, ERR_NOMEM, NULL);
		return;
	}
	h->op = op;
	n = strlen(in.key);
	prefix = n == 0 || in.key[n - 1] == '*';
	if (n != 0 && prefix)
		in.key[n - 1] = '\0';
	err = store_read_config_history(a->engine->store, in.key, prefix, limit, on_history, h);
	if (err != 0)
		on_history(h, NULL, err);
}
