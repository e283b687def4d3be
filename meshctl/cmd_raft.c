/* cmd_raft: `meshctl raft` and `raft transfer`: the Raft groups that the node is a member of. */
#include <stdio.h>
#include <string.h>

#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/broadcast.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct option_def cmd_raft_options[] = {
    {"verbose", 'v', NULL, "show the members of each group"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_raft_transfer_options[] = {
    {"group", 'g', "GROUP", "of this group (default: the control group)"},
    {NULL, 0, NULL, NULL},
};

static long long
number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static bool
is_text(const json_t *o, const char *key, const char *text)
{
	const char *value = json_string_value(json_object_get(o, key));

	return value != NULL && strcmp(value, text) == 0;
}

/* What this node has not applied yet, and how many members there are: columns that JSON has in another form.
 */
static void
add_derived(json_t *groups)
{
	json_t *g;
	size_t i;

	json_array_foreach (groups, i, g) {
		json_object_set_new(
		    g, "lag", json_integer(number(g, "commit_index") - number(g, "applied_index")));
		json_object_set_new(g, "member_count",
		    json_integer((json_int_t)json_array_size(json_object_get(g, "members"))));
	}
}

static void
print_groups(const struct ctl *ctl, const json_t *groups)
{
	static const struct column columns[] = {{"GROUP", "group_id", COLUMN_TEXT},
	    {"TYPE", "group_type", COLUMN_TEXT}, {"STATUS", "status", COLUMN_STATE},
	    {"ROLE", "role", COLUMN_TEXT}, {"LEADER", "leader_name", COLUMN_TEXT},
	    {"TERM", "term", COLUMN_COUNT}, {"COMMIT", "commit_index", COLUMN_COUNT},
	    {"APPLIED", "applied_index", COLUMN_COUNT}, {"LAST", "last_index", COLUMN_COUNT},
	    {"LAG", "lag", COLUMN_COUNT}, {"MEMBERS", "member_count", COLUMN_COUNT}};

	out_table(ctl, columns, COUNT(columns), groups, "this node is a member of no group");
}

/* Only a leader knows what the others have; of a node that is no member any more there is nothing to know. */
static void
hide_unknown(const json_t *group, json_t *members)
{
	static const char *const keys[] = {"match_index", "lag", "applied_index", "active", "snapshot"};
	json_t *m;
	size_t i;

	json_array_foreach (members, i, m)
		if (!is_text(group, "role", "leader") || is_text(m, "status", "left") ||
		    is_text(m, "status", "evicted"))
			for (size_t k = 0; k < COUNT(keys); k++)
				json_object_del(m, keys[k]);
}

static void
print_members(const struct ctl *ctl, json_t *group)
{
	static const struct column columns[] = {{"  MEMBER", "node_name", COLUMN_TEXT},
	    {"ID", "node_id", COLUMN_TEXT}, {"ROLE", "role", COLUMN_TEXT}, {"STATUS", "status", COLUMN_STATE},
	    {"SINCE", "since", COLUMN_AGE_MS}, {"ANSWERS", "active", COLUMN_YESNO},
	    {"HAS", "match_index", COLUMN_COUNT}, {"LAG", "lag", COLUMN_COUNT},
	    {"APPLIED", "applied_index", COLUMN_COUNT}, {"SNAPSHOT", "snapshot", COLUMN_YESNO},
	    {"REASON", "reason", COLUMN_TEXT}};
	json_t *members = json_object_get(group, "member_details");

	hide_unknown(group, members);
	out_table(ctl, columns, COUNT(columns), members, "  no member");
}

/* One group after the other: its line, its log, its members. */
static void
print_verbose(const struct ctl *ctl, json_t *groups)
{
	json_t *g;
	size_t i;

	if (json_array_size(groups) == 0)
		print_groups(ctl, groups);
	json_array_foreach (groups, i, g) {
		json_t *one = json_array();
		char bytes[32];

		json_array_append(one, g);
		print_groups(ctl, one);
		json_decref(one);
		printf("  log from %lld to %lld, %s%s%s\n", number(g, "first_index"), number(g, "last_index"),
		    out_format(COLUMN_BYTES, json_object_get(g, "log_bytes"), bytes, sizeof(bytes)),
		    json_is_true(json_object_get(g, "changing")) ? "; its membership is being changed" : "",
		    json_is_true(json_object_get(g, "quiet")) ? "; quiet: nothing happens" : "");
		print_members(ctl, g);
		if (i + 1 < json_array_size(groups))
			putchar('\n');
	}
}

int
cmd_raft(struct ctl *ctl, const struct args *a)
{
	json_t *o, *groups;
	int code = fetch(ctl, "/mesh.v1.MeshService/GetMeshStatus", NULL, api_json_mesh_status, &o);

	if (code != CODE_OK)
		return code;
	groups = json_object_get(o, "raft_groups");
	if (!ctl->json)
		add_derived(groups);
	if (args_flag(a, "verbose") && !ctl->json)
		print_verbose(ctl, groups);
	else
		print_groups(ctl, groups);
	json_decref(o);
	return code;
}

int
cmd_raft_transfer(struct ctl *ctl, const struct args *a)
{
	mesh_v1_TransferReq req = mesh_v1_TransferReq_init_zero;
	char leader[128];
	json_t *o;
	int code;

	if (args_copy(a, "group", req.group_id, sizeof(req.group_id)) != 0 ||
	    args_copy_word(a, 0, "node", req.node_id, sizeof(req.node_id)) != 0)
		return CODE_USAGE;
	code = broadcast_call(ctl, "/mesh.v1.MeshService/TransferLeadership", mesh_v1_TransferReq_fields,
	    &req, api_json_group, &o);
	if (code == CODE_OK && ctl->json)
		out_fields(ctl, NULL, 0, o);
	else if (code == CODE_OK)
		printf("leader: %s, term %lld\n",
		    out_format(COLUMN_TEXT, json_object_get(o, "leader_name"), leader, sizeof(leader)),
		    number(o, "term"));
	json_decref(o);
	return code;
}
