/* cmd_mesh: `meshctl nodes` and `routes`: the mesh as the node sees it. */
#include <stdio.h>
#include <string.h>

#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Prints one list of the mesh's status. */
static int
show_list(
    const struct ctl *ctl, const char *key, const struct column *columns, size_t count, const char *none)
{
	json_t *o;
	int code = fetch(ctl, "/mesh.v1.MeshService/GetMeshStatus", NULL, api_json_mesh_status, &o);

	if (code == CODE_OK)
		out_table(ctl, columns, count, json_object_get(o, key), none);
	json_decref(o);
	return code;
}

int
cmd_nodes(struct ctl *ctl, const struct args *a)
{
	static const struct column columns[] = {{"NAME", "node_name", COLUMN_TEXT},
	    {"ID", "node_id", COLUMN_TEXT}, {"STATUS", "status", COLUMN_STATE},
	    {"HOPS", "hops", COLUMN_COUNT}, {"VERSION", "version", COLUMN_TEXT},
	    {"REGION", "region_id", COLUMN_TEXT}, {"LAST SEEN", "last_seen", COLUMN_TIME_MS},
	    {"ADDRESSES", "addresses", COLUMN_LIST}};

	(void)a;
	return show_list(ctl, "nodes", columns, COUNT(columns), "no node is known yet");
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
			json_array_append_new(
			    rows, json_pack("{s:O, s:O, s:O, s:O, s:O}", "destination",
				      json_object_get(route, "destination"), "destination_name",
				      json_object_get(route, "destination_name"), "hops",
				      json_object_get(path, "hops"), "cost", json_object_get(path, "cost"),
				      "weight", json_object_get(path, "weight")));
	return rows;
}

int
cmd_routes(struct ctl *ctl, const struct args *a)
{
	static const struct column columns[] = {{"TO", "destination_name", COLUMN_TEXT},
	    {"ID", "destination", COLUMN_TEXT}, {"COST", "cost", COLUMN_COUNT},
	    {"WEIGHT", "weight", COLUMN_COUNT}, {"PATH", "hops", COLUMN_LIST}};
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
