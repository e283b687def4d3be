/* cmd_config: `meshctl config get`, `set`, `remove` and `history`: the configuration that all nodes share. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/broadcast.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/json_text.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

#define MESH "/mesh.v1.MeshService/"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { VALUE_MAX_BYTES = 65536 };

const struct option_def cmd_config_get_options[] = {
    {"count", 'n', "N", "at most N keys (default 100)"},
    {"latest", 'l', NULL, "ask the leader: nothing older than what anybody was told before"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_config_history_options[] = {
    {"count", 'n', "N", "at most N values (default 100)"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_config_set_options[] = {
    {"expected", 'e', "VERSION", "only if the key has this version; 0: only if it is not there"},
    BROADCAST_OPTION_WAIT,
    {NULL, 0, NULL, NULL},
};

/* --- looking --- */

/* A value of one line, as it was set or nearly so. */
static void
add_text(json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		json_t *value = json_object_get(row, "value");
		char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

		json_object_set_new(row, "value_text",
		    json_string(json_is_true(json_object_get(row, "removed")) ? "(removed)"
				: text != NULL                                ? text
									      : ""));
		mem_free(text);
	}
}

static void
print_entries(const struct ctl *ctl, json_t *rows, const char *none)
{
	static const struct column columns[] = {{"KEY", "key", COLUMN_TEXT},
	    {"VERSION", "version", COLUMN_COUNT}, {"SET", "updated", COLUMN_TIME_MS},
	    {"BY", "node_id", COLUMN_TEXT}, {"VALUE", "value_text", COLUMN_TEXT}};

	if (!ctl->json)
		add_text(rows);
	out_table(ctl, columns, COUNT(columns), rows, none);
}

static int
ask(struct ctl *ctl, const struct args *a, const char *method, json_t **rows)
{
	mesh_v1_ConfigReq req = mesh_v1_ConfigReq_init_zero;
	int64_t limit;

	*rows = NULL;
	if (args_copy_word(a, 0, "key", req.key, sizeof(req.key)) != 0 ||
	    args_int(a, "count", 0, 1, API_JSON_ROWS_MAX, &limit) != 0)
		return CODE_USAGE;
	req.limit = (int32_t)limit;
	req.latest = args_flag(a, "latest");
	return fetch_pb(ctl, method, mesh_v1_ConfigReq_fields, &req, api_json_config_list, rows);
}

/* One key: its value alone, for scripts. */
static int
print_value(const struct ctl *ctl, const char *key, const json_t *rows)
{
	const json_t *row = json_array_get(rows, 0), *value = json_object_get(row, "value");

	if (row == NULL || json_is_true(json_object_get(row, "removed"))) {
		out_error("there is no key '%s'", key);
		return CODE_NOTFOUND;
	}
	out_json_line(ctl->json ? row : value);
	return CODE_OK;
}

int
cmd_config_get(struct ctl *ctl, const struct args *a)
{
	const char *key = args_word(a, 0);
	bool one = key != NULL && key[0] != '\0' && key[strlen(key) - 1] != '*';
	json_t *rows;
	int code = ask(ctl, a, MESH "GetConfig", &rows);

	if (code == CODE_OK && one)
		code = print_value(ctl, key, rows);
	else if (code == CODE_OK)
		print_entries(ctl, rows, "no key is set");
	json_decref(rows);
	return code;
}

int
cmd_config_history(struct ctl *ctl, const struct args *a)
{
	json_t *rows;
	int code = ask(ctl, a, MESH "ListConfigHistory", &rows);

	if (code == CODE_OK)
		print_entries(ctl, rows, "the key never had a value that this node has seen");
	json_decref(rows);
	return code;
}

/* --- setting --- */

static int
set(struct ctl *ctl, const struct args *a, mesh_v1_ConfigEntry *req, const char *what)
{
	int64_t expected;
	json_t *o;
	int code;

	if (args_copy_word(a, 0, "key", req->key, sizeof(req->key)) != 0 ||
	    args_int(a, "expected", 0, 0, INT64_MAX, &expected) != 0)
		return CODE_USAGE;
	req->has_expected_version = args_str(a, "expected", NULL) != NULL;
	req->expected_version = expected;
	req->has_wait = true;
	code = broadcast_wait(ctl, a, &req->wait);
	if (code != CODE_OK)
		return code;
	code =
	    broadcast_call(ctl, MESH "SetConfig", mesh_v1_ConfigEntry_fields, req, api_json_config_entry, &o);
	if (code == CODE_OK && ctl->json)
		out_json_line(o);
	else if (code == CODE_OK && json_integer_value(json_object_get(o, "index")) == 0)
		printf("accepted; whether it is committed was not waited for\n");
	else if (code == CODE_OK)
		printf("%s, version %lld, committed at %lld\n", what,
		    (long long)json_integer_value(json_object_get(o, "version")),
		    (long long)json_integer_value(json_object_get(o, "index")));
	json_decref(o);
	return code;
}

int
cmd_config_set(struct ctl *ctl, const struct args *a)
{
	mesh_v1_ConfigEntry req = mesh_v1_ConfigEntry_init_zero;
	const char *text = args_word(a, 1);
	struct pb_slice value = {(const uint8_t *)text, strlen(text)};
	int code = json_text_check("value", text, false, VALUE_MAX_BYTES);

	if (code != CODE_OK)
		return code;
	pb_slice_encode(&req.value, &value);
	return set(ctl, a, &req, "set");
}

int
cmd_config_remove(struct ctl *ctl, const struct args *a)
{
	mesh_v1_ConfigEntry req = mesh_v1_ConfigEntry_init_zero;

	req.removed = true;
	return set(ctl, a, &req, "removed");
}
