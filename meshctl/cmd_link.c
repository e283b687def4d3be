/* cmd_link: `meshctl link add`, `link drop`, `link full`, `leave` and `event`: what is asked of the mesh. */
#include <stdio.h>
#include <string.h>

#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"

enum { COST_MAX = 65535 };

const struct option_def cmd_link_add_options[] = {
    {"cost", 0, "N", "added to the cost of paths over the link, as if it took N ms longer (default 0)"},
    {NULL, 0, NULL, NULL},
};

/* Sends the wish and says what becomes of it. */
static int
wish(const struct ctl *ctl, const char *method, const pb_msgdesc_t *fields, const void *request,
    const char *said)
{
	json_t *o;
	int code = fetch_pb(ctl, method, fields, request, api_json_topology, &o);

	if (code == CODE_OK && ctl->json)
		out_fields(ctl, NULL, 0, o);
	else if (code == CODE_OK)
		printf("%s\n", said);
	json_decref(o);
	return code;
}

int
cmd_link_add(struct ctl *ctl, const struct args *a)
{
	enum {
		MAX = sizeof(((mesh_v1_AddLinkReq *)0)->addresses) /
		      sizeof(((mesh_v1_AddLinkReq *)0)->addresses[0])
	};
	mesh_v1_AddLinkReq req = mesh_v1_AddLinkReq_init_zero;
	char said[128];
	int64_t cost;

	if (args_int(a, "cost", 0, 0, COST_MAX, &cost) != 0)
		return CODE_USAGE;
	req.cost = (int32_t)cost;
	if (args_copy_word(a, 0, "node", req.target_node_id, sizeof(req.target_node_id)) != 0)
		return CODE_USAGE;
	for (size_t i = 1; i < a->word_count; i++) {
		if (req.addresses_count == MAX) {
			out_error("at most %d addresses", MAX);
			return CODE_USAGE;
		}
		if (args_copy_word(
			a, i, "address", req.addresses[req.addresses_count++], sizeof(req.addresses[0])) != 0)
			return CODE_USAGE;
	}
	snprintf(said, sizeof(said), "a link with %s is wanted; meshctl links shows when it is up",
	    req.target_node_id);
	return wish(ctl, "/mesh.v1.MeshService/AddLink", mesh_v1_AddLinkReq_fields, &req, said);
}

int
cmd_link_drop(struct ctl *ctl, const struct args *a)
{
	mesh_v1_DropLinkReq req = mesh_v1_DropLinkReq_init_zero;
	char said[128];

	if (args_copy_word(a, 0, "node", req.target_node_id, sizeof(req.target_node_id)) != 0)
		return CODE_USAGE;
	snprintf(said, sizeof(said), "no link with %s until meshctl link add, or a restart of transportd",
	    req.target_node_id);
	return wish(ctl, "/mesh.v1.MeshService/DropLink", mesh_v1_DropLinkReq_fields, &req, said);
}

int
cmd_link_full(struct ctl *ctl, const struct args *a)
{
	mesh_v1_EstablishFullLinksReq req = mesh_v1_EstablishFullLinksReq_init_zero;

	(void)a;
	return wish(ctl, "/mesh.v1.MeshService/EstablishFullLinks", mesh_v1_EstablishFullLinksReq_fields,
	    &req, "all nodes try to link with all others; meshctl links shows what comes of it");
}

int
cmd_leave(struct ctl *ctl, const struct args *a)
{
	mesh_v1_LeaveMeshReq req = mesh_v1_LeaveMeshReq_init_zero;

	(void)a;
	return wish(ctl, "/mesh.v1.MeshService/LeaveMesh", mesh_v1_LeaveMeshReq_fields, &req,
	    "this node says goodbye: the others send nothing over it or to it any more");
}

int
cmd_event(struct ctl *ctl, const struct args *a)
{
	mesh_v1_UserEventReq req = mesh_v1_UserEventReq_init_zero;
	const char *payload = args_word(a, 1);
	size_t len = payload != NULL ? strlen(payload) : 0;
	json_t *o;
	int code;

	if (args_copy_word(a, 0, "event", req.name, sizeof(req.name)) != 0)
		return CODE_USAGE;
	if (len > sizeof(req.payload.bytes)) {
		out_error("the text of an event has at most %zu bytes", sizeof(req.payload.bytes));
		return CODE_USAGE;
	}
	if (len != 0)
		memcpy(req.payload.bytes, payload, len);
	req.payload.size = (pb_size_t)len;
	code = fetch_pb(ctl, "/mesh.v1.MeshService/SendUserEvent", mesh_v1_UserEventReq_fields, &req,
	    api_json_nothing, &o);
	if (code == CODE_OK && ctl->json)
		out_json_line(o);
	json_decref(o);
	return code;
}
