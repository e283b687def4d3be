/* stream_open: see stream_open.h. */
#include "meshctl/stream_open.h"

#include <stdio.h>
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

static int
request_init(mesh_v1_OpenClientDataStreamReq *req, const struct args *a)
{
	const char *stream = args_str(a, "stream", ""), *to = args_str(a, "to", NULL),
		   *tenant = args_str(a, "tenant", "");
	int64_t priority;
	struct ulid id;
	int code;

	*req = (mesh_v1_OpenClientDataStreamReq)mesh_v1_OpenClientDataStreamReq_init_zero;
	if (stream[0] == '\0' && (to == NULL || tenant[0] == '\0')) {
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
	return code == CODE_OK ? set_targets(req, to) : code;
}

/* One attempt; with quiet, a node that is away is not reported. */
static int
attempt(const struct ctl *ctl, const struct buf *request, int64_t left_ms, json_t **handle)
{
	struct client *c = NULL;
	struct buf reply;
	int code = client_open(ctl, left_ms, &c);

	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	if (code == CODE_OK) {
		client_quiet(c, left_ms > 0);
		code = client_unary(c, "/mesh.v1.MeshService/OpenClientDataStream", request, &reply);
	}
	if (code == CODE_OK) {
		*handle = api_json_handle(&reply);
		code = *handle != NULL ? CODE_OK : CODE_FAILED;
	}
	buf_fini(&reply);
	client_free(c);
	return code;
}

int
stream_open(const struct ctl *ctl, const struct args *a, int64_t retry_ms, json_t **handle)
{
	struct timespec pause = {.tv_nsec = RETRY_PAUSE_MS * 1000000L};
	struct mono end = mono_add_ms(clock_mono(), retry_ms);
	mesh_v1_OpenClientDataStreamReq req;
	struct buf request;
	int code = request_init(&req, a);

	*handle = NULL;
	if (code != CODE_OK)
		return code;
	buf_init(&request, CLIENT_MESSAGE_MAX_BYTES);
	if (pb_pack(&request, mesh_v1_OpenClientDataStreamReq_fields, &req) != 0) {
		buf_fini(&request);
		return CODE_FAILED;
	}
	for (;;) {
		int64_t left_ms = mono_diff_us(end, clock_mono()) / 1000;

		code = attempt(ctl, &request, left_ms > 0 ? left_ms : 0, handle);
		if (code != CODE_UNREACHABLE || left_ms <= 0)
			break;
		(void)nanosleep(&pause, NULL);
	}
	buf_fini(&request);
	return code;
}
