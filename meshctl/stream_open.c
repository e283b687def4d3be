/* stream_open: see stream_open.h. */
#include "meshctl/stream_open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/id.h"
#include "common/os/clock.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/client.h"
#include "meshctl/command.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum { RETRY_PAUSE_MS = 100 };

static int
set_text(char *out, size_t size, const char *option, const char *text)
{
	if (strlen(text) < size) {
		memcpy(out, text, strlen(text) + 1);
		return CODE_OK;
	}
	out_error("--%s: at most %zu characters", option, size - 1);
	return CODE_USAGE;
}

/* "a,b" into target_nodes. */
static int
set_targets(mesh_v1_OpenClientDataStreamReq *req, const char *text)
{
	enum { MAX = sizeof(req->target_nodes) / sizeof(req->target_nodes[0]) };

	while (text != NULL && *text != '\0') {
		size_t len = strcspn(text, ",");
		char *slot = req->target_nodes[req->target_nodes_count];

		if (len == 0 || len >= sizeof(req->target_nodes[0]) || req->target_nodes_count == MAX) {
			out_error("--to: up to %d node names or ids, separated by commas", MAX);
			return CODE_USAGE;
		}
		memcpy(slot, text, len);
		slot[len] = '\0';
		req->target_nodes_count++;
		text += len + (text[len] == ',');
	}
	return CODE_OK;
}

/* "quorum:2" */
static int
set_ack(mesh_v1_OpenClientDataStreamReq *req, const char *text)
{
	size_t len = strcspn(text, ":");
	char *end = NULL;
	long n = 0;

	if (text[len] == ':') {
		n = strtol(text + len + 1, &end, 10);
		if (end == text + len + 1 || *end != '\0' || n < 1 || n > INT32_MAX) {
			out_error("--ack: '%s' is none of accepted, committed, quorum:N, all", text);
			return CODE_USAGE;
		}
	}
	if (len >= sizeof(req->ack)) {
		out_error("--ack: '%s' is none of accepted, committed, quorum:N, all", text);
		return CODE_USAGE;
	}
	memcpy(req->ack, text, len);
	req->ack[len] = '\0';
	req->ack_quorum = (int32_t)n;
	return CODE_OK;
}

/* What becomes of messages at the targets. */
static int
set_handler(mesh_v1_OpenClientDataStreamReq *req, const struct args *a)
{
	int64_t attempts;

	if (args_int(a, "max-attempts", 0, 0, INT32_MAX, &attempts) != 0 ||
	    args_duration_ms(a, "retry-wait", 0, &req->retry_ms) != 0)
		return CODE_USAGE;
	req->max_attempts = (int32_t)attempts;
	return set_text(req->handler, sizeof(req->handler), "handler", args_str(a, "handler", ""));
}

static int
request_init(mesh_v1_OpenClientDataStreamReq *req, const struct args *a)
{
	const char *stream = args_str(a, "stream", ""), *to = args_str(a, "to", NULL),
		   *tenant = args_str(a, "tenant", "");
	int64_t priority;
	struct ulid id;
	int code;

	*req = (mesh_v1_OpenClientDataStreamReq)mesh_v1_OpenClientDataStreamReq_init_zero;
	req->fence = args_flag(a, "fence");
	if ((stream[0] == '\0' && to == NULL) || ((to != NULL || req->fence) && tenant[0] == '\0')) {
		out_error("which stream? give --stream ID, or --tenant TENANT and --to NODE,...");
		return CODE_USAGE;
	}
	if (stream[0] != '\0' && ulid_parse(stream, &id) != 0) {
		out_error("--stream: '%s' is not a stream id (26 characters; meshctl id makes one)", stream);
		return CODE_USAGE;
	}
	if (args_int(a, "priority", 0, 0, 255, &priority) != 0)
		return CODE_USAGE;
	req->priority = (int32_t)priority;
	code = set_text(req->stream_id, sizeof(req->stream_id), "stream", stream);
	if (code == CODE_OK)
		code = set_text(req->tenant_id, sizeof(req->tenant_id), "tenant", tenant);
	if (code == CODE_OK)
		code = set_text(req->qos, sizeof(req->qos), "qos", args_str(a, "qos", ""));
	if (args_size(a, "retention", 0, &req->retention_bytes) != 0 ||
	    args_duration_ms(a, "retention-time", 0, &req->retention_ms) != 0)
		return CODE_USAGE;
	if (code == CODE_OK)
		code =
		    set_text(req->overflow, sizeof(req->overflow), "overflow", args_str(a, "overflow", ""));
	if (code == CODE_OK)
		code = set_ack(req, args_str(a, "ack", ""));
	if (code == CODE_OK)
		code = set_handler(req, a);
	return code == CODE_OK ? set_targets(req, to) : code;
}

/* What is asked of the node: to open a stream, or to tell about one that it is the source of. */
struct question {
	const char *method;
	const char *stream_id; /* NULL: the answer is a handle */
	struct buf request;
};

/* The handle of a stream from what ListStreams says of it; NULL after an error was printed. */
static json_t *
handle_of(const struct buf *reply, const char *stream_id, int *code)
{
	json_t *rows = api_json_streams(reply), *row, *t, *handle = NULL, *targets;
	size_t i, k;

	*code = rows == NULL ? CODE_FAILED : CODE_OK;
	json_array_foreach (rows, i, row) {
		if (strcmp(json_string_value(json_object_get(row, "role")), "source") != 0)
			continue;
		targets = json_array();
		json_array_foreach (json_object_get(row, "targets"), k, t)
			json_array_append(targets, json_object_get(t, "node_id"));
		handle = json_pack("{s:O, s:O, s:o, s:O, s:O, s:O, s:O, s:O, s:O, s:O}", "stream_id",
		    json_object_get(row, "stream_id"), "tenant_id", json_object_get(row, "tenant_id"),
		    "target_nodes", targets, "status", json_object_get(row, "status"), "created_at",
		    json_object_get(row, "created_at"), "next_seq", json_object_get(row, "next_seq"),
		    "committed_seq", json_object_get(row, "committed_seq"), "producer_epoch",
		    json_object_get(row, "producer_epoch"), "ack", json_object_get(row, "ack"), "ack_quorum",
		    json_object_get(row, "ack_quorum"));
		break;
	}
	json_decref(rows);
	if (handle == NULL && *code == CODE_OK) {
		out_error(
		    "the node is not the source of a stream %s (--tenant and --to open one)", stream_id);
		*code = CODE_NOTFOUND;
	}
	return handle;
}

/* One attempt; a node that is away is not reported while time is left. */
static int
attempt(const struct ctl *ctl, const struct question *q, int64_t left_ms, json_t **handle)
{
	struct client *c = NULL;
	struct buf reply;
	int code = client_open(ctl, left_ms, &c);

	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	if (code == CODE_OK) {
		client_quiet(c, left_ms > 0);
		code = client_unary(c, q->method, &q->request, &reply);
	}
	if (code == CODE_OK && q->stream_id != NULL) {
		*handle = handle_of(&reply, q->stream_id, &code);
	} else if (code == CODE_OK) {
		*handle = api_json_handle(&reply);
		code = *handle != NULL ? CODE_OK : CODE_FAILED;
	}
	buf_fini(&reply);
	client_free(c);
	return code;
}

static int
question_init(struct question *q, const struct args *a)
{
	mesh_v1_OpenClientDataStreamReq req;
	mesh_v1_ListStreamsReq list = mesh_v1_ListStreamsReq_init_zero;
	/* map<string, string>: key 1, value 2 */
	static const struct pb_slice striping = {(const uint8_t *)"\x0a\x08striping\x12\x02on", 14};
	static const struct pb_list metadata = {&striping, 1};
	int r, code = request_init(&req, a);

	if (code != CODE_OK)
		return code;
	*q = (struct question){.method = "/mesh.v1.MeshService/OpenClientDataStream"};
	buf_init(&q->request, CLIENT_MESSAGE_MAX_BYTES);
	if (args_flag(a, "striping"))
		pb_list_encode(&req.metadata, &metadata);
	if (req.target_nodes_count > 0 || req.fence) {
		r = pb_pack(&q->request, mesh_v1_OpenClientDataStreamReq_fields, &req);
	} else {
		q->method = "/mesh.v1.MeshStatusService/ListStreams";
		q->stream_id = args_str(a, "stream", NULL);
		memcpy(list.stream_ids[0], req.stream_id, sizeof(list.stream_ids[0]));
		list.stream_ids_count = 1;
		r = pb_pack(&q->request, mesh_v1_ListStreamsReq_fields, &list);
	}
	return r == 0 ? CODE_OK : CODE_FAILED;
}

int
stream_open(const struct ctl *ctl, const struct args *a, int64_t retry_ms, json_t **handle)
{
	struct timespec pause = {.tv_nsec = RETRY_PAUSE_MS * 1000000L};
	struct mono end = mono_add_ms(clock_mono(), retry_ms);
	struct question q = {0};
	int code = question_init(&q, a);

	*handle = NULL;
	while (code == CODE_OK && *handle == NULL) {
		int64_t left_ms = mono_diff_us(end, clock_mono()) / 1000;

		code = attempt(ctl, &q, left_ms > 0 ? left_ms : 0, handle);
		if (code == CODE_UNREACHABLE && left_ms > 0) {
			(void)nanosleep(&pause, NULL);
			code = CODE_OK;
		}
	}
	buf_fini(&q.request);
	return code;
}
