/* cmd_stream: `meshctl stream pause`, `resume`, `throttle`, `unthrottle` and `rules`. */
#include <stdint.h>
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

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define METHOD "/mesh.v1.MeshService/ControlStreams"

enum { SCOPE_SIZE = 160, SPEED_SIZE = 64, VALUE_SIZE = 32 };

#define SCOPE_OPTIONS                                                                                        \
	{"tenant", 't', "TENANT", "streams of this tenant"},                                                 \
	    {"priority", 'p', "A-B", "streams with a priority from A to B, or just A"},                      \
	{                                                                                                    \
		"all", 'a', NULL, "all streams of the node"                                                  \
	}

const struct option_def cmd_stream_pause_options[] = {
    SCOPE_OPTIONS,
    {"side", 0, "SIDE", "where the node is source, target or both (default)"},
    {"reason", 'r', "TEXT", "shown to whoever looks at the streams"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_stream_resume_options[] = {
    SCOPE_OPTIONS,
    {"side", 0, "SIDE", "where the node is source, target or both (default)"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_stream_throttle_options[] = {
    SCOPE_OPTIONS,
    {"rate", 'R', "N/s", "at most N messages a second"},
    {"bytes", 'b', "SIZE/s", "at most so many bytes a second, such as 5MB/s"},
    {"reason", 'r', "TEXT", "shown to whoever looks at the streams"},
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_stream_unthrottle_options[] = {
    SCOPE_OPTIONS,
    {NULL, 0, NULL, NULL},
};

/* --- what is given --- */

static int
one_priority(const char **text, int32_t *out)
{
	char *end;
	long v = strtol(*text, &end, 10);

	if (end == *text || v < INT32_MIN || v > INT32_MAX)
		return -1;
	*text = end;
	*out = (int32_t)v;
	return 0;
}

/* "A-B", "A": both may have a sign. */
static int
take_priority(const char *text, mesh_v1_StreamControlReq *req)
{
	const char *p = text;
	int err;

	if (text == NULL)
		return CODE_OK;
	err = one_priority(&p, &req->min_priority);
	req->max_priority = req->min_priority;
	if (err == 0 && *p == '-') {
		p++;
		err = one_priority(&p, &req->max_priority);
	}
	if (err != 0 || *p != '\0' || req->min_priority > req->max_priority) {
		out_error("--priority '%s': a number, or two like 1-5", text);
		return CODE_USAGE;
	}
	req->has_min_priority = req->has_max_priority = true;
	return CODE_OK;
}

/* A size or a number, with or without "/s"; 0 if it is not given. */
static int
take_speed(const struct args *a, const char *name, int64_t *out)
{
	char plain[SPEED_SIZE];
	const char *text = args_str(a, name, "");
	size_t len = strlen(text);
	struct args one = {.given_count = 0};

	*out = 0;
	if (len == 0)
		return CODE_OK;
	if (len >= 2 && strcmp(text + len - 2, "/s") == 0)
		len -= 2;
	snprintf(plain, sizeof(plain), "%.*s", (int)len, text);
	for (size_t i = 0; i < a->given_count; i++) {
		if (strcmp(a->given[i].def->name, name) == 0)
			one.given[0] = (struct args_given){a->given[i].def, plain};
	}
	one.given_count = 1;
	if (strcmp(name, "bytes") == 0 ? args_size(&one, name, 0, out) != 0
				       : args_int(&one, name, 0, 1, INT64_C(1000000000000), out) != 0)
		return CODE_USAGE;
	if (*out > 0)
		return CODE_OK;
	out_error("--%s has to be above 0", name);
	return CODE_USAGE;
}

static int
take_streams(const struct args *a, mesh_v1_StreamControlReq *req)
{
	struct ulid id;

	if (a->word_count > COUNT(req->stream_ids)) {
		out_error("at most %zu streams can be named", COUNT(req->stream_ids));
		return CODE_USAGE;
	}
	for (size_t i = 0; i < a->word_count; i++) {
		if (ulid_parse(args_word(a, i), &id) != 0) {
			out_error("'%s' is not a stream id (26 characters; meshctl streams lists them)",
			    args_word(a, i));
			return CODE_USAGE;
		}
		snprintf(req->stream_ids[i], sizeof(req->stream_ids[i]), "%s", args_word(a, i));
	}
	req->stream_ids_count = (pb_size_t)a->word_count;
	return CODE_OK;
}

/* Nothing is meant by nothing: all streams have to be asked for. */
static int
take_scope(const struct args *a, mesh_v1_StreamControlReq *req)
{
	bool some =
	    a->word_count > 0 || args_str(a, "tenant", NULL) != NULL || args_str(a, "priority", NULL) != NULL;
	int code = take_streams(a, req);

	if (code == CODE_OK && some == args_flag(a, "all")) {
		out_error("which streams: STREAM ..., --tenant, --priority, or --all alone");
		return CODE_USAGE;
	}
	if (code == CODE_OK && args_copy(a, "tenant", req->tenant_id, sizeof(req->tenant_id)) != 0)
		code = CODE_USAGE;
	return code == CODE_OK ? take_priority(args_str(a, "priority", NULL), req) : code;
}

/* --- rules --- */

static const char *
text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : "";
}

static void
scope_text(const json_t *rule, char out[SCOPE_SIZE])
{
	const json_t *low = json_object_get(rule, "min_priority"),
		     *high = json_object_get(rule, "max_priority");
	const char *stream = text_of(rule, "stream_id"), *tenant = text_of(rule, "tenant_id");
	size_t n = 0;

	if (stream[0] != '\0')
		n += (size_t)snprintf(out + n, SCOPE_SIZE - n, "%s ", stream);
	if (tenant[0] != '\0')
		n += (size_t)snprintf(out + n, SCOPE_SIZE - n, "tenant %s ", tenant);
	if (low != NULL || high != NULL) {
		n += (size_t)snprintf(out + n, SCOPE_SIZE - n, "priority ");
		if (low != NULL)
			n += (size_t)snprintf(
			    out + n, SCOPE_SIZE - n, "%lld", (long long)json_integer_value(low));
		n += (size_t)snprintf(out + n, SCOPE_SIZE - n, "-");
		if (high != NULL)
			n += (size_t)snprintf(
			    out + n, SCOPE_SIZE - n, "%lld", (long long)json_integer_value(high));
		n += (size_t)snprintf(out + n, SCOPE_SIZE - n, " ");
	}
	if (n == 0)
		n = (size_t)snprintf(out, SCOPE_SIZE, "all ");
	out[n - 1] = '\0';
}

static void
what_text(const json_t *rule, char out[SCOPE_SIZE])
{
	json_int_t messages = json_integer_value(json_object_get(rule, "messages_per_s"));
	char bytes[VALUE_SIZE];
	size_t n;

	n = (size_t)snprintf(out, SCOPE_SIZE, "%s%s",
	    json_is_true(json_object_get(rule, "exception")) ? "no " : "", text_of(rule, "kind"));
	if (messages != 0)
		n += (size_t)snprintf(out + n, SCOPE_SIZE - n, " %lld/s", (long long)messages);
	if (json_integer_value(json_object_get(rule, "bytes_per_s")) != 0)
		snprintf(out + n, SCOPE_SIZE - n, " %s/s",
		    out_format(COLUMN_BYTES, json_object_get(rule, "bytes_per_s"), bytes, sizeof(bytes)));
}

static void
show_rules(const struct ctl *ctl, json_t *rules)
{
	static const struct column columns[] = {{"RULE", "what", COLUMN_TEXT}, {"SIDE", "side", COLUMN_TEXT},
	    {"OF", "scope", COLUMN_TEXT}, {"STREAMS", "streams", COLUMN_COUNT},
	    {"AGE", "created_at", COLUMN_AGE_MS}, {"REASON", "reason", COLUMN_TEXT}};
	char text[SCOPE_SIZE];
	json_t *rule;
	size_t i;

	json_array_foreach (rules, i, rule) {
		if (ctl->json)
			break;
		scope_text(rule, text);
		json_object_set_new(rule, "scope", json_string(text));
		what_text(rule, text);
		json_object_set_new(rule, "what", json_string(text));
	}
	out_table(ctl, columns, COUNT(columns), rules, "no rule");
}

static int
call(struct ctl *ctl, const mesh_v1_StreamControlReq *req, bool show)
{
	json_t *rules;
	int code = fetch_pb(ctl, METHOD, mesh_v1_StreamControlReq_fields, req, api_json_stream_rules, &rules);

	if (code != CODE_OK)
		return code;
	if (show || ctl->json)
		show_rules(ctl, rules);
	json_decref(rules);
	return CODE_OK;
}

static int
control(struct ctl *ctl, const struct args *a, const char *action)
{
	mesh_v1_StreamControlReq req = mesh_v1_StreamControlReq_init_zero;
	int code = take_scope(a, &req);

	snprintf(req.action, sizeof(req.action), "%s", action);
	if (code == CODE_OK && (args_copy(a, "side", req.side, sizeof(req.side)) != 0 ||
				   args_copy(a, "reason", req.reason, sizeof(req.reason)) != 0))
		code = CODE_USAGE;
	if (code == CODE_OK && strcmp(action, "throttle") == 0) {
		code = take_speed(a, "rate", &req.messages_per_s);
		if (code == CODE_OK)
			code = take_speed(a, "bytes", &req.bytes_per_s);
	}
	return code == CODE_OK ? call(ctl, &req, false) : code;
}

int
cmd_stream_pause(struct ctl *ctl, const struct args *a)
{
	return control(ctl, a, "pause");
}

int
cmd_stream_resume(struct ctl *ctl, const struct args *a)
{
	return control(ctl, a, "resume");
}

int
cmd_stream_throttle(struct ctl *ctl, const struct args *a)
{
	return control(ctl, a, "throttle");
}

int
cmd_stream_unthrottle(struct ctl *ctl, const struct args *a)
{
	return control(ctl, a, "unthrottle");
}

int
cmd_stream_rules(struct ctl *ctl, const struct args *a)
{
	mesh_v1_StreamControlReq req = mesh_v1_StreamControlReq_init_zero;

	(void)a;
	snprintf(req.action, sizeof(req.action), "list");
	return call(ctl, &req, true);
}
