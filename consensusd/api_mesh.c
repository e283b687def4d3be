/* api: the mesh's control group: seeding, joining, leaving, evicting, leadership; see api.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "consensusd/api_op.h"
#include "consensusd/core/raft_config.h"
#include "consensusd/engine.h"
#include "consensusd/group.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

/* A token that is good for longer is as good as none. */
#define API_TOKEN_MAX_MS (INT64_C(366) * 86400 * 1000)

enum { API_TOKEN_DEFAULT_MS = 3600 * 1000, API_VOTERS_DEFAULT = 5, API_SETTINGS_MAX_BYTES = 1024 };

static const char *const join_names[MCG_JOINS] = {
    [MCG_JOIN_NOBODY] = "nobody", [MCG_JOIN_CERTIFICATE] = "certificate", [MCG_JOIN_TOKEN] = "token"};

static bool
parse_join(const char *text, enum mcg_join *out)
{
	for (int i = 0; i < MCG_JOINS; i++) {
		if (strcmp(text, join_names[i]) == 0) {
			*out = (enum mcg_join)i;
			return true;
		}
	}
	return false;
}

static bool
voters_fit(int32_t voters)
{
	return voters > 0 && voters <= RAFT_VOTERS_MAX && voters % 2 == 1;
}

/* --- seeding and joining --- */

static const char *
read_seed(const struct engine *e, const mesh_v1_SeedMeshReq *in, struct mesh_seed *out)
{
	*out = (struct mesh_seed){.allow_join = MCG_JOIN_CERTIFICATE,
	    .voters = in->voters != 0 ? (uint32_t)in->voters : API_VOTERS_DEFAULT,
	    .force = in->force};
	snprintf(out->name, sizeof(out->name), "%s", in->name[0] != '\0' ? in->name : e->mesh_name);
	snprintf(out->description, sizeof(out->description), "%s", in->description);
	if (in->allow_join[0] != '\0' && !parse_join(in->allow_join, &out->allow_join))
		return "allow_join is nobody, certificate or token";
	if (in->voters != 0 && !voters_fit(in->voters))
		return "voters is an odd number from 1 to 15";
	return NULL;
}

void
api_mesh_seed(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_SeedMeshReq in = mesh_v1_SeedMeshReq_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_SeedMeshReq_fields, &in);
	struct mesh_seed seed;
	const char *wrong;
	int err;

	if (op == NULL || !api_op_mesh_is(op, in.mesh_id))
		return;
	if ((wrong = read_seed(a->engine, &in, &seed)) != NULL)
		api_op_refuse(op, ERR_RANGE, wrong);
	else if ((err = mesh_seed(a->engine->mesh, &seed, api_op_done, op)) != 0)
		api_op_refuse(op, err,
		    err == ERR_EXISTS  ? "this node is a member of the mesh's control group already"
		    : err == ERR_AGAIN ? "this node is joining or leaving just now"
				       : NULL);
}

void
api_mesh_join(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_JoinMeshReq in = mesh_v1_JoinMeshReq_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_JoinMeshReq_fields, &in);
	uint64_t contact;
	int err;

	if (op == NULL || !api_op_mesh_is(op, in.mesh_id) || !api_op_node(op, in.contact, &contact))
		return;
	if ((err = mesh_join(a->engine->mesh, in.token, contact, api_op_done, op)) != 0)
		api_op_refuse(op, err,
		    err == ERR_EXISTS  ? "this node is a member of the mesh's control group already"
		    : err == ERR_AGAIN ? "this node is joining or leaving just now"
				       : NULL);
}

static void
set_stopped(struct api *a, struct api_op *op, bool stopped)
{
	int err = mesh_stop(a->engine->mesh, stopped, api_op_done, op);

	if (err != 0)
		api_op_refuse(op, err, NULL);
}

void
api_mesh_start(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_StartMeshReq in = mesh_v1_StartMeshReq_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_StartMeshReq_fields, &in);

	if (op != NULL && api_op_mesh_is(op, in.mesh_id))
		set_stopped(a, op, false);
}

void
api_mesh_stop(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_StopMeshReq in = mesh_v1_StopMeshReq_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_StopMeshReq_fields, &in);

	if (op != NULL && api_op_mesh_is(op, in.mesh_id))
		set_stopped(a, op, true);
}

/* A node that is no member has nothing to leave here. */
void
api_mesh_leave(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_LeaveMeshReq in = mesh_v1_LeaveMeshReq_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_LeaveMeshReq_fields, &in);
	int err;

	if (op == NULL || !api_op_mesh_is(op, in.mesh_id))
		return;
	if (mesh_state(a->engine->mesh) == MESH_OUTSIDE) {
		const struct mesh_outcome nothing = {0};

		api_op_done(op, &nothing);
	} else if ((err = mesh_leave(a->engine->mesh, api_op_done, op)) != 0) {
		api_op_refuse(op, err, err == ERR_AGAIN ? "this node is joining or leaving just now" : NULL);
	}
}

static void
on_evicted(void *ctx, const struct mesh_outcome *o)
{
	if (o->err == ERR_NOENT)
		api_op_refuse(ctx, o->err, "that node is not evicted");
	else
		api_op_done(ctx, o);
}

void
api_mesh_evict(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_EvictNodeReq in = mesh_v1_EvictNodeReq_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_EvictNodeReq_fields, &in);
	struct mcg_cmd cmd = {.type = MCG_REMOVE};
	uint64_t node;
	int err;

	if (op == NULL || !api_op_mesh_is(op, in.mesh_id) || !api_op_node(op, in.node_id, &node))
		return;
	if (node == 0) {
		api_op_refuse(op, ERR_RANGE, "node_id is missing");
		return;
	}
	if (node == a->engine->self) {
		api_op_refuse(op, ERR_STATE, "a node does not evict itself: leave, or ask another node");
		return;
	}
	cmd.u.remove.node = node;
	cmd.u.remove.evict = !in.readmit;
	cmd.u.remove.readmit = in.readmit;
	snprintf(cmd.u.remove.reason, sizeof(cmd.u.remove.reason), "%s", in.reason);
	if ((err = mesh_propose(a->engine->mesh, &cmd, API_OP_LONG_MS, on_evicted, op)) != 0)
		api_op_refuse(op, err, NULL);
}

/* --- tokens and settings --- */

void
api_mesh_token(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_JoinTokenReq in = mesh_v1_JoinTokenReq_init_zero;
	mesh_v1_JoinToken out = mesh_v1_JoinToken_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_JoinTokenReq_fields, &in);
	enum mesh_state state = mesh_state(a->engine->mesh);
	struct call *call;
	uint64_t node;
	int err;

	if (op == NULL || !api_op_mesh_is(op, in.mesh_id) || !api_op_node(op, in.node_id, &node))
		return;
	if (in.valid_ms < 0 || in.valid_ms > API_TOKEN_MAX_MS) {
		api_op_refuse(op, ERR_RANGE, "valid_ms is from 0 to a year");
		return;
	}
	if (state != MESH_MEMBER && state != MESH_STOPPED) {
		api_op_refuse(op, mesh_absent(a->engine->mesh), NULL);
		return;
	}
	out.expires = (int64_t)clock_unix_ms() + (in.valid_ms != 0 ? in.valid_ms : API_TOKEN_DEFAULT_MS);
	if ((err = mesh_token(a->engine->mesh, node, (uint64_t)out.expires, out.token)) != 0)
		api_op_refuse(op, err, NULL);
	else if ((call = api_op_end(op)) != NULL)
		api_reply_message(call, mesh_v1_JoinToken_fields, &out, API_SETTINGS_MAX_BYTES);
}

static void
reply_settings(struct api_op *op)
{
	struct api *a = op->api;
	const struct mcg_mesh *x = mcg_mesh(mesh_mcg(a->engine->mesh));
	mesh_v1_MeshSettings out = mesh_v1_MeshSettings_init_zero;
	struct call *call;

	if (x == NULL) {
		api_op_refuse(op, mesh_absent(a->engine->mesh), NULL);
		return;
	}
	ulid_format(out.mesh_id, &x->mesh_id);
	out.has_description = out.has_allow_join = out.has_voters = true;
	snprintf(out.description, sizeof(out.description), "%s", x->description);
	snprintf(out.allow_join, sizeof(out.allow_join), "%s", join_names[x->allow_join]);
	out.voters = (int32_t)x->voters;
	if ((call = api_op_end(op)) != NULL)
		api_reply_message(call, mesh_v1_MeshSettings_fields, &out, API_SETTINGS_MAX_BYTES);
}

static void
on_settings(void *ctx, const struct mesh_outcome *o)
{
	if (o->err != 0)
		api_op_refuse(ctx, o->err, o->text);
	else
		reply_settings(ctx);
}

/* Nothing to change: what they are. */
void
api_mesh_settings(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_MeshSettings in = mesh_v1_MeshSettings_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_MeshSettings_fields, &in);
	struct mcg_cmd cmd = {.type = MCG_SETTINGS};
	struct mcg_cmd_settings *s = &cmd.u.settings;
	int err;

	if (op == NULL || !api_op_mesh_is(op, in.mesh_id))
		return;
	s->has_description = in.has_description;
	s->has_allow_join = in.has_allow_join;
	s->has_voters = in.has_voters;
	memcpy(s->description, in.description, sizeof(s->description));
	s->voters = (uint32_t)in.voters;
	if (in.has_allow_join && !parse_join(in.allow_join, &s->allow_join))
		api_op_refuse(op, ERR_RANGE, "allow_join is nobody, certificate or token");
	else if (in.has_voters && !voters_fit(in.voters))
		api_op_refuse(op, ERR_RANGE, "voters is an odd number from 1 to 15");
	else if (!in.has_description && !in.has_allow_join && !in.has_voters)
		reply_settings(op);
	else if ((err = mesh_propose(a->engine->mesh, &cmd, API_OP_DEFAULT_MS, on_settings, op)) != 0)
		api_op_refuse(op, err, NULL);
}

/* --- leadership --- */

static void
on_transferred(void *ctx, const struct mesh_outcome *o)
{
	struct api_op *op = ctx;
	struct engine *e = op->api->engine;
	struct group *g = groups_find(e->groups, op->group);
	struct call *call;

	if (o->err != 0 || g == NULL)
		api_op_refuse(op, o->err != 0 ? o->err : ERR_NOENT, o->err != 0 ? o->text : NULL);
	else if ((call = api_op_end(op)) != NULL)
		api_group_reply(e, call, g);
}

void
api_mesh_transfer(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_TransferReq in = mesh_v1_TransferReq_init_zero;
	struct api_op *op = api_op_new(a, c, m, mesh_v1_TransferReq_fields, &in);
	struct group *g;
	uint64_t node;
	int err;

	if (op == NULL || !api_op_node(op, in.node_id, &node))
		return;
	g = in.group_id[0] == '\0' ? mesh_group(a->engine->mesh) : api_group_find(a->engine, in.group_id);
	if (g == NULL) {
		api_op_refuse(op, in.group_id[0] == '\0' ? mesh_absent(a->engine->mesh) : ERR_NOENT,
		    in.group_id[0] == '\0' ? NULL : "this node has no replica of that group");
		return;
	}
	memcpy(op->group, group_id(g), sizeof(op->group));
	err = mesh_transfer(a->engine->mesh, g, node, API_OP_DEFAULT_MS, on_transferred, op);
	if (err != 0)
		api_op_refuse(op, err, err == ERR_EXISTS ? "that node leads the group already" : NULL);
}
