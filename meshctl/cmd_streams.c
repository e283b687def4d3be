/* cmd_streams: `meshctl streams` and `close`. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/id.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/client.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct option_def cmd_streams_options[] = {
    {"tenant", 't', "TENANT", "only streams of this tenant"},
    {NULL, 0, NULL, NULL},
};

static int
stream_id_check(const char *text)
{
	struct ulid id;

	if (ulid_parse(text, &id) == 0)
		return CODE_OK;
	out_error("'%s' is not a stream id (26 characters; meshctl streams lists them)", text);
	return CODE_USAGE;
}

static int
streams_request(const struct args *a, struct buf *out)
{
	mesh_v1_ListStreamsReq req = mesh_v1_ListStreamsReq_init_zero;
	const char *tenant = args_str(a, "tenant", "");

	if (strlen(tenant) >= sizeof(req.tenant_id) || a->word_count > COUNT(req.stream_ids)) {
		out_error("tenant ids have at most %d characters, and at most %zu streams can be named",
		    TENANT_ID_MAX, COUNT(req.stream_ids));
		return CODE_USAGE;
	}
	snprintf(req.tenant_id, sizeof(req.tenant_id), "%s", tenant);
	for (size_t i = 0; i < a->word_count; i++) {
		if (stream_id_check(args_word(a, i)) != CODE_OK)
			return CODE_USAGE;
		snprintf(req.stream_ids[i], sizeof(req.stream_ids[i]), "%s", args_word(a, i));
	}
	req.stream_ids_count = (pb_size_t)a->word_count;
	return pb_pack(out, mesh_v1_ListStreamsReq_fields, &req) == 0 ? CODE_OK : CODE_FAILED;
}

/* "C: 980 processed, 1000 stored" for each target, for the text table. */
static void
add_progress(json_t *rows)
{
	json_t *row, *t;
	size_t i, k;

	json_array_foreach (rows, i, row) {
		json_t *list = json_array();

		json_array_foreach (json_object_get(row, "targets"), k, t)
			json_array_append_new(list,
			    json_sprintf("%s %s %lld/%lld", json_string_value(json_object_get(t, "node_id")),
				json_string_value(json_object_get(t, "state")),
				(long long)json_integer_value(json_object_get(t, "processed_seq")),
				(long long)json_integer_value(json_object_get(t, "stored_seq"))));
		json_object_set_new(row, "progress", list);
	}
}

static void
streams_show(const struct ctl *ctl, json_t *rows)
{
	static const struct column columns[] = {{"STREAM", "stream_id", COLUMN_TEXT},
	    {"TENANT", "tenant_id", COLUMN_TEXT}, {"ROLE", "role", COLUMN_TEXT},
	    {"SOURCE", "source_node", COLUMN_TEXT}, {"STATUS", "status", COLUMN_STATE},
	    {"NEXT", "next_seq", COLUMN_COUNT}, {"STORED", "stored_seq", COLUMN_COUNT},
	    {"PROCESSED", "committed_seq", COLUMN_COUNT}, {"WAITING", "backlog_messages", COLUMN_COUNT},
	    {"BYTES", "backlog_bytes", COLUMN_BYTES}, {"SUBSCRIBED", "subscribed", COLUMN_YESNO},
	    {"TARGETS (processed/stored)", "progress", COLUMN_LIST}};

	if (!ctl->json)
		add_progress(rows);
	out_table(ctl, columns, COUNT(columns), rows, "no stream");
}

int
cmd_streams(struct ctl *ctl, const struct args *a)
{
	struct client *c = NULL;
	struct buf request, reply;
	json_t *rows = NULL;
	int code;

	buf_init(&request, CLIENT_MESSAGE_MAX_BYTES);
	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	code = streams_request(a, &request);
	if (code == CODE_OK)
		code = client_open(ctl, 0, &c);
	if (code == CODE_OK)
		code = client_unary(c, "/mesh.v1.MeshStatusService/ListStreams", &request, &reply);
	if (code == CODE_OK)
		rows = api_json_streams(&reply);
	if (rows != NULL)
		streams_show(ctl, rows);
	else if (code == CODE_OK)
		code = CODE_FAILED;
	json_decref(rows);
	buf_fini(&request);
	buf_fini(&reply);
	client_free(c);
	return code;
}

int
cmd_close(struct ctl *ctl, const struct args *a)
{
	mesh_v1_StreamHandle handle = mesh_v1_StreamHandle_init_zero;
	struct client *c = NULL;
	struct buf request, reply;
	int code = stream_id_check(args_word(a, 0));

	if (code != CODE_OK)
		return code;
	snprintf(handle.stream_id, sizeof(handle.stream_id), "%s", args_word(a, 0));
	buf_init(&request, CLIENT_MESSAGE_MAX_BYTES);
	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	code = pb_pack(&request, mesh_v1_StreamHandle_fields, &handle) == 0 ? client_open(ctl, 0, &c)
									    : CODE_FAILED;
	if (code == CODE_OK)
		code = client_unary(c, "/mesh.v1.MeshService/CloseClientDataStream", &request, &reply);
	buf_fini(&request);
	buf_fini(&reply);
	client_free(c);
	return code;
}
