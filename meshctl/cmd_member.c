/*
 * cmd_member: `meshctl seed`, `join`, `start`, `stop`, `evict`, `readmit`, `join-token` and `settings`: who
 * is a member of the mesh's control group, and what it says of the mesh.
 */
#include <stdio.h>
#include <string.h>

#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/broadcast.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/input.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"

#define MESH "/mesh.v1.MeshService/"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define JOIN_CHOICES "nobody certificate token"

enum {
	VOTERS_MAX = 15,
	MEMBER_TIMEOUT_MS = 60 * 1000, /* for members to be found and to agree, unless --timeout says else */
};

const struct option_def cmd_seed_options[] = {
    {"name", 'n', "NAME", "name of the mesh (default: that of mesh.conf)"},
    {"description", 'd', "TEXT", "what the mesh is for"},
    {"allow-join", 0, "WHO", "who may join: nobody, who has a certificate (default) or a token"},
    {"voters", 0, "N", "how many nodes decide: odd, up to 15 (default 5)"},
    {"force", 'f', NULL, "although other nodes can't be asked whether there is a group already"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_join_options[] = {
    {"token", 't', "TOKEN", "where the mesh asks for one; meshctl join-token makes it"},
    {"token-file", 0, "FILE", "read the token from a file; - is standard input"},
    {"contact", 0, "NODE", "the member to ask (default: all nodes that are known)"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_evict_options[] = {
    {"reason", 'r', "TEXT", "why, for the others"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_join_token_options[] = {
    {"valid", 0, "DURATION", "how long it is good (default 1h)"},
    {"node", 0, "NODE", "only for this node (default: for the first that uses it)"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_settings_options[] = {
    {"description", 'd', "TEXT", "what the mesh is for"},
    {"allow-join", 0, "WHO", "who may join: nobody, who has a certificate or a token"},
    {"voters", 0, "N", "how many nodes decide: odd, up to 15"},
    {NULL, 0, NULL, NULL},
};

/* 0 if it is not given.  -1 after an error was printed. */
static int
take_voters(const struct args *a, int32_t *out)
{
	int64_t n;

	if (args_int(a, "voters", 0, 1, VOTERS_MAX, &n) != 0)
		return -1;
	*out = (int32_t)n;
	if (n == 0 || n % 2 == 1)
		return 0;
	out_error("--voters: an odd number: of an even one, half can be away and nothing is decided");
	return -1;
}

/* Members of the control group, and the name of its leader. */
static void
print_group(const json_t *mesh)
{
	const json_t *groups = json_object_get(mesh, "raft_groups"), *g;
	size_t i;

	json_array_foreach (groups, i, g) {
		char leader[128];

		if (strcmp(json_string_value(json_object_get(g, "group_type")), "MCG") != 0)
			continue;
		printf("; members: %zu, leader: %s", json_array_size(json_object_get(g, "members")),
		    out_format(COLUMN_TEXT, json_object_get(g, "leader_name"), leader, sizeof(leader)));
	}
}

/* A call that answers with the state of the mesh. */
static int
change(struct ctl *ctl, const struct args *a, const char *method, const pb_msgdesc_t *fields,
    const void *request, const char *said)
{
	json_t *o;
	int code;

	if (args_str(a, "timeout", NULL) == NULL)
		ctl->timeout_ms = MEMBER_TIMEOUT_MS;
	code = broadcast_call(ctl, method, fields, request, api_json_mesh_status, &o);
	if (code == CODE_OK && ctl->json) {
		out_fields(ctl, NULL, 0, o);
	} else if (code == CODE_OK) {
		printf("%s", said);
		print_group(o);
		putchar('\n');
	}
	json_decref(o);
	return code;
}

int
cmd_seed(struct ctl *ctl, const struct args *a)
{
	mesh_v1_SeedMeshReq req = mesh_v1_SeedMeshReq_init_zero;

	if (args_copy(a, "name", req.name, sizeof(req.name)) != 0 ||
	    args_copy(a, "description", req.description, sizeof(req.description)) != 0 ||
	    args_choice(a, "allow-join", JOIN_CHOICES, req.allow_join, sizeof(req.allow_join)) != 0 ||
	    take_voters(a, &req.voters) != 0)
		return CODE_USAGE;
	req.force = args_flag(a, "force");
	return change(ctl, a, MESH "SeedMesh", mesh_v1_SeedMeshReq_fields, &req,
	    "the mesh has a control group now, and this node is its first member");
}

int
cmd_join(struct ctl *ctl, const struct args *a)
{
	mesh_v1_JoinMeshReq req = mesh_v1_JoinMeshReq_init_zero;
	const char *file = args_str(a, "token-file", NULL);
	int code = CODE_OK;

	if (file != NULL && args_str(a, "token", NULL) != NULL) {
		out_error("--token and --token-file exclude each other");
		return CODE_USAGE;
	}
	if (args_copy(a, "token", req.token, sizeof(req.token)) != 0 ||
	    args_copy(a, "contact", req.contact, sizeof(req.contact)) != 0)
		return CODE_USAGE;
	if (file != NULL)
		code = input_line(file, req.token, sizeof(req.token));
	return code != CODE_OK ? code
			       : change(ctl, a, MESH "JoinMesh", mesh_v1_JoinMeshReq_fields, &req,
				     "this node is a member of the mesh's control group");
}

int
cmd_start(struct ctl *ctl, const struct args *a)
{
	mesh_v1_StartMeshReq req = mesh_v1_StartMeshReq_init_zero;

	return change(
	    ctl, a, MESH "StartMesh", mesh_v1_StartMeshReq_fields, &req, "this node takes part again");
}

int
cmd_stop(struct ctl *ctl, const struct args *a)
{
	mesh_v1_StopMeshReq req = mesh_v1_StopMeshReq_init_zero;

	return change(ctl, a, MESH "StopMesh", mesh_v1_StopMeshReq_fields, &req,
	    "this node takes part no more, until meshctl start or its next start");
}

static int
evict(struct ctl *ctl, const struct args *a, bool readmit)
{
	mesh_v1_EvictNodeReq req = mesh_v1_EvictNodeReq_init_zero;
	char said[160];

	req.readmit = readmit;
	if (args_copy_word(a, 0, "node", req.node_id, sizeof(req.node_id)) != 0 ||
	    args_copy(a, "reason", req.reason, sizeof(req.reason)) != 0)
		return CODE_USAGE;
	snprintf(said, sizeof(said), readmit ? "%s may join again" : "%s is locked out", req.node_id);
	return change(ctl, a, MESH "EvictNode", mesh_v1_EvictNodeReq_fields, &req, said);
}

int
cmd_evict(struct ctl *ctl, const struct args *a)
{
	return evict(ctl, a, false);
}

int
cmd_readmit(struct ctl *ctl, const struct args *a)
{
	return evict(ctl, a, true);
}

int
cmd_join_token(struct ctl *ctl, const struct args *a)
{
	mesh_v1_JoinTokenReq req = mesh_v1_JoinTokenReq_init_zero;
	char when[32];
	json_t *o;
	int code;

	if (args_duration_ms(a, "valid", 0, &req.valid_ms) != 0 ||
	    args_copy(a, "node", req.node_id, sizeof(req.node_id)) != 0)
		return CODE_USAGE;
	code =
	    fetch_pb(ctl, MESH "CreateJoinToken", mesh_v1_JoinTokenReq_fields, &req, api_json_join_token, &o);
	if (code == CODE_OK && ctl->json) {
		out_json_line(o);
	} else if (code == CODE_OK) {
		/* Only the token goes to standard output, so that it can be piped to meshctl join. */
		printf("%s\n", json_string_value(json_object_get(o, "token")));
		fprintf(stderr, "good until %s\n",
		    out_format(COLUMN_TIME_MS, json_object_get(o, "expires"), when, sizeof(when)));
	}
	json_decref(o);
	return code;
}

int
cmd_settings(struct ctl *ctl, const struct args *a)
{
	static const struct column columns[] = {{"Mesh id", "mesh_id", COLUMN_TEXT},
	    {"Description", "description", COLUMN_TEXT}, {"May join", "allow_join", COLUMN_TEXT},
	    {"Voters", "voters", COLUMN_COUNT}};
	mesh_v1_MeshSettings req = mesh_v1_MeshSettings_init_zero;
	json_t *o;
	int code;

	if (args_copy(a, "description", req.description, sizeof(req.description)) != 0 ||
	    args_choice(a, "allow-join", JOIN_CHOICES, req.allow_join, sizeof(req.allow_join)) != 0 ||
	    take_voters(a, &req.voters) != 0)
		return CODE_USAGE;
	req.has_description = args_str(a, "description", NULL) != NULL;
	req.has_allow_join = args_str(a, "allow-join", NULL) != NULL;
	req.has_voters = req.voters != 0;
	code = broadcast_call(
	    ctl, MESH "SetMeshSettings", mesh_v1_MeshSettings_fields, &req, api_json_settings, &o);
	if (code == CODE_OK)
		out_fields(ctl, columns, COUNT(columns), o);
	json_decref(o);
	return code;
}
