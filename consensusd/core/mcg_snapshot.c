/*
 * Of mcg: the whole state as bytes.
 *
 *	u8 version, u64 index, u8 seeded, then if it is
 *		the mesh, members, tokens, configuration, what was removed of it, keys, updates
 *	sessions
 *
 * Everything in ascending order: one state has one encoding, and what can be read is written as it was.
 */
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/codec.h"
#include "consensusd/core/mcg_impl.h"
#include "consensusd/core/raft_config.h"
#include "consensusd/core/raft_sessions.h"

void *
mcg_item_at(struct codec *c, struct sorted *s, size_t i, size_t size)
{
	void *item;

	if (c->put)
		return s->at[i];
	if (sorted_reserve(s) != 0 || (item = mem_calloc(1, size)) == NULL) {
		c->err = ERR_NOMEM;
		return NULL;
	}
	sorted_put(s, s->count, item);
	return item;
}

static void
mesh_fields(struct codec *c, struct mcg_mesh *mesh)
{
	uint8_t who = (uint8_t)mesh->allow_join;

	codec_ulid(c, &mesh->mesh_id);
	codec_ulid(c, &mesh->seed_id);
	codec_str(c, mesh->name, sizeof(mesh->name));
	codec_str(c, mesh->description, sizeof(mesh->description));
	codec_u8(c, &who);
	codec_u64(c, &mesh->created_unix_ms);
	codec_u32(c, &mesh->voters);
	codec_u64(c, &mesh->updates_max_bytes);
	codec_check(c, who < MCG_JOINS, ERR_FORMAT);
	codec_check(c, mesh->voters % 2 == 1 && mesh->voters <= RAFT_VOTERS_MAX, ERR_FORMAT);
	codec_check(c, mesh->name[0] == '\0' || node_name_valid(mesh->name), ERR_FORMAT);
	if (c->err == 0)
		mesh->allow_join = who;
}

static void
fields(struct mcg *m, struct codec *c)
{
	uint8_t version = MCG_SNAPSHOT_VERSION;

	codec_u8(c, &version);
	codec_check(c, version == MCG_SNAPSHOT_VERSION, ERR_VERSION);
	codec_u64(c, &m->index);
	codec_bool(c, &m->seeded);
	if (!m->seeded)
		return;
	mesh_fields(c, &m->mesh);
	/* What is sealed is checked against the members. */
	mcg_members_fields(m, c);
	mcg_tokens_fields(m, c);
	mcg_config_fields(m, c);
	mcg_keys_fields(m, c);
	mcg_updates_fields(m, c);
}

int
mcg_snapshot(const struct mcg *m, struct buf *out)
{
	struct codec c = codec_put(out);
	struct mcg copy = *m; /* its parts are shared: what is written is left as it is */

	fields(&copy, &c);
	return c.err != 0 ? c.err : raft_sessions_encode(m->sessions, out);
}

static int
restore(struct mcg *m, struct buf *in)
{
	struct codec c = codec_get(in);
	struct raft_sessions *sessions;
	int err;

	fields(m, &c);
	if (c.err != 0)
		return c.err;
	if ((err = raft_sessions_decode(in, &sessions)) != 0)
		return err;
	raft_sessions_free(m->sessions);
	m->sessions = sessions;
	return buf_end(in);
}

int
mcg_restore(struct mcg *m, const uint8_t *data, size_t len)
{
	struct mcg *new = mcg_new(), old;
	struct buf in;
	int err;

	if (new == NULL)
		return ERR_NOMEM;
	buf_view(&in, data, len);
	if ((err = restore(new, &in)) == 0) {
		old = *m;
		*m = *new;
		*new = old;
	}
	mcg_free(new);
	return err;
}

size_t
mcg_bytes(const struct mcg *m)
{
	/* Fixed parts with texts of middling length. */
	enum { MESH = 512, MEMBER = 128, TOKEN = 32, VALUE = 80, REMOVED = 48, KEY = 80, UPDATE = 32 };

	return MESH + m->members.count * MEMBER + m->tokens.count * TOKEN + m->values.count * VALUE +
	       m->value_bytes + m->removed.count * REMOVED + m->keys.count * KEY +
	       m->boxes * MCG_SEALED_BYTES + m->updates.count * UPDATE + m->updates.bytes +
	       raft_sessions_bytes(m->sessions);
}
