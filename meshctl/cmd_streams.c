/* cmd_streams: `meshctl streams`, `stream show`, `message` and `close`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/id.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/client.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "meshctl/streams_view.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct option_def cmd_streams_options[] = {
    {"tenant", 't', "TENANT", "only streams of this tenant"},
    {"verbose", 'v', NULL, "show all that is known of each, with its targets"},
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

/* The streams that the operands name, or all; NULL after an error. */
static int
fetch_streams(struct ctl *ctl, const struct args *a, json_t **rows)
{
	struct buf request;
	int code;

	*rows = NULL;
	buf_init(&request, CLIENT_MESSAGE_MAX_BYTES);
	code = streams_request(a, &request);
	if (code == CODE_OK)
		code = fetch(ctl, "/mesh.v1.MeshStatusService/ListStreams", &request, api_json_streams, rows);
	buf_fini(&request);
	return code;
}

int
cmd_streams(struct ctl *ctl, const struct args *a)
{
	json_t *rows;
	int code = fetch_streams(ctl, a, &rows);

	if (code != CODE_OK)
		return code;
	if (args_flag(a, "verbose"))
		streams_view_all(ctl, rows);
	else
		streams_view_table(ctl, rows);
	json_decref(rows);
	return CODE_OK;
}

int
cmd_stream_show(struct ctl *ctl, const struct args *a)
{
	json_t *rows;
	int code = fetch_streams(ctl, a, &rows);

	if (code != CODE_OK)
		return code;
	if (json_array_size(rows) == 0) {
		out_error("stream %s is not open at this node", args_word(a, 0));
		code = CODE_NOTFOUND;
	} else {
		streams_view_all(ctl, rows);
	}
	json_decref(rows);
	return code;
}

static void
message_show(const struct ctl *ctl, const json_t *m)
{
	static const struct column fields[] = {{"Stream", "stream_id", COLUMN_TEXT},
	    {"Message", "seq", COLUMN_COUNT}, {"Id", "message_id", COLUMN_TEXT},
	    {"State", "state", COLUMN_STATE}};
	static const struct column columns[] = {{"TARGET", "node_id", COLUMN_TEXT},
	    {"STATE", "state", COLUMN_STATE}, {"SINCE", "updated", COLUMN_TIME_MS},
	    {"ERROR", "error", COLUMN_TEXT}};

	out_fields(ctl, fields, COUNT(fields), m);
	if (ctl->json)
		return;
	printf("\n");
	out_table(ctl, columns, COUNT(columns), json_object_get(m, "targets"), "no target");
}

int
cmd_message(struct ctl *ctl, const struct args *a)
{
	mesh_v1_MessageStatusReq req = mesh_v1_MessageStatusReq_init_zero;
	const char *text = args_word(a, 1);
	char *end = NULL;
	struct ulid id;
	json_t *m;
	int code;

	if (stream_id_check(args_word(a, 0)) != CODE_OK)
		return CODE_USAGE;
	snprintf(req.stream_id, sizeof(req.stream_id), "%s", args_word(a, 0));
	if (ulid_parse(text, &id) == 0) {
		snprintf(req.message_id, sizeof(req.message_id), "%s", text);
	} else {
		req.seq = strtoll(text, &end, 10);
		if (end == text || *end != '\0' || req.seq < 1) {
			out_error("'%s' is neither a message's number nor its id (26 characters)", text);
			return CODE_USAGE;
		}
	}
	code = fetch_pb(ctl, "/mesh.v1.MeshService/GetMessageStatus", mesh_v1_MessageStatusReq_fields, &req,
	    api_json_message, &m);
	if (code == CODE_OK)
		message_show(ctl, m);
	json_decref(m);
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
