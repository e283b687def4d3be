/* cmd_topology: `meshctl topology`: the mesh as a whole, as a table or as a picture. */
#include <stdbool.h>
#include <string.h>

#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "meshctl/picture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct option_def cmd_topology_options[] = {
    {"format", 'f', "FORMAT", "table, dot (for Graphviz) or svg (default table)"},
    {NULL, 0, NULL, NULL},
};

static void
show_table(const struct ctl *ctl, const json_t *mesh)
{
	static const struct column columns[] = {{"NODE", "a_name", COLUMN_TEXT},
	    {"LOAD", "a_load_permille", COLUMN_PERMILLE}, {"NODE", "b_name", COLUMN_TEXT},
	    {"LOAD", "b_load_permille", COLUMN_PERMILLE}, {"STATUS", "status", COLUMN_STATE},
	    {"RTT", "rtt_us", COLUMN_US}, {"LOSS", "loss_ppm", COLUMN_PPM},
	    {"BANDWIDTH", "bandwidth_kbps", COLUMN_KBPS}, {"USED", "utilization_permille", COLUMN_PERMILLE},
	    {"COST", "cost", COLUMN_COUNT}, {"COST BACK", "cost_back", COLUMN_COUNT}};
	json_t *links = picture_links(mesh);

	out_table(ctl, columns, COUNT(columns), links, "no link is up");
	json_decref(links);
}

static bool
is_one_of(const char *text, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(text, *list) == 0)
			return true;
	return false;
}

int
cmd_topology(struct ctl *ctl, const struct args *a)
{
	static const char *const formats[] = {"table", "dot", "svg", NULL};
	const char *format = args_str(a, "format", "table");
	json_t *mesh;
	int code;

	if (!is_one_of(format, formats)) {
		out_error("there is no format '%s': table, dot or svg", format);
		return CODE_USAGE;
	}
	code = fetch(ctl, "/mesh.v1.MeshService/GetMeshStatus", NULL, api_json_mesh_status, &mesh);
	if (code != CODE_OK)
		return code;
	if (strcmp(format, "dot") == 0)
		picture_dot(mesh);
	else if (strcmp(format, "svg") == 0)
		code = picture_svg(mesh) == 0 ? CODE_OK : CODE_FAILED;
	else
		show_table(ctl, mesh);
	json_decref(mesh);
	return code;
}
