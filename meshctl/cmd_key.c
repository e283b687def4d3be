/* cmd_key: `meshctl key rotate` and `key list`: the keys that nodes of a mesh seal with. */
#include <stdio.h>
#include <string.h>

#include "common/base/id.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/broadcast.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

#define MESH "/mesh.v1.MeshService/"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct option_def cmd_key_rotate_options[] = {
    {"tenant", 't', "TENANT", "the key of this tenant (default: the mesh's)"},
    {"node", 'n', "NODE", "may have the tenant's key; repeated (default: those that have it now)"},
    {"valid", 0, "DURATION", "how long acks made with the key before count (default 1h)"},
    {NULL, 0, NULL, NULL},
};

static const struct column columns[] = {{"TENANT", "tenant_text", COLUMN_TEXT},
    {"VERSION", "version", COLUMN_COUNT}, {"KEY", "key_id", COLUMN_TEXT}, {"HELD", "held", COLUMN_YESNO},
    {"CREATED", "created", COLUMN_TIME_MS}, {"BY", "node_id", COLUMN_TEXT},
    {"ENDS", "valid_until", COLUMN_LEFT_MS}, {"NODES", "node_count", COLUMN_COUNT}};

/* Columns that JSON has in another form. */
static void
add_derived(json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		const char *tenant = json_string_value(json_object_get(row, "tenant_id"));

		json_object_set_new(
		    row, "tenant_text", json_string(tenant[0] != '\0' ? tenant : "(the mesh)"));
		json_object_set_new(row, "node_count",
		    json_integer((json_int_t)json_array_size(json_object_get(row, "node_ids"))));
	}
}

int
cmd_key_list(struct ctl *ctl, const struct args *a)
{
	mesh_v1_Empty req = mesh_v1_Empty_init_zero;
	json_t *rows;
	int code = fetch_pb(ctl, MESH "ListKeys", mesh_v1_Empty_fields, &req, api_json_keys, &rows);

	(void)a;
	if (code == CODE_OK && !ctl->json)
		add_derived(rows);
	if (code == CODE_OK)
		out_table(ctl, columns, COUNT(columns), rows, "there is no key");
	json_decref(rows);
	return code;
}

static int
rotate(struct ctl *ctl, mesh_v1_RotateKeyReq *req)
{
	json_t *o, *rows = json_array();
	int code = broadcast_call(ctl, MESH "RotateKey", mesh_v1_RotateKeyReq_fields, req, api_json_key, &o);

	if (code == CODE_OK && ctl->json) {
		out_json_line(o);
	} else if (code == CODE_OK) {
		json_array_append(rows, o);
		add_derived(rows);
		out_table(ctl, columns, COUNT(columns), rows, "");
	}
	json_decref(rows);
	json_decref(o);
	return code;
}

int
cmd_key_rotate(struct ctl *ctl, const struct args *a)
{
	mesh_v1_RotateKeyReq req = mesh_v1_RotateKeyReq_init_zero;
	struct pb_slice nodes[ARGS_OPTIONS_MAX];
	struct pb_list list = {.items = nodes};
	const char *node;

	if (args_copy(a, "tenant", req.tenant_id, sizeof(req.tenant_id)) != 0 ||
	    args_duration_ms(a, "valid", 0, &req.valid_ms) != 0)
		return CODE_USAGE;
	if (req.tenant_id[0] != '\0' && !tenant_valid(req.tenant_id)) {
		out_error("'%s' is not a tenant id (1-64 of a-z 0-9 . _ -)", req.tenant_id);
		return CODE_USAGE;
	}
	for (; (node = args_item(a, "node", list.count)) != NULL; list.count++)
		nodes[list.count] = (struct pb_slice){(const uint8_t *)node, strlen(node)};
	if (list.count != 0 && req.tenant_id[0] == '\0') {
		out_error("--node: only with --tenant; the mesh's key is for all members");
		return CODE_USAGE;
	}
	if (req.valid_ms != 0 && req.tenant_id[0] == '\0') {
		out_error("--valid: only with --tenant; nothing is acknowledged with the mesh's key");
		return CODE_USAGE;
	}
	pb_list_encode(&req.node_ids, &list);
	return rotate(ctl, &req);
}
