/* cmd_mesh: `meshctl nodes` and `routes`: the mesh as the node sees it. */
#include <stdio.h>
#include <string.h>

#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct option_def cmd_nodes_options[] = {
    {"service", 0, "NAME", "only nodes where this service can be had"},
    {"capability", 0, "NAME", "only nodes that are able to do this"},
    {"region", 0, "NAME", "only nodes of this region"},
    {"status", 0, "STATUS", "only nodes in this state: alive, unreachable, suspect, dead, left or any"},
    {"verbose", 'v', NULL, "show also since when, round trips and versions of what is known"},
    {NULL, 0, NULL, NULL},
};

static bool
asked(const struct args *a)
{
	for (const struct option_def *o = cmd_nodes_options; o->name != NULL; o++)
		if (o->arg != NULL && args_str(a, o->name, NULL) != NULL)
			return true;
	return false;
}

/* The nodes that fit what is asked for. */
static int
discover(const struct ctl *ctl, const struct args *a, json_t **rows)
{
	mesh_v1_DiscoverNodesReq req = mesh_v1_DiscoverNodesReq_init_zero;

	*rows = NULL;
	if (args_copy(a, "service", req.service, sizeof(req.service)) != 0 ||
	    args_copy(a, "capability", req.capability, sizeof(req.capability)) != 0 ||
	    args_copy(a, "region", req.region_id, sizeof(req.region_id)) != 0 ||
	    args_copy(a, "status", req.status, sizeof(req.status)) != 0)
		return CODE_USAGE;
	if (req.status[0] == '\0')
		snprintf(req.status, sizeof(req.status), "any");
	return fetch_pb(ctl, "/mesh.v1.MeshDiscoveryService/DiscoverNodes", mesh_v1_DiscoverNodesReq_fields,
	    &req, api_json_discovered, rows);
}

/* What a node says that can't tell how others are. */
static void
print_note(const struct ctl *ctl, const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		const char *detail = json_string_value(json_object_get(row, "detail"));

		if (detail != NULL && !ctl->json)
			printf("\n%s: %s\n", json_string_value(json_object_get(row, "node_name")), detail);
	}
}

/* No path is not a path of no hops, which only the answering node has: it has no time since when it is alive.
 */
static void
hide_hops(json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach (rows, i, row)
		if (json_integer_value(json_object_get(row, "hops")) == 0 &&
		    (json_object_get(row, "status_since") != NULL ||
			strcmp(json_string_value(json_object_get(row, "status")), "alive") != 0))
			json_object_del(row, "hops");
}

static void
print_nodes(const struct ctl *ctl, bool verbose, json_t *rows, const char *none)
{
	static const struct column brief[] = {{"NAME", "node_name", COLUMN_TEXT},
	    {"ID", "node_id", COLUMN_TEXT}, {"STATUS", "status", COLUMN_STATE},
	    {"HOPS", "hops", COLUMN_COUNT}, {"LOAD", "load_permille", COLUMN_PERMILLE},
	    {"VERSION", "version", COLUMN_TEXT}, {"REGION", "region_id", COLUMN_TEXT},
	    {"LAST SEEN", "last_seen", COLUMN_TIME_MS}, {"ADDRESSES", "addresses", COLUMN_LIST},
	    {"SERVICES", "services", COLUMN_LIST}, {"CAPABILITIES", "capabilities", COLUMN_LIST}};
	static const struct column wide[] = {{"NAME", "node_name", COLUMN_TEXT},
	    {"ID", "node_id", COLUMN_TEXT}, {"STATUS", "status", COLUMN_STATE},
	    {"FOR", "status_since", COLUMN_AGE_MS}, {"HOPS", "hops", COLUMN_COUNT},
	    {"RTT", "probe_rtt_us", COLUMN_US}, {"LOAD", "load_permille", COLUMN_PERMILLE},
	    {"VERSION", "version", COLUMN_TEXT}, {"REGION", "region_id", COLUMN_TEXT},
	    {"LAST SEEN", "last_seen", COLUMN_TIME_MS}, {"STARTS", "incarnation", COLUMN_COUNT},
	    {"LSA", "lsa_seq", COLUMN_COUNT}, {"ADDRESSES", "addresses", COLUMN_LIST},
	    {"SERVICES", "services", COLUMN_LIST}, {"CAPABILITIES", "capabilities", COLUMN_LIST}};

	if (!ctl->json)
		hide_hops(rows);
	if (verbose)
		out_table(ctl, wide, COUNT(wide), rows, none);
	else
		out_table(ctl, brief, COUNT(brief), rows, none);
	print_note(ctl, rows);
}

int
cmd_nodes(struct ctl *ctl, const struct args *a)
{
	bool chosen = asked(a), verbose = args_flag(a, "verbose");
	json_t *o = NULL;
	int code = chosen ? discover(ctl, a, &o)
			  : fetch(ctl, "/mesh.v1.MeshService/GetMeshStatus", NULL, api_json_mesh_status, &o);

	if (code == CODE_OK && chosen)
		print_nodes(ctl, verbose, o, "no node fits");
	else if (code == CODE_OK)
		print_nodes(ctl, verbose, json_object_get(o, "nodes"), "no node is known yet");
	json_decref(o);
	return code;
}

/* One row per path: the table shows them flat, JSON keeps them under their route. */
static json_t *
flatten(const json_t *routes)
{
	json_t *rows = json_array();
	const json_t *route, *path;
	size_t i, k;

	json_array_foreach (routes, i, route)
		json_array_foreach (json_object_get(route, "paths"), k, path)
			json_array_append_new(rows,
			    json_pack("{s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O*}", "destination",
				json_object_get(route, "destination"), "destination_name",
				json_object_get(route, "destination_name"), "classes",
				json_object_get(route, "classes"), "hops", json_object_get(path, "hops"),
				"cost", json_object_get(path, "cost"), "weight",
				json_object_get(path, "weight"), "state", json_object_get(path, "state"),
				"reason", json_object_get(path, "reason")));
	return rows;
}

int
cmd_routes(struct ctl *ctl, const struct args *a)
{
	static const struct column columns[] = {{"TO", "destination_name", COLUMN_TEXT},
	    {"ID", "destination", COLUMN_TEXT}, {"CLASSES", "classes", COLUMN_LIST},
	    {"COST", "cost", COLUMN_COUNT}, {"WEIGHT", "weight", COLUMN_COUNT},
	    {"STATE", "state", COLUMN_STATE}, {"REASON", "reason", COLUMN_TEXT},
	    {"PATH", "hops", COLUMN_LIST}};
	json_t *routes, *rows;
	int code = fetch(ctl, "/mesh.v1.MeshStatusService/ListRoutes", NULL, api_json_routes, &routes);

	(void)a;
	if (code == CODE_OK) {
		rows = ctl->json ? json_incref(routes) : flatten(routes);
		out_table(ctl, columns, COUNT(columns), rows, "no other node is reachable");
		json_decref(rows);
	}
	json_decref(routes);
	return code;
}
