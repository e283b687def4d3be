/* cmd_status: `meshctl status` and `metrics`. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/client.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* How many objects of a list have this status. */
static size_t
count_status(const json_t *rows, const char *status)
{
	size_t i, n = 0;
	const json_t *row;

	json_array_foreach (rows, i, row) {
		const char *s = json_string_value(json_object_get(row, "status"));

		n += s != NULL && strcmp(s, status) == 0;
	}
	return n;
}

/* Why the node can't tell how others are; NULL: it can. */
static const char *
sight(const json_t *nodes)
{
	const json_t *row, *detail = NULL;
	size_t i;

	json_array_foreach (nodes, i, row)
		if (detail == NULL)
			detail = json_object_get(row, "detail");
	return json_string_value(detail);
}

static void
print_status(const struct ctl *ctl, json_t *o)
{
	static const struct column head[] = {{"Node", "node_name", COLUMN_TEXT},
	    {"Node id", "node_id", COLUMN_TEXT}, {"Mesh", "mesh_name", COLUMN_TEXT},
	    {"Mesh id", "mesh_id", COLUMN_TEXT}, {"Version", "version", COLUMN_TEXT},
	    {"Serving", "serving", COLUMN_STATE}};
	static const struct column daemons[] = {{"DAEMON", "name", COLUMN_TEXT},
	    {"STATE", "state", COLUMN_STATE}, {"PID", "pid", COLUMN_COUNT},
	    {"UP FOR", "uptime_ms", COLUMN_MS}, {"DETAIL", "detail", COLUMN_TEXT}};
	const json_t *nodes = json_object_get(o, "nodes"), *links = json_object_get(o, "links"),
		     *groups = json_object_get(o, "raft_groups");

	if (ctl->json) {
		out_fields(ctl, NULL, 0, o);
		return;
	}
	out_fields(ctl, head, COUNT(head), o);
	printf("Nodes    %zu alive of %zu%s%s\n", count_status(nodes, "alive"), json_array_size(nodes),
	    sight(nodes) != NULL ? "; " : "", sight(nodes) != NULL ? sight(nodes) : "");
	printf("Links    %zu up of %zu\n", count_status(links, "up"), json_array_size(links));
	if (json_array_size(groups) != 0)
		printf("Groups   %zu ok of %zu\n", count_status(groups, "ok"), json_array_size(groups));
	putchar('\n');
	out_table(ctl, daemons, COUNT(daemons), json_object_get(o, "daemons"), "no daemon answers");
}

/* The node's own part and the mesh's in one object.  The mesh's is left out when routerd is away. */
static int
fetch_status(struct client *c, json_t **out)
{
	struct buf reply;
	json_t *mesh = NULL;
	int code;

	*out = NULL;
	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	code = client_unary(c, "/mesh.v1.MeshStatusService/GetNodeStatus", NULL, &reply);
	if (code == CODE_OK)
		*out = api_json_node_status(&reply);
	buf_reset(&reply);
	if (*out != NULL && client_unary(c, "/mesh.v1.MeshService/GetMeshStatus", NULL, &reply) == CODE_OK)
		mesh = api_json_mesh_status(&reply);
	if (mesh != NULL)
		json_object_update_missing(*out, mesh);
	json_decref(mesh);
	buf_fini(&reply);
	return code == CODE_OK && *out == NULL ? CODE_FAILED : code;
}

int
cmd_status(struct ctl *ctl, const struct args *a)
{
	struct client *c;
	json_t *o = NULL;
	int code = client_open(ctl, 0, &c);

	(void)a;
	if (code == CODE_OK)
		code = fetch_status(c, &o);
	if (code == CODE_OK) {
		print_status(ctl, o);
		code = json_is_true(json_object_get(o, "serving")) ? CODE_OK : CODE_FAILED;
	}
	json_decref(o);
	client_free(c);
	return code;
}

static int
print_metrics(const struct ctl *ctl, const struct buf *reply)
{
	mesh_v1_MetricsText m = mesh_v1_MetricsText_init_zero;
	struct pb_slice text = {0};
	json_t *o;

	pb_slice_decode(&m.text, &text);
	if (pb_unpack(buf_head(reply), buf_left(reply), mesh_v1_MetricsText_fields, &m) != 0) {
		out_error("the node's answer cannot be read");
		return CODE_FAILED;
	}
	if (!ctl->json) {
		fwrite(text.data, 1, text.len, stdout);
		return CODE_OK;
	}
	o = json_pack("{s:s%}", "metrics", text.data, text.len);
	out_json_line(o);
	json_decref(o);
	return CODE_OK;
}

int
cmd_metrics(struct ctl *ctl, const struct args *a)
{
	struct client *c;
	struct buf reply;
	int code = client_open(ctl, 0, &c);

	(void)a;
	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	if (code == CODE_OK)
		code = client_unary(c, "/mesh.v1.MeshStatusService/GetMetrics", NULL, &reply);
	if (code == CODE_OK)
		code = print_metrics(ctl, &reply);
	buf_fini(&reply);
	client_free(c);
	return code;
}
