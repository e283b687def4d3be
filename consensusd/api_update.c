/* api: updates that go to all nodes. */
#include <string.h>

#include "common/base/err.h"
#include "consensusd/api_op.h"
#include "consensusd/bulletin.h"
#include "consensusd/core/note.h"
#include "consensusd/engine.h"
#include "consensusd/limits.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

/* How long the call is to wait; false: it was refused. */
static bool
take_wait(struct call *call, const mesh_v1_BroadcastWait *wait, struct bulletin_post *post)
{
	static const enum bulletin_wait_mode modes[] = {
	    [MESH_WAIT_NONE] = BULLETIN_WAIT_NONE,
	    [MESH_WAIT_COMMITTED] = BULLETIN_WAIT_COMMITTED,
	    [MESH_WAIT_QUORUM] = BULLETIN_WAIT_QUORUM,
	    [MESH_WAIT_ALL] = BULLETIN_WAIT_ALL,
	};
	enum mesh_wait mode;
	uint32_t timeout_ms;
	char why[API_OP_WHY_SIZE];

	if (!api_op_wait(wait, &mode, &timeout_ms, why, sizeof(why))) {
		call_done(call, CODE_INVALID_ARGUMENT, "%s", why);
		return false;
	}
	post->mode = modes[mode];
	post->timeout_ms = timeout_ms;
	return true;
}

static bool
is_self(const struct engine *e, const char *text)
{
	uint64_t id;

	return text[0] == '\0' || strcmp(text, e->node_name) == 0 ||
	       (nodeid_parse(text, &id) == 0 && id == e->self);
}

static bool
check_update(struct call *call, const struct engine *e, const mesh_v1_NodeUpdate *in, size_t len)
{
	if (!is_self(e, in->node_id)) {
		call_done(
		    call, CODE_INVALID_ARGUMENT, "node_id '%s': a node speaks for itself only", in->node_id);
	} else if (!note_type_valid(in->type)) {
		call_done(call, CODE_INVALID_ARGUMENT, "type: 1 to %d printable characters without blanks",
		    NOTE_TYPE_MAX);
	} else if (in->version < 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "versions begin at 1; 0: the next one");
	} else if (len > NOTE_PAYLOAD_MAX_BYTES) {
		call_done(call, CODE_INVALID_ARGUMENT, "payload: at most %d bytes", NOTE_PAYLOAD_MAX_BYTES);
	} else if (in->removed && len > 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "what is taken back has no payload");
	} else if (!e->loaded) {
		call_done(call, CODE_UNAVAILABLE, "the database of this node is away");
	} else {
		return true;
	}
	return false;
}

static void
refuse(struct call *call, const struct engine *e, const struct bulletin_post *post, int err)
{
	const char *why = err_text(err);

	if (err == ERR_STALE)
		call_done(call, CODE_FAILED_PRECONDITION,
		    "this node's update '%s' has version %lld or a later one already", post->type,
		    (long long)post->version);
	else if (err == ERR_NOENT)
		call_done(call, CODE_NOT_FOUND, "this node has no update '%s'", post->type);
	else if (err == ERR_FULL || err == ERR_NOMEM)
		call_done(call, CODE_RESOURCE_EXHAUSTED,
		    "this node has as many updates as it may, or too many calls wait: %s", why);
	else
		call_done(call, CODE_UNAVAILABLE, "the update can't be made now: %s",
		    engine_held(e, FRAME_CLASS_SYSTEM, &why) ? why : err_text(err));
}

void
api_update_node(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_NodeUpdate in = mesh_v1_NodeUpdate_init_zero;
	struct call *call = api_unary(a, c, m);
	struct pb_slice payload = {0};
	struct bulletin_post post;
	int err;

	if (call == NULL)
		return;
	pb_slice_decode(&in.payload, &payload);
	if (pb_unpack(m->body, m->len, mesh_v1_NodeUpdate_fields, &in) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "malformed NodeUpdate, or a text of it is too long");
		return;
	}
	post = (struct bulletin_post){
	    .type = in.type,
	    .version = (uint64_t)in.version,
	    .removed = in.removed,
	    .payload = payload.data,
	    .len = payload.len,
	};
	if (!check_update(call, a->engine, &in, payload.len) || !take_wait(call, &in.wait, &post))
		return;
	err = bulletin_post(a->engine->bulletin, call, &post);
	if (err != 0)
		refuse(call, a->engine, &post, err);
}
