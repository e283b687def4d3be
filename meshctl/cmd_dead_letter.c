/* cmd_dead_letter: `meshctl dead-letter list`, `replay` and `discard`: messages of streams that were given up
 * at this node. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"

#define MESH "/mesh.v1.MeshService/"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct option_def cmd_dead_letter_list_options[] = {
    {"tenant", 't', "TENANT", "only those of its streams"},
    {"after", 0, "POSITION", "those after this one"},
    {"count", 'n', "N", "at most N (default 100)"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_dead_letter_options[] = {
    {"all", 0, NULL, "all of the stream's"},
    {NULL, 0, NULL, NULL},
};

static void
print_letters(const struct ctl *ctl, const json_t *rows, const char *none)
{
	static const struct column columns[] = {{"POSITION", "position", COLUMN_COUNT},
	    {"STREAM", "stream_id", COLUMN_TEXT}, {"SEQ", "seq", COLUMN_COUNT},
	    {"TENANT", "tenant_id", COLUMN_TEXT}, {"FAILED", "failed_at", COLUMN_TIME_MS},
	    {"TRIED", "attempts", COLUMN_COUNT}, {"ERROR", "error", COLUMN_TEXT}};

	out_table(ctl, columns, COUNT(columns), rows, none);
}

static int
take_stream(const char *text, char out[ULID_TEXT_SIZE])
{
	struct ulid id;

	if (ulid_parse(text, &id) == 0) {
		ulid_format(out, &id);
		return 0;
	}
	out_error("'%s' is not a stream id (26 characters; meshctl streams lists them)", text);
	return -1;
}

static int
fetch_list(const struct ctl *ctl, const mesh_v1_StreamDeadLetterReq *req, json_t **rows)
{
	return fetch_pb(ctl, MESH "ListStreamDeadLetters", mesh_v1_StreamDeadLetterReq_fields, req,
	    api_json_dead_letters, rows);
}

int
cmd_dead_letter_list(struct ctl *ctl, const struct args *a)
{
	mesh_v1_StreamDeadLetterReq req = mesh_v1_StreamDeadLetterReq_init_zero;
	const char *tenant = args_str(a, "tenant", "");
	int64_t limit;
	json_t *rows;
	int code;

	if (args_int(a, "after", 0, 0, INT64_MAX, &req.after) != 0 ||
	    args_int(a, "count", 0, 1, API_JSON_ROWS_MAX, &limit) != 0 ||
	    (args_word(a, 0) != NULL && take_stream(args_word(a, 0), req.stream_id) != 0))
		return CODE_USAGE;
	if (strlen(tenant) >= sizeof(req.tenant_id)) {
		out_error("'%s' is no tenant", tenant);
		return CODE_USAGE;
	}
	memcpy(req.tenant_id, tenant, strlen(tenant) + 1);
	req.limit = (int32_t)limit;
	code = fetch_list(ctl, &req, &rows);
	if (code == CODE_OK)
		print_letters(ctl, rows, "no message was given up at this node");
	json_decref(rows);
	return code;
}

/* --- resolving --- */

static int
resolve_one(const struct ctl *ctl, mesh_v1_ResolveStreamDeadLetterReq *req, int64_t seq, json_t *done)
{
	json_t *row;
	int code;

	req->seq = seq;
	code = fetch_pb(ctl, MESH "ResolveStreamDeadLetter", mesh_v1_ResolveStreamDeadLetterReq_fields, req,
	    api_json_dead_letter, &row);
	if (code == CODE_OK)
		json_array_append(done, row);
	json_decref(row);
	return code;
}

static int64_t
number_of(const json_t *row, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(row, key));
}

/* Page by page, those that are there. */
static int
resolve_all(const struct ctl *ctl, mesh_v1_ResolveStreamDeadLetterReq *req, json_t *done)
{
	mesh_v1_StreamDeadLetterReq page = mesh_v1_StreamDeadLetterReq_init_zero;
	size_t count = 1;
	int code = CODE_OK;

	memcpy(page.stream_id, req->stream_id, sizeof(page.stream_id));
	while (code == CODE_OK && count > 0) {
		json_t *rows = NULL, *row;
		size_t i;

		code = fetch_list(ctl, &page, &rows);
		count = json_array_size(rows);
		json_array_foreach (rows, i, row) {
			if (code == CODE_OK)
				code = resolve_one(ctl, req, number_of(row, "seq"), done);
			page.after = number_of(row, "position");
		}
		json_decref(rows);
	}
	return code;
}

static int
take_seq(const struct args *a, int64_t *out)
{
	const char *text = args_word(a, 1);
	char *end = NULL;
	bool all = args_flag(a, "all");

	*out = 0;
	if (all != (text == NULL)) {
		out_error("which message? give its SEQ, or --all");
		return -1;
	}
	if (all)
		return 0;
	*out = strtoll(text, &end, 10);
	if (*text >= '0' && *text <= '9' && *end == '\0' && *out > 0 && *out < INT64_MAX)
		return 0;
	out_error("'%s' is not a seq (a number; meshctl dead-letter list tells)", text);
	return -1;
}

static int
resolve(struct ctl *ctl, const struct args *a, const char *action)
{
	mesh_v1_ResolveStreamDeadLetterReq req = mesh_v1_ResolveStreamDeadLetterReq_init_zero;
	json_t *done;
	int64_t seq;
	int code;

	if (take_stream(args_word(a, 0), req.stream_id) != 0 || take_seq(a, &seq) != 0)
		return CODE_USAGE;
	snprintf(req.action, sizeof(req.action), "%s", action);
	done = json_array();
	code = seq != 0 ? resolve_one(ctl, &req, seq, done) : resolve_all(ctl, &req, done);
	/* Also what was done before it failed. */
	if (code == CODE_OK || json_array_size(done) > 0)
		print_letters(ctl, done, "the stream has no dead letters at this node");
	json_decref(done);
	return code;
}

int
cmd_dead_letter_replay(struct ctl *ctl, const struct args *a)
{
	return resolve(ctl, a, "replay");
}

int
cmd_dead_letter_discard(struct ctl *ctl, const struct args *a)
{
	return resolve(ctl, a, "discard");
}
