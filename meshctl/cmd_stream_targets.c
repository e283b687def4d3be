/* cmd_stream_targets: `meshctl stream targets`. */
#include <stdio.h>
#include <string.h>

#include "common/base/id.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct option_def cmd_stream_targets_options[] = {
    {"add", 0, "NODE", "a node that gets what is published from now on (may be repeated)"},
    {"remove", 0, "NODE", "a node that gets no more and is waited for no more (may be repeated)"},
    {NULL, 0, NULL, NULL},
};

typedef char node_text[sizeof(((mesh_v1_StreamTargetsReq *)NULL)->add[0])];

static int
take_nodes(const struct args *a, const char *option, node_text *out, size_t max, pb_size_t *count)
{
	const char *text;

	for (size_t i = 0; (text = args_item(a, option, i)) != NULL; i++) {
		if (i == max || strlen(text) >= sizeof(*out) || text[0] == '\0') {
			out_error("--%s: up to %zu node names or ids", option, max);
			return CODE_USAGE;
		}
		snprintf(out[i], sizeof(*out), "%s", text);
		*count = (pb_size_t)(i + 1);
	}
	return CODE_OK;
}

static int
take(const struct args *a, mesh_v1_StreamTargetsReq *req)
{
	struct ulid id;
	int code;

	if (ulid_parse(args_word(a, 0), &id) != 0) {
		out_error(
		    "'%s' is not a stream id (26 characters; meshctl streams lists them)", args_word(a, 0));
		return CODE_USAGE;
	}
	snprintf(req->stream_id, sizeof(req->stream_id), "%s", args_word(a, 0));
	code = take_nodes(a, "add", req->add, COUNT(req->add), &req->add_count);
	if (code == CODE_OK)
		code = take_nodes(a, "remove", req->remove, COUNT(req->remove), &req->remove_count);
	if (code == CODE_OK && req->add_count + req->remove_count == 0) {
		out_error("which targets? give --add NODE or --remove NODE");
		return CODE_USAGE;
	}
	return code;
}

int
cmd_stream_targets(struct ctl *ctl, const struct args *a)
{
	static const struct column columns[] = {{"Stream", "stream_id", COLUMN_TEXT},
	    {"Tenant", "tenant_id", COLUMN_TEXT}, {"Targets", "target_nodes", COLUMN_LIST},
	    {"Status", "status", COLUMN_TEXT}, {"Next seq", "next_seq", COLUMN_COUNT},
	    {"Committed seq", "committed_seq", COLUMN_COUNT}};
	mesh_v1_StreamTargetsReq req = mesh_v1_StreamTargetsReq_init_zero;
	json_t *handle;
	int code = take(a, &req);

	if (code == CODE_OK)
		code = fetch_pb(ctl, "/mesh.v1.MeshService/ChangeStreamTargets",
		    mesh_v1_StreamTargetsReq_fields, &req, api_json_handle, &handle);
	if (code != CODE_OK)
		return code;
	out_fields(ctl, columns, COUNT(columns), handle);
	json_decref(handle);
	return CODE_OK;
}
