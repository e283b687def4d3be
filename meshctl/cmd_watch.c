/* cmd_watch: `meshctl watch`: events of the mesh as they happen. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/client.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

struct watch {
	const struct ctl *ctl;
	struct client *client;
	int64_t left; /* events still to print; -1: no limit */
	int code;
};

const struct option_def cmd_watch_options[] = {
    {"type", 't', "TYPE", "only events of this type"},
    {"count", 'n', "N", "end after N events"},
    {NULL, 0, NULL, NULL},
};

static void
event_print(const json_t *e)
{
	char when[32];
	const char *key;
	json_t *value;

	out_format(COLUMN_TIME_MS, json_object_get(e, "timestamp"), when, sizeof(when));
	printf("%s %s", when, json_string_value(json_object_get(e, "event_type")));
	json_object_foreach (json_object_get(e, "metadata"), key, value) {
		char text[160];

		printf(" %s=%s", key, out_format(COLUMN_TEXT, value, text, sizeof(text)));
	}
	putchar('\n');
	fflush(stdout);
}

static void
on_event(void *arg, const uint8_t *data, size_t len)
{
	struct watch *w = arg;
	json_t *e = w->left != 0 ? api_json_event(data, len) : NULL;

	if (e == NULL)
		return;
	if (w->ctl->json)
		out_json_line(e);
	else
		event_print(e);
	json_decref(e);
	if (w->left > 0 && --w->left == 0)
		client_stop(w->client);
}

static void
on_end(void *arg, uint32_t status, const char *message)
{
	struct watch *w = arg;

	w->code = client_code("watch", status, message);
	client_stop(w->client);
}

int
cmd_watch(struct ctl *ctl, const struct args *a)
{
	static const struct client_call_ops ops = {.on_message = on_event, .on_status = on_end};
	mesh_v1_Filter filter = mesh_v1_Filter_init_zero;
	struct watch w = {.ctl = ctl, .code = CODE_OK};
	uint8_t mem[mesh_v1_Filter_size];
	struct client_call *call;
	struct buf request;
	int code;

	if (args_int(a, "count", -1, 1, INT32_MAX, &w.left) != 0)
		return CODE_USAGE;
	if (snprintf(filter.type, sizeof(filter.type), "%s", args_str(a, "type", "")) >=
	    (int)sizeof(filter.type)) {
		out_error("--type: at most %zu characters", sizeof(filter.type) - 1);
		return CODE_USAGE;
	}
	buf_init_fixed(&request, mem, sizeof(mem));
	if (pb_pack(&request, mesh_v1_Filter_fields, &filter) != 0)
		return CODE_FAILED;
	code = client_open(ctl, 0, &w.client);
	if (code != CODE_OK)
		return code;
	call = client_call(w.client, "/mesh.v1.MeshService/WatchMeshEvents", buf_head(&request),
	    buf_left(&request), &ops, &w);
	if (call != NULL)
		client_run(w.client);
	else
		w.code = CODE_UNREACHABLE;
	client_free(w.client);
	return w.code;
}
