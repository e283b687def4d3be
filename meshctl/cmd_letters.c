/* cmd_letters: `meshctl letters`, `letters retry` and `letters discard`: database updates that this node
 * could not apply. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"

#define MESH "/mesh.v1.MeshService/"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct option_def cmd_letters_options[] = {
    {"after", 0, "POSITION", "those after this one"},
    {"count", 'n', "N", "at most N (default 100)"},
    {NULL, 0, NULL, NULL},
};

static void
print_letters(const struct ctl *ctl, const json_t *rows, const char *none)
{
	static const struct column columns[] = {{"POSITION", "position", COLUMN_COUNT},
	    {"TABLE", "table", COLUMN_TEXT}, {"OPERATION", "operation", COLUMN_TEXT},
	    {"FAILED", "failed_at", COLUMN_TIME_MS}, {"TRIED", "attempts", COLUMN_COUNT},
	    {"BLOCKS", "blocking", COLUMN_YESNO}, {"ERROR", "error", COLUMN_TEXT}};

	out_table(ctl, columns, COUNT(columns), rows, none);
}

int
cmd_letters(struct ctl *ctl, const struct args *a)
{
	mesh_v1_DeadLetterReq req = mesh_v1_DeadLetterReq_init_zero;
	int64_t limit;
	json_t *rows;
	int code;

	if (args_int(a, "after", 0, 0, INT64_MAX, &req.after) != 0 ||
	    args_int(a, "count", 0, 1, API_JSON_ROWS_MAX, &limit) != 0)
		return CODE_USAGE;
	req.limit = (int32_t)limit;
	code = fetch_pb(
	    ctl, MESH "ListDeadLetters", mesh_v1_DeadLetterReq_fields, &req, api_json_letters, &rows);
	if (code == CODE_OK)
		print_letters(ctl, rows, "this node could apply all updates");
	json_decref(rows);
	return code;
}

/* The operand; 0 (all) without one.  -1 after an error was printed. */
static int
take_position(const struct args *a, int64_t *out)
{
	const char *text = args_word(a, 0);
	char *end = NULL;

	*out = 0;
	if (text == NULL)
		return 0;
	*out = strtoll(text, &end, 10);
	if (*text >= '0' && *text <= '9' && *end == '\0' && *out > 0 && *out < INT64_MAX)
		return 0;
	out_error("'%s' is not a position (a number; meshctl letters lists them)", text);
	return -1;
}

static int
resolve(struct ctl *ctl, const struct args *a, const char *action)
{
	mesh_v1_ResolveDeadLetterReq req = mesh_v1_ResolveDeadLetterReq_init_zero;
	json_t *rows;
	int code;

	if (take_position(a, &req.position) != 0)
		return CODE_USAGE;
	snprintf(req.action, sizeof(req.action), "%s", action);
	code = fetch_pb(ctl, MESH "ResolveDeadLetter", mesh_v1_ResolveDeadLetterReq_fields, &req,
	    api_json_letters, &rows);
	if (code == CODE_OK)
		print_letters(ctl, rows, "nothing is left that this node could not apply");
	json_decref(rows);
	return code;
}

int
cmd_letters_retry(struct ctl *ctl, const struct args *a)
{
	return resolve(ctl, a, "retry");
}

int
cmd_letters_discard(struct ctl *ctl, const struct args *a)
{
	return resolve(ctl, a, "discard");
}
