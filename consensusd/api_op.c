/* api_op: see api_op.h. */
#include "consensusd/api_op.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/engine.h"
#include "proto/pb.h"

bool
api_op_wait(
    const mesh_v1_BroadcastWait *w, enum mesh_wait *mode, uint32_t *timeout_ms, char *why, size_t size)
{
	static const char *const modes[] = {[MESH_WAIT_COMMITTED] = "committed",
	    [MESH_WAIT_QUORUM] = "quorum",
	    [MESH_WAIT_ALL] = "all",
	    [MESH_WAIT_NONE] = "none"};

	if (w->timeout_ms < 0 || w->timeout_ms > API_OP_MAX_MS) {
		snprintf(why, size, "wait timeout_ms: 0 to %d", API_OP_MAX_MS);
		return false;
	}
	*timeout_ms = w->timeout_ms != 0 ? (uint32_t)w->timeout_ms : API_OP_DEFAULT_MS;
	*mode = MESH_WAIT_COMMITTED;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (w->mode[0] == '\0' || strcmp(w->mode, modes[i]) == 0) {
			*mode = (enum mesh_wait)i;
			return true;
		}
	}
	snprintf(why, size, "wait mode '%s': committed, quorum, all or none", w->mode);
	return false;
}

enum code
api_op_code(int err)
{
	switch (err) {
	case ERR_DENIED:
	case ERR_AUTH:
		return CODE_PERMISSION_DENIED;
	case ERR_STATE:
		return CODE_FAILED_PRECONDITION;
	case ERR_EXISTS:
		return CODE_ALREADY_EXISTS;
	case ERR_NOENT:
		return CODE_NOT_FOUND;
	case ERR_FULL:
	case ERR_NOMEM:
		return CODE_RESOURCE_EXHAUSTED;
	case ERR_STALE:
		return CODE_ABORTED;
	case ERR_TIMEOUT:
		return CODE_DEADLINE_EXCEEDED;
	case ERR_UNAVAIL:
	case ERR_AGAIN:
	case ERR_CLOSED:
		return CODE_UNAVAILABLE;
	case ERR_LIMIT:
	case ERR_RANGE:
	case ERR_FORMAT:
		return CODE_INVALID_ARGUMENT;
	default:
		return CODE_INTERNAL;
	}
}

struct api_op *
api_op_new(struct api *a, struct client *c, const struct imsg *m, const void *fields, void *msg)
{
	struct call *call = api_unary(a, c, m);
	struct api_op *op;

	if (call == NULL)
		return NULL;
	if (pb_unpack(m->body, m->len, fields, msg) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "the request is malformed, or a field is too long");
		return NULL;
	}
	if (!a->engine->loaded) {
		call_done(call, CODE_UNAVAILABLE, "the database of this node is away");
		return NULL;
	}
	if ((op = mem_calloc(1, sizeof(*op))) == NULL) {
		call_done(call, CODE_RESOURCE_EXHAUSTED, "out of memory");
		return NULL;
	}
	op->api = a;
	op->call = call->handle;
	op->timeout_ms = API_OP_DEFAULT_MS;
	return op;
}

struct call *
api_op_end(struct api_op *op)
{
	struct call *call = call_find(&op->api->calls, op->call);

	mem_free(op);
	return call;
}

void
api_op_refuse(struct api_op *op, int err, const char *text)
{
	const struct mesh *mesh = op->api->engine->mesh;
	bool joins = mesh_group(mesh) == NULL && mesh_state(mesh) == MESH_ENTERING;
	struct call *call = api_op_end(op);

	if (call == NULL)
		return;
	if (err == ERR_STATE && text == NULL)
		text = "this node is not a member of a control group: seed the mesh, or join it";
	else if (err == ERR_UNAVAIL && text == NULL && joins)
		text = "this node has lost its replica of the control group, and joins it again";
	else if (err == ERR_UNAVAIL && text == NULL)
		text = "no leader of the control group can be reached: a majority of its voters has to be up "
		       "and "
		       "connected with this node";
	else if (err == ERR_FULL && text == NULL)
		text = "too many proposals of this node are under way";
	call_done(call, api_op_code(err), "%s", text != NULL ? text : err_text(err));
}

void
api_op_done(void *ctx, const struct mesh_outcome *o)
{
	struct call *call;

	if (o->err != 0) {
		api_op_refuse(ctx, o->err, o->text);
		return;
	}
	if ((call = api_op_end(ctx)) != NULL)
		call_reply(call, NULL, 0);
}

bool
api_op_mesh_is(struct api_op *op, const char *mesh_id)
{
	char own[ULID_TEXT_SIZE];

	ulid_format(own, &op->api->engine->mesh_id);
	if (mesh_id[0] == '\0' || strcmp(mesh_id, own) == 0)
		return true;
	api_op_refuse(op, ERR_NOENT, "this node belongs to another mesh");
	return false;
}

bool
api_op_node(struct api_op *op, const char *text, uint64_t *node)
{
	struct engine *e = op->api->engine;
	const struct node *n = nodes_resolve(&e->nodes, text);

	*node = 0;
	if (text[0] == '\0')
		return true;
	if (n != NULL)
		*node = n->id;
	else if (strcmp(text, e->node_name) == 0)
		*node = e->self;
	else if (nodeid_parse(text, node) != 0)
		*node = 0;
	if (*node != 0)
		return true;
	api_op_refuse(op, ERR_NOENT, "no node is known by that id or name");
	return false;
}
