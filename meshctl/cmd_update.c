/* cmd_update: `meshctl update mesh`, `update node` and `update db`: what all nodes are told. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/id.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "meshctl/args.h"
#include "meshctl/broadcast.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/input.h"
#include "meshctl/json_text.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

#define MESH "/mesh.v1.MeshService/"

/* Payloads of the API (proto/mesh.proto). */
enum { NODE_PAYLOAD_MAX_BYTES = 65536, MESH_PAYLOAD_MAX_BYTES = 1048576, INPUT_SLACK_BYTES = 65536 };

const struct option_def cmd_update_node_options[] = {
    {"file", 'f', "FILE", "what to say, from a file; - is standard input"},
    {"remove", 0, NULL, "take back what this node said of TYPE"},
    BROADCAST_OPTION_WAIT,
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_update_mesh_options[] = {
    {"file", 'f', "FILE", "what to say, from a file; - is standard input"},
    {"id", 0, "ID", "id of the update: sent again with it, it is no second one"},
    BROADCAST_OPTION_WAIT,
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_update_db_options[] = {
    {"key", 'k', "JSON", "object: the columns that name the row"},
    {"row", 'r', "JSON", "object: columns and their values"},
    {"id", 0, "ID", "id of the update: sent again with it, it is no second one"},
    BROADCAST_OPTION_WAIT,
    {NULL, 0, NULL, NULL},
};

/* --id, or a new one. */
static int
take_id(const struct args *a, char out[ULID_TEXT_SIZE])
{
	const char *text = args_str(a, "id", NULL);
	uint8_t random[10];
	struct ulid id;

	if (text == NULL) {
		crypto_random(random, sizeof(random));
		ulid_make(&id, clock_unix_ms(), random);
	} else if (ulid_parse(text, &id) != 0) {
		out_error("--id: '%s' is not an id (26 characters; meshctl id makes one)", text);
		return CODE_USAGE;
	}
	ulid_format(out, &id);
	return CODE_OK;
}

static int
take_type(const struct args *a, char *out, size_t size)
{
	if (args_copy_word(a, 0, "type", out, size) != 0)
		return CODE_USAGE;
	if (out[0] != '\0')
		return CODE_OK;
	out_error("type: 1 to %zu characters", size - 1);
	return CODE_USAGE;
}

/* The text of the operand, or the file.  An exit_code. */
static int
take_payload(const struct args *a, size_t max, struct buf *out)
{
	const char *file = args_str(a, "file", NULL), *text = args_word(a, 1);

	if ((file != NULL) == (text != NULL)) {
		out_error("what is to be said? give either TEXT or --file FILE (- is standard input)");
		return CODE_USAGE;
	}
	if (text != NULL && strcmp(text, "-") == 0)
		file = text;
	if (file != NULL)
		return input_read(file, max, out);
	if (strlen(text) > max) {
		out_error("text: at most %zu bytes", max);
		return CODE_USAGE;
	}
	return buf_put_bytes(out, text, strlen(text)) == 0 ? CODE_OK : CODE_FAILED;
}

int
cmd_update_node(struct ctl *ctl, const struct args *a)
{
	mesh_v1_NodeUpdate req = mesh_v1_NodeUpdate_init_zero;
	const struct broadcast_update update = {
	    .method = MESH "SendNodeUpdate", .fields = mesh_v1_NodeUpdate_fields, .request = &req};
	struct pb_slice payload;
	struct buf b;
	int code = take_type(a, req.type, sizeof(req.type));

	req.removed = args_flag(a, "remove");
	if (code == CODE_OK && req.removed && (args_str(a, "file", NULL) != NULL || a->word_count > 1)) {
		out_error("--remove: there is nothing to be said then");
		return CODE_USAGE;
	}
	buf_init(&b, NODE_PAYLOAD_MAX_BYTES + INPUT_SLACK_BYTES);
	if (code == CODE_OK && !req.removed)
		code = take_payload(a, NODE_PAYLOAD_MAX_BYTES, &b);
	if (code == CODE_OK)
		code = broadcast_wait(ctl, a, &req.wait);
	req.has_wait = true;
	payload = (struct pb_slice){buf_head(&b), buf_left(&b)};
	pb_slice_encode(&req.payload, &payload);
	if (code == CODE_OK)
		code = broadcast_send(ctl, &update);
	buf_fini(&b);
	return code;
}

int
cmd_update_mesh(struct ctl *ctl, const struct args *a)
{
	mesh_v1_MeshUpdate req = mesh_v1_MeshUpdate_init_zero;
	const struct broadcast_update update = {.method = MESH "SendMeshUpdate",
	    .fields = mesh_v1_MeshUpdate_fields,
	    .request = &req,
	    .update_id = req.update_id};
	struct pb_slice payload;
	struct buf b;
	int code = take_type(a, req.type, sizeof(req.type));

	buf_init(&b, MESH_PAYLOAD_MAX_BYTES + INPUT_SLACK_BYTES);
	if (code == CODE_OK)
		code = take_id(a, req.update_id);
	if (code == CODE_OK)
		code = take_payload(a, MESH_PAYLOAD_MAX_BYTES, &b);
	if (code == CODE_OK)
		code = broadcast_wait(ctl, a, &req.wait);
	req.has_wait = true;
	payload = (struct pb_slice){buf_head(&b), buf_left(&b)};
	pb_slice_encode(&req.payload, &payload);
	if (code == CODE_OK)
		code = broadcast_send(ctl, &update);
	buf_fini(&b);
	return code;
}

/* An option that is a JSON object. */
static int
take_object(const struct args *a, const char *name, struct pb_slice *out)
{
	const char *text = args_str(a, name, NULL);
	char what[16];

	*out =
	    (struct pb_slice){(const uint8_t *)(text != NULL ? text : ""), text != NULL ? strlen(text) : 0};
	snprintf(what, sizeof(what), "--%s", name);
	return text != NULL ? json_text_check(what, text, true, MESH_PAYLOAD_MAX_BYTES) : CODE_OK;
}

static int
take_row(const struct args *a, mesh_v1_DBUpdate *req, struct pb_slice *key, struct pb_slice *row)
{
	int code = take_id(a, req->update_id);

	if (args_copy_word(a, 0, "table", req->table, sizeof(req->table)) != 0 ||
	    args_copy_word(a, 1, "operation", req->operation, sizeof(req->operation)) != 0)
		return CODE_USAGE;
	if (code == CODE_OK)
		code = take_object(a, "key", key);
	if (code == CODE_OK)
		code = take_object(a, "row", row);
	if (code != CODE_OK)
		return code;
	if (key->len == 0 && row->len == 0) {
		out_error("which row? give --key JSON, --row JSON or both");
		return CODE_USAGE;
	}
	if (key->len + row->len > MESH_PAYLOAD_MAX_BYTES) {
		out_error("--key and --row: at most %d bytes together", MESH_PAYLOAD_MAX_BYTES);
		return CODE_USAGE;
	}
	return CODE_OK;
}

int
cmd_update_db(struct ctl *ctl, const struct args *a)
{
	mesh_v1_DBUpdate req = mesh_v1_DBUpdate_init_zero;
	const struct broadcast_update update = {.method = MESH "SendInternalDBUpdate",
	    .fields = mesh_v1_DBUpdate_fields,
	    .request = &req,
	    .update_id = req.update_id};
	struct pb_slice key, row;
	int code = take_row(a, &req, &key, &row);

	if (code == CODE_OK)
		code = broadcast_wait(ctl, a, &req.wait);
	if (code != CODE_OK)
		return code;
	req.has_wait = true;
	pb_slice_encode(&req.key, &key);
	pb_slice_encode(&req.row, &row);
	return broadcast_send(ctl, &update);
}
