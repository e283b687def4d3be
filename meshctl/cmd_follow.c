/* cmd_follow: `meshctl update follow`: updates as they come, acknowledged when they are printed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/os/loop.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/client.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

#define DATA "/mesh.v1.MeshDataService/"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { WINDOW_MAX = 65536 };

const struct option_def cmd_update_follow_options[] = {
    {"subscriber", 0, "NAME", "keep the position under this name: the next time begins after it"},
    {"from", 0, "POSITION", "those after this one; 0: all that are kept"},
    {"type", 't', "TYPE", "only updates of this type, or of this table (may be repeated)"},
    {"count", 'n', "N", "end after N updates"},
    {"window", 'w', "N", "updates that may be sent unacknowledged (default 256)"},
    {"no-ack", 0, NULL, "acknowledge nothing: no more than the window come"},
    {NULL, 0, NULL, NULL},
};

struct kind {
	const char *name, *method;
	json_t *(*make)(const void *data, size_t len);
};

static const struct kind kinds[] = {
    {"mesh", DATA "SubscribeMeshUpdates", api_json_mesh_update},
    {"node", DATA "SubscribeNodeUpdates", api_json_node_update},
    {"db", DATA "SubscribeInternalDBUpdates", api_json_db_update},
};

struct follow {
	const struct ctl *ctl;
	const struct kind *kind;
	struct client *client;
	struct client_call *call;
	struct loop_defer commit;
	int64_t left;           /* updates still to print; -1: no limit */
	int64_t printed, acked; /* positions */
	bool no_ack;
	int code;
};

static void
stop(struct follow *f, int code)
{
	f->code = code;
	client_stop(f->client);
}

/* --- acknowledging --- */

/* What was printed has arrived where standard output goes, then it is acknowledged. */
static void
on_commit(void *arg)
{
	mesh_v1_SubscribeReq req = mesh_v1_SubscribeReq_init_zero;
	uint8_t mem[mesh_v1_SubscribeReq_size];
	struct follow *f = arg;
	struct buf b;

	if (f->code != CODE_OK)
		return;
	if (fflush(stdout) != 0 || ferror(stdout)) {
		stop(f, CODE_FAILED); /* main() says why */
		return;
	}
	req.ack = f->printed;
	buf_init_fixed(&b, mem, sizeof(mem));
	if (!f->no_ack && f->printed > f->acked && f->call != NULL &&
	    pb_pack(&b, mesh_v1_SubscribeReq_fields, &req) == 0 &&
	    client_call_send(f->call, buf_head(&b), buf_left(&b)) == 0)
		f->acked = f->printed;
	if (f->left == 0)
		client_stop(f->client);
}

/* consensusd takes messages in their order: when it answers this, it has the acks that were sent before. */
static int
confirm(struct follow *f)
{
	struct buf reply;
	int code;

	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	code = client_unary(f->client, "/mesh.v1.MeshStatusService/GetNodeStatus", NULL, &reply);
	buf_fini(&reply);
	return code;
}

/* --- printing --- */

/* Text of others, whatever its length: nothing of it may act on the terminal. */
static void
print_text(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		putchar((unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i]);
}

static void
print_field(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);

	if (value == NULL || (json_is_string(value) && json_string_length(value) == 0))
		return;
	putchar(' ');
	if (json_is_string(value))
		print_text(json_string_value(value), json_string_length(value));
	else
		json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* "17 2026-11-26 09:00:00 2V5K... kind payload" */
static void
print_update(const json_t *o)
{
	static const char *const keys[] = {"node_id", "type", "table", "operation", "key", "row", "status",
	    "error", "payload", "payload_base64"};
	char when[32];

	printf("%" PRId64 " %s", (int64_t)json_integer_value(json_object_get(o, "position")),
	    out_format(COLUMN_TIME_MS, json_object_get(o, "timestamp"), when, sizeof(when)));
	for (size_t i = 0; i < COUNT(keys); i++)
		print_field(o, keys[i]);
	if (json_object_get(o, "version") != NULL)
		printf(" (version %" PRId64 "%s)", (int64_t)json_integer_value(json_object_get(o, "version")),
		    json_is_true(json_object_get(o, "removed")) ? ", removed" : "");
	putchar('\n');
}

static void
on_message(void *arg, const uint8_t *data, size_t len)
{
	struct follow *f = arg;
	json_t *o = f->left != 0 && f->code == CODE_OK ? f->kind->make(data, len) : NULL;

	if (o == NULL) {
		if (f->left != 0 && f->code == CODE_OK)
			stop(f, CODE_FAILED);
		return;
	}
	if (f->ctl->json)
		out_json_line(o);
	else
		print_update(o);
	f->printed = json_integer_value(json_object_get(o, "position"));
	json_decref(o);
	if (f->left > 0)
		f->left--;
	loop_defer_add(client_loop(f->client), &f->commit);
}

static void
on_status(void *arg, uint32_t status, const char *message)
{
	struct follow *f = arg;

	f->call = NULL;
	if (status == CLIENT_OK) {
		out_error("the node ended the subscription");
		stop(f, CODE_FAILED);
	} else {
		stop(f, client_code("update follow", status, message));
	}
}

/* --- the call --- */

static int
request_init(mesh_v1_SubscribeReq *req, const struct args *a)
{
	const char *type;
	int64_t from;

	*req = (mesh_v1_SubscribeReq)mesh_v1_SubscribeReq_init_zero;
	if (args_copy(a, "subscriber", req->subscriber, sizeof(req->subscriber)) != 0 ||
	    args_int(a, "from", 0, 0, INT64_MAX, &from) != 0 ||
	    args_int(a, "window", 0, 1, WINDOW_MAX, &req->window) != 0)
		return CODE_USAGE;
	req->has_from = args_str(a, "from", NULL) != NULL;
	req->from = from;
	while ((type = args_item(a, "type", req->types_count)) != NULL) {
		if (req->types_count == COUNT(req->types) || strlen(type) >= sizeof(req->types[0])) {
			out_error("--type: at most %zu, of at most %zu characters each", COUNT(req->types),
			    sizeof(req->types[0]) - 1);
			return CODE_USAGE;
		}
		memcpy(req->types[req->types_count++], type, strlen(type) + 1);
	}
	return CODE_OK;
}

static int
session(struct follow *f, const mesh_v1_SubscribeReq *req)
{
	static const struct client_call_ops ops = {.on_message = on_message, .on_status = on_status};
	uint8_t mem[mesh_v1_SubscribeReq_size];
	struct buf b;
	bool interrupted;
	int code;

	buf_init_fixed(&b, mem, sizeof(mem));
	if (pb_pack(&b, mesh_v1_SubscribeReq_fields, req) != 0)
		return CODE_FAILED;
	f->call = client_call(f->client, f->kind->method, buf_head(&b), buf_left(&b), &ops, f);
	if (f->call == NULL)
		return CODE_UNREACHABLE;
	client_run(f->client);
	interrupted = client_interrupted(f->client);
	loop_defer_del(&f->commit);
	if (f->code == CODE_OK && f->printed > f->acked && !client_lost(f->client))
		on_commit(f);
	code = f->code;
	if (code == CODE_OK && f->acked > 0 && !client_lost(f->client))
		code = confirm(f);
	return code == CODE_OK && interrupted ? CODE_INTERRUPTED : code;
}

int
cmd_update_follow(struct ctl *ctl, const struct args *a)
{
	struct follow f = {.ctl = ctl, .code = CODE_OK, .no_ack = args_flag(a, "no-ack")};
	const char *what = args_word(a, 0);
	mesh_v1_SubscribeReq req;
	int code;

	f.commit = (struct loop_defer){.fn = on_commit, .arg = &f};
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (strcmp(kinds[i].name, what) == 0)
			f.kind = &kinds[i];
	if (f.kind == NULL) {
		out_error("'%s' is none of: mesh, node, db", what);
		return CODE_USAGE;
	}
	if (args_int(a, "count", -1, 1, INT64_MAX, &f.left) != 0)
		return CODE_USAGE;
	code = request_init(&req, a);
	if (code == CODE_OK)
		code = client_open(ctl, 0, &f.client);
	if (code == CODE_OK)
		code = session(&f, &req);
	client_free(f.client);
	return code;
}
