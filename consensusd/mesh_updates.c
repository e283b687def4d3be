/* mesh: updates as those who follow them get them, and the database; see mesh.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/applier.h"
#include "consensusd/bulletin.h"
#include "consensusd/follower.h"
#include "consensusd/mesh_impl.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum { UPDATE_AROUND_BYTES = 1024 };

/* --- in order --- */

/* Nobody who has got as far as any can miss what all members had; who begins gets what there is. */
static int
next_of(struct mesh *m, enum mcg_update_kind kind, uint64_t after, uint64_t limit, struct follow_item *out)
{
	if (after != 0 && after < mcg_pruned(m->mcg))
		return ERR_STALE;
	if (!mcg_update_kind_after(m->mcg, kind, after, &m->followed) || m->followed.index > limit)
		return ERR_NOENT;
	*out = (struct follow_item){
	    .position = m->followed.index, .type = m->followed.cmd.type, .data = &m->followed};
	return 0;
}

static int
next_mesh(void *ctx, uint64_t after, struct follow_item *out)
{
	return next_of(ctx, MCG_UPDATE_MESH, after, UINT64_MAX, out);
}

/* Who follows the database's updates finds their rows there. */
static int
next_db(void *ctx, uint64_t after, struct follow_item *out)
{
	struct mesh *m = ctx;

	return next_of(m, MCG_UPDATE_DB, after,
	    m->engine->applier != NULL ? applier_position(m->engine->applier) : UINT64_MAX, out);
}

/* --- as API clients get them --- */

static int
encode_mesh(void *ctx, const struct follow_item *item, struct buf *out)
{
	const struct mcg_update *u = item->data;
	mesh_v1_MeshUpdate msg = mesh_v1_MeshUpdate_init_zero;
	struct pb_slice payload;
	struct buf plain;
	int err;

	buf_init(&plain, MCG_UPDATE_MAX_BYTES + MCG_UPDATE_AROUND_MAX_BYTES);
	if ((err = mesh_open(ctx, u, &plain)) == 0) {
		payload = (struct pb_slice){buf_head(&plain), buf_left(&plain)};
		ulid_format(msg.update_id, &u->cmd.id);
		memcpy(msg.type, u->cmd.type, sizeof(msg.type));
		nodeid_format(msg.node_id, u->cmd.node);
		msg.timestamp = (int64_t)u->cmd.unix_ms;
		msg.position = (int64_t)u->index;
		pb_slice_encode(&msg.payload, &payload);
		err = pb_pack(out, mesh_v1_MeshUpdate_fields, &msg);
	}
	buf_fini(&plain);
	return err;
}

static int
encode_db(void *ctx, const struct follow_item *item, struct buf *out)
{
	const struct mcg_update *u = item->data;
	mesh_v1_DBUpdate in = mesh_v1_DBUpdate_init_zero;
	struct pb_slice key = {0}, row = {0};
	struct buf plain;
	int err;

	buf_init(&plain, MCG_UPDATE_MAX_BYTES + MCG_UPDATE_AROUND_MAX_BYTES);
	pb_slice_decode(&in.key, &key);
	pb_slice_decode(&in.row, &row);
	if ((err = mesh_open(ctx, u, &plain)) == 0)
		err = pb_unpack(buf_head(&plain), buf_left(&plain), mesh_v1_DBUpdate_fields, &in);
	if (err == 0) {
		ulid_format(in.update_id, &u->cmd.id);
		nodeid_format(in.node_id, u->cmd.node);
		in.timestamp = (int64_t)u->cmd.unix_ms;
		in.position = (int64_t)u->index;
		pb_slice_encode(&in.key, &key);
		pb_slice_encode(&in.row, &row);
		err = pb_pack(out, mesh_v1_DBUpdate_fields, &in);
	}
	buf_fini(&plain);
	return err;
}

/* --- for the database --- */

static bool
next_row(void *ctx, uint64_t after, struct applier_update *out)
{
	struct mesh *m = ctx;
	struct mcg_update u;
	int err;

	if (!mcg_update_kind_after(m->mcg, MCG_UPDATE_DB, after, &u))
		return false;
	buf_reset(&m->row);
	/* Its key may be on its way to this node; what can't be opened with it, is for the applier to refuse.
	 */
	if ((err = mesh_open(m, &u, &m->row)) == ERR_NOENT || err == ERR_NOMEM)
		return false;
	*out = (struct applier_update){.index = u.index,
	    .id = u.cmd.id,
	    .node = u.cmd.node,
	    .unix_ms = u.cmd.unix_ms,
	    .payload = buf_head(&m->row),
	    .len = buf_left(&m->row)};
	return true;
}

static void
on_row_applied(void *ctx, uint64_t position)
{
	struct mesh *m = ctx;

	(void)position;
	mesh_spread_applied(m);
	follower_changed(m->engine, FOLLOW_DB);
}

static void
on_row_failed(void *ctx, const struct applier_failure *f)
{
	struct mesh *m = ctx;
	char position[24];
	const struct api_field fields[] = {{"position", position}, {"table", f->table}, {"error", f->error},
	    {"node_name", m->engine->node_name}};

	snprintf(position, sizeof(position), "%llu", (unsigned long long)f->position);
	api_event(m->engine, "update_failed", fields, 4);
}

/* The state is that of the log's index: a position beyond is of another log. */
uint64_t
mesh_own_mark(struct mesh *m)
{
	uint64_t index = mcg_index(m->mcg), position;
	struct mcg_update u;

	if (m->engine->applier == NULL)
		return index;
	position = applier_position(m->engine->applier);
	/* The first one that is not done was looked for already, mostly. */
	if (m->row_waits > position && m->row_waits <= index)
		return m->row_waits - 1;
	m->row_waits = mcg_update_kind_after(m->mcg, MCG_UPDATE_DB, position, &u) ? u.index : 0;
	return m->row_waits != 0 ? m->row_waits - 1 : index;
}

void
mesh_updates_came(struct mesh *m)
{
	follower_changed(m->engine, FOLLOW_MESH);
	follower_changed(m->engine, FOLLOW_DB);
	if (m->engine->applier != NULL)
		applier_wake(m->engine->applier);
}

/* --- what nodes say about themselves --- */

/* A mesh without a control group has no members: then all count. */
static bool
is_admitted(void *ctx, uint64_t node)
{
	const struct mesh *m = ctx;
	const struct mcg_member *x = mcg_member_get(m->mcg, node);

	if (mcg_mesh(m->mcg) == NULL)
		return true;
	return x != NULL && x->replica != 0;
}

/* A node keeps what it said itself: if it is let in again, it goes on from there. */
void
mesh_updates_forget(struct mesh *m)
{
	for (size_t i = 0; i < mcg_member_count(m->mcg); i++) {
		const struct mcg_member *x = mcg_member_at(m->mcg, i);

		if (x->replica == 0 && x->node != m->engine->self &&
		    bulletin_forget(m->engine->bulletin, x->node) != 0)
			log_warn("updates of %s stay until this node starts again",
			    engine_node_text(m->engine, x->node));
	}
}

/* --- life --- */

void
mesh_load_log(struct mesh *m, uint64_t tag)
{
	m->log_tag = tag;
}

void
mesh_updates_log(struct mesh *m, const uint8_t group[STORE_GROUP_BYTES])
{
	/* A position in the database is at most 63 bits. */
	const struct store_position row = {
	    .kind = FOLLOW_MESH, .subscriber = "", .position = be_load64(group) >> 1 | 1};
	int64_t ticket;

	if (m->engine->applier != NULL)
		applier_log(m->engine->applier, group);
	if (row.position == m->log_tag)
		return;
	m->log_tag = row.position;
	follower_reset(m->engine, FOLLOW_MESH);
	follower_reset(m->engine, FOLLOW_DB);
	if ((ticket = store_put_position(m->engine->store, &row)) < 0)
		log_warn("positions of followers begin anew at the next start: %s", err_text((int)ticket));
}

void
mesh_updates_start(struct mesh *m)
{
	const struct follow_source mesh = {
	    next_mesh, encode_mesh, m, MCG_UPDATE_MAX_BYTES + UPDATE_AROUND_BYTES};
	const struct follow_source db = {next_db, encode_db, m, MCG_UPDATE_MAX_BYTES + UPDATE_AROUND_BYTES};
	const struct applier_callbacks rows = {next_row, on_row_applied, on_row_failed, m};

	bulletin_admit(m->engine->bulletin, is_admitted, m);
	buf_init(&m->row, MCG_UPDATE_MAX_BYTES + MCG_UPDATE_AROUND_MAX_BYTES);
	follower_source(m->engine, FOLLOW_MESH, &mesh);
	follower_source(m->engine, FOLLOW_DB, &db);
	if (m->engine->applier != NULL)
		applier_attach(m->engine->applier, &rows);
}

void
mesh_updates_fini(struct mesh *m)
{
	if (m->engine->applier != NULL)
		applier_attach(m->engine->applier, NULL);
	buf_fini(&m->row);
}
