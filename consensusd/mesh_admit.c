/* mesh: admitting others to the control group; see mesh.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/mesh_impl.h"
#include "proto/pb.h"
#include "proto/peer.pb.h"

struct admission {
	struct mesh *mesh;
	struct ask_from from;
};

static void
on_admitted(void *ctx, const struct mesh_outcome *o)
{
	struct admission *a = ctx;
	int err = o->err == ERR_EXISTS ? 0 : o->err;
	/* What may_join() had let pass: another one was quicker. */
	const char *text =
	    err == ERR_DENIED ? "the token was used by another node, or this node was evicted" : o->text;

	ask_answer(a->mesh->engine->asks, &a->from, err, err != 0 ? text : "", NULL, 0);
	mem_free(a);
}

/* A node id is as good as its key, and anybody can make one.  One that another node is linked with has shown
 * that one its certificate. */
static int
shows_certificate(const struct mesh *m, uint64_t node, const char **why)
{
	const struct node *n = nodes_find(&m->engine->nodes, node);

	if (n != NULL && n->status == NODE_STATUS_ALIVE)
		return 0;
	*why = "no link of this node is known there (yet): its certificate was shown to nobody";
	return ERR_AGAIN;
}

static int
may_join(const struct mesh *m, const mesh_peer_Join *in, uint64_t node, struct ulid *token, const char **why)
{
	const struct mcg_member *x = mcg_member_get(m->mcg, node);

	if (x != NULL && x->status == MCG_EVICTED) {
		*why = "this node was evicted from the mesh";
		return ERR_DENIED;
	}
	if (x != NULL && (x->status == MCG_MEMBER || x->status == MCG_STOPPED))
		return 0;
	if (in->again) {
		*why = "this node is no member of the control group (any more): it has to be joined";
		return ERR_DENIED;
	}
	switch (mcg_mesh(m->mcg)->allow_join) {
	case MCG_JOIN_CERTIFICATE:
		return shows_certificate(m, node, why);
	case MCG_JOIN_TOKEN:
		return mesh_token_check(m, in->token, node, token, why);
	default:
		*why = "the mesh lets nobody join now (allow_join)";
		return ERR_DENIED;
	}
}

static int
admit(struct mesh *m, const struct ask_from *from, const mesh_peer_Join *in, const struct ulid *token)
{
	struct mcg_cmd cmd = {.type = MCG_ADMIT};
	struct mcg_cmd_member *c = &cmd.u.admit;
	struct admission *a = mem_calloc(1, sizeof(*a));
	int err;

	if (a == NULL)
		return ERR_NOMEM;
	*a = (struct admission){m, *from};
	*c = (struct mcg_cmd_member){.node = from->node, .replica = in->replica, .token_id = *token};
	memcpy(c->public_key, in->public_key, sizeof(c->public_key));
	memcpy(c->name, in->name, sizeof(c->name));
	if ((err = mesh_propose(m, &cmd, MESH_JOIN_MS, on_admitted, a)) != 0)
		mem_free(a);
	return err;
}

static void
on_join(void *ctx, const struct ask_from *from, const uint8_t *body, size_t len)
{
	struct mesh *m = ctx;
	mesh_peer_Join in = mesh_peer_Join_init_zero;
	struct ulid token = {{0}};
	const char *why = "malformed";
	int err = pb_unpack(body, len, mesh_peer_Join_fields, &in);

	if (err == 0 &&
	    (in.replica == 0 || crypto_node_id(in.public_key) != from->node || !node_name_valid(in.name)))
		err = ERR_FORMAT;
	if (err == 0 && (mesh_state(m) == MESH_OUTSIDE || mesh_state(m) == MESH_ENTERING ||
			    memcmp(in.group_id, group_id(m->group), sizeof(in.group_id)) != 0)) {
		err = ERR_STATE;
		why = "not a member of that control group";
	}
	if (err == 0)
		err = may_join(m, &in, from->node, &token, &why);
	if (err == 0 && (err = admit(m, from, &in, &token)) != 0)
		why = err_text(err);
	if (err != 0)
		ask_answer(m->engine->asks, from, err, why, NULL, 0);
}

void
mesh_admit_init(struct mesh *m)
{
	asks_serve(m->engine->asks, mesh_peer_Method_ASK_JOIN, on_join, m);
}
