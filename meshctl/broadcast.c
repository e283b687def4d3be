/* broadcast: see broadcast.h. */
#include "meshctl/broadcast.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/client.h"
#include "meshctl/command.h"
#include "meshctl/out.h"
#include "proto/pb.h"

enum {
	GRACE_MS = 5000, /* that meshctl waits longer than the node: for its answer to arrive */
	TIMEOUT_MAX_MS = 24 * 3600 * 1000,
};

int
broadcast_wait(struct ctl *ctl, const struct args *a, mesh_v1_BroadcastWait *out)
{
	*out = (mesh_v1_BroadcastWait)mesh_v1_BroadcastWait_init_zero;
	if (args_choice(a, "wait", "committed quorum all none", out->mode, sizeof(out->mode)) != 0)
		return CODE_USAGE;
	if (ctl->timeout_ms < 1 || ctl->timeout_ms > TIMEOUT_MAX_MS) {
		out_error("--timeout: from 1ms to 1d");
		return CODE_USAGE;
	}
	out->timeout_ms = ctl->timeout_ms;
	ctl->timeout_ms += GRACE_MS;
	return CODE_OK;
}

static int
call(struct client *c, const char *method, const pb_msgdesc_t *fields, const void *request, struct buf *reply)
{
	struct buf b;
	int code = CODE_FAILED;

	buf_init(&b, CLIENT_MESSAGE_MAX_BYTES);
	if (pb_pack(&b, fields, request) == 0)
		code = client_unary(c, method, &b, reply);
	else
		out_error("the request is too long, or there is no memory for it");
	buf_fini(&b);
	/* What was on its way when the node went away may be committed, too. */
	return code == CODE_UNREACHABLE ? CODE_UNCOMMITTED : code;
}

int
broadcast_call(const struct ctl *ctl, const char *method, const pb_msgdesc_t *fields, const void *request,
    json_t *(*make)(const struct buf *), json_t **out)
{
	struct client *c;
	struct buf reply;
	int code = client_open(ctl, 0, &c);

	*out = NULL;
	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	if (code == CODE_OK)
		code = call(c, method, fields, request, &reply);
	if (code == CODE_OK) {
		*out = make(&reply);
		code = *out != NULL ? CODE_OK : CODE_FAILED;
	}
	buf_fini(&reply);
	client_free(c);
	return code;
}

/* --- updates --- */

/* The pending nodes by name, where the node knows the names. */
static void
print_pending(struct client *c, const json_t *ids)
{
	struct buf reply;
	json_t *mesh = NULL;
	const json_t *id;
	size_t i;

	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	client_quiet(c, true);
	if (client_unary(c, "/mesh.v1.MeshService/GetMeshStatus", NULL, &reply) == CODE_OK)
		mesh = api_json_mesh_status(&reply);
	json_array_foreach (ids, i, id) {
		json_t *name =
		    json_string(api_json_node_name(json_object_get(mesh, "nodes"), json_string_value(id)));
		char text[128];

		printf(
		    "%s%s", i == 0 ? "; pending: " : ", ", out_format(COLUMN_TEXT, name, text, sizeof(text)));
		json_decref(name);
	}
	json_decref(mesh);
	buf_fini(&reply);
}

/* "committed at 17, applied on 3 of 4 nodes; pending: d" */
static void
print_outcome(struct client *c, const struct broadcast_update *u, const json_t *r)
{
	long long index = json_integer_value(json_object_get(r, "index"));
	const json_t *pending = json_object_get(r, "pending_nodes");
	size_t have = json_array_size(json_object_get(r, "applied_nodes")), lack = json_array_size(pending);

	if (json_is_true(json_object_get(r, "repeated_update")))
		printf("sent before: ");
	if (u->update_id == NULL)
		printf("version %lld", index);
	else if (json_is_true(json_object_get(r, "committed")))
		printf("committed at %lld", index);
	else
		printf("accepted as %s", json_string_value(json_object_get(r, "update_id")));
	if (have + lack > 0)
		printf(", applied on %zu of %zu nodes", have, have + lack);
	if (lack > 0)
		print_pending(c, pending);
	putchar('\n');
}

static int
result_code(const struct broadcast_update *u, const json_t *r)
{
	bool there = u->update_id == NULL ? json_integer_value(json_object_get(r, "index")) > 0
					  : json_is_true(json_object_get(r, "committed"));

	if (json_is_true(json_object_get(r, "success")))
		return CODE_OK;
	return there ? CODE_PENDING : CODE_UNCOMMITTED;
}

static void
print_again(const struct broadcast_update *u)
{
	if (u->update_id != NULL)
		out_error("with --id %s it can be sent again, and is no second update", u->update_id);
}

static int
report(struct client *c, const struct ctl *ctl, const struct broadcast_update *u, const json_t *r)
{
	int code = result_code(u, r);
	char error[300];

	if (ctl->json)
		out_json_line(r);
	else if (code != CODE_UNCOMMITTED)
		print_outcome(c, u, r);
	if (code != CODE_OK)
		out_error("%s: %s",
		    code == CODE_PENDING ? "not applied by all that were waited for" : "not committed",
		    out_format(COLUMN_TEXT, json_object_get(r, "error"), error, sizeof(error)));
	if (code == CODE_UNCOMMITTED)
		print_again(u);
	return code;
}

int
broadcast_send(const struct ctl *ctl, const struct broadcast_update *u)
{
	struct client *c;
	struct buf reply;
	json_t *r = NULL;
	int code = client_open(ctl, 0, &c);

	if (code != CODE_OK)
		return code;
	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	code = call(c, u->method, u->fields, u->request, &reply);
	if (code == CODE_OK && (r = api_json_broadcast(&reply)) == NULL)
		code = CODE_FAILED;
	if (r != NULL)
		code = report(c, ctl, u, r);
	else if (code == CODE_UNCOMMITTED || code == CODE_TIMEOUT)
		print_again(u);
	json_decref(r);
	buf_fini(&reply);
	client_free(c);
	return code;
}
