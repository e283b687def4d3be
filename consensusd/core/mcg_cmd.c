#include "consensusd/core/mcg_cmd.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "consensusd/core/codec.h"
#include "consensusd/core/raft_config.h"

/* --- what many have --- */

static void
node_id(struct codec *c, uint64_t *node)
{
	codec_u64(c, node);
	codec_check(c, *node != 0, ERR_FORMAT);
}

static void
node_name(struct codec *c, char name[NODE_NAME_SIZE])
{
	codec_str(c, name, NODE_NAME_SIZE);
	codec_check(c, name[0] == '\0' || node_name_valid(name), ERR_FORMAT);
}

static void
join(struct codec *c, enum mcg_join *who)
{
	uint8_t v = (uint8_t)*who;

	codec_u8(c, &v);
	codec_check(c, v < MCG_JOINS, ERR_FORMAT);
	if (c->err == 0)
		*who = v;
}

static void
voters(struct codec *c, uint32_t *count)
{
	codec_u32(c, count);
	codec_check(c, *count % 2 == 1 && *count <= RAFT_VOTERS_MAX, ERR_FORMAT);
}

/* --- types --- */

static void
member(struct codec *c, struct mcg_cmd_member *m)
{
	node_id(c, &m->node);
	codec_u64(c, &m->replica);
	codec_check(c, m->replica != 0, ERR_FORMAT);
	codec_bytes(c, m->public_key, sizeof(m->public_key));
	node_name(c, m->name);
	codec_bool(c, &m->readmit);
	codec_ulid(c, &m->token_id);
}

static void
seed(struct codec *c, struct mcg_cmd *cmd)
{
	struct mcg_cmd_seed *s = &cmd->u.seed;

	codec_ulid(c, &s->mesh_id);
	codec_ulid(c, &s->seed_id);
	node_name(c, s->name);
	codec_str(c, s->description, sizeof(s->description));
	join(c, &s->allow_join);
	voters(c, &s->voters);
	codec_u64(c, &s->updates_max_bytes);
	member(c, &s->first);
	codec_check(c, s->first.node == cmd->node, ERR_FORMAT);
}

static void
admit(struct codec *c, struct mcg_cmd *cmd)
{
	member(c, &cmd->u.admit);
}

static void
leave(struct codec *c, struct mcg_cmd *cmd)
{
	struct mcg_cmd_remove *r = &cmd->u.remove;

	node_id(c, &r->node);
	codec_bool(c, &r->evict);
	codec_bool(c, &r->readmit);
	codec_check(c, !r->evict || !r->readmit, ERR_FORMAT);
	codec_str(c, r->reason, sizeof(r->reason));
}

static void
state(struct codec *c, struct mcg_cmd *cmd)
{
	node_id(c, &cmd->u.state.node);
	codec_bool(c, &cmd->u.state.stopped);
}

static void
settings(struct codec *c, struct mcg_cmd *cmd)
{
	struct mcg_cmd_settings *s = &cmd->u.settings;

	codec_bool(c, &s->has_description);
	if (s->has_description)
		codec_str(c, s->description, sizeof(s->description));
	codec_bool(c, &s->has_allow_join);
	if (s->has_allow_join)
		join(c, &s->allow_join);
	codec_bool(c, &s->has_voters);
	if (s->has_voters)
		voters(c, &s->voters);
}

bool
mcg_cmd_key_valid(const char *key)
{
	size_t len = 0;

	for (; key[len] != '\0'; len++)
		if (len == MCG_CONFIG_KEY_SIZE - 1 || key[len] <= ' ' || key[len] > '~' || key[len] == '*')
			return false;
	return len != 0;
}

static void
config(struct codec *c, struct mcg_cmd *cmd)
{
	struct mcg_cmd_config *k = &cmd->u.config;

	codec_str(c, k->key, sizeof(k->key));
	codec_check(c, mcg_cmd_key_valid(k->key), ERR_FORMAT);
	codec_bool(c, &k->remove);
	codec_u64(c, &k->expected);
	codec_block(c, &k->json, &k->len, MCG_CONFIG_VALUE_MAX_BYTES);
	/* No JSON is empty. */
	codec_check(c, k->remove == (k->len == 0), ERR_FORMAT);
}

static void
update(struct codec *c, struct mcg_cmd *cmd)
{
	struct mcg_cmd_update *u = &cmd->u.update;
	uint8_t kind = (uint8_t)u->kind;

	codec_u8(c, &kind);
	codec_check(c, kind == MCG_UPDATE_MESH || kind == MCG_UPDATE_DB, ERR_FORMAT);
	codec_ulid(c, &u->id);
	codec_check(c, !ulid_is_zero(&u->id), ERR_FORMAT);
	codec_str(c, u->type, sizeof(u->type));
	codec_check(c, u->type[0] != '\0', ERR_FORMAT);
	codec_bytes(c, u->key_id, sizeof(u->key_id));
	codec_block(c, &u->payload, &u->len, MCG_UPDATE_MAX_BYTES + MCG_UPDATE_AROUND_MAX_BYTES);
	if (c->err != 0)
		return;
	u->kind = kind;
	u->node = cmd->node;
	u->unix_ms = cmd->unix_ms;
}

static bool
sealed_ascend(const struct mcg_cmd_key *k)
{
	uint64_t before = 0;

	for (size_t i = 0; i < k->sealed_count; i++) {
		uint64_t node = be_load64(k->sealed + i * MCG_SEALED_BYTES);

		if (node <= before)
			return false;
		before = node;
	}
	return true;
}

static void
key(struct codec *c, struct mcg_cmd *cmd)
{
	struct mcg_cmd_key *k = &cmd->u.key;
	size_t len = k->sealed_count * MCG_SEALED_BYTES;

	codec_str(c, k->tenant, sizeof(k->tenant));
	codec_check(c, k->tenant[0] == '\0' || tenant_valid(k->tenant), ERR_FORMAT);
	codec_u64(c, &k->version);
	codec_check(c, k->version != 0 && k->version < UINT64_MAX, ERR_FORMAT);
	codec_bytes(c, k->key_id, sizeof(k->key_id));
	codec_u64(c, &k->valid_ms);
	codec_check(c, k->sealed_count <= MCG_SEALED_MAX, ERR_LIMIT);
	codec_block(c, &k->sealed, &len, (size_t)MCG_SEALED_MAX * MCG_SEALED_BYTES);
	if (c->err != 0)
		return;
	k->sealed_count = len / MCG_SEALED_BYTES;
	/* A key that nobody has is none. */
	codec_check(c, len != 0 && len % MCG_SEALED_BYTES == 0 && sealed_ascend(k), ERR_FORMAT);
}

static void
prune(struct codec *c, struct mcg_cmd *cmd)
{
	codec_u64(c, &cmd->u.prune);
}

static const struct {
	const char *name;
	void (*fields)(struct codec *c, struct mcg_cmd *cmd);
} types[MCG_CMD_TYPES] = {
    [MCG_SEED] = {"seed", seed},
    [MCG_ADMIT] = {"admit", admit},
    [MCG_REMOVE] = {"remove", leave},
    [MCG_STATE] = {"state", state},
    [MCG_SETTINGS] = {"settings", settings},
    [MCG_CONFIG] = {"config", config},
    [MCG_UPDATE] = {"update", update},
    [MCG_KEY] = {"key", key},
    [MCG_SEAL] = {"seal", key},
    [MCG_PRUNE] = {"prune", prune},
};

const char *
mcg_cmd_name(uint8_t type)
{
	return type != 0 && type < MCG_CMD_TYPES ? types[type].name : "?";
}

/* --- the whole --- */

static void
command(struct codec *c, struct mcg_cmd *cmd)
{
	uint8_t version = MCG_CMD_VERSION;

	codec_u8(c, &version);
	codec_check(c, version == MCG_CMD_VERSION, ERR_VERSION);
	codec_u8(c, &cmd->type);
	codec_check(c, cmd->type != 0 && cmd->type < MCG_CMD_TYPES, ERR_UNKNOWN);
	codec_u64(c, &cmd->unix_ms);
	node_id(c, &cmd->node);
	if (c->err == 0)
		types[cmd->type].fields(c, cmd);
}

int
mcg_cmd_encode(const struct mcg_cmd *c, struct buf *out)
{
	struct codec put = codec_put(out);
	struct mcg_cmd copy = *c; /* what is written is left as it is, but the compiler can't know */

	command(&put, &copy);
	return put.err;
}

int
mcg_cmd_decode(const uint8_t *data, size_t len, struct mcg_cmd *out)
{
	struct codec get;
	struct buf in;

	memset(out, 0, sizeof(*out));
	buf_view(&in, data, len);
	get = codec_get(&in);
	command(&get, out);
	return get.err != 0 ? get.err : buf_end(&in);
}
