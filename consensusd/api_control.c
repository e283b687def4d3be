/* api: what operators say of streams; see api.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api_impl.h"
#include "consensusd/engine.h"
#include "consensusd/regulator.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum { API_CONTROL_MAX_BYTES = 256 * 1024 };

/* --- the answer --- */

static bool
may_see(const struct engine *e, const struct call *call, const struct store_stream *row)
{
	return acl_may_see(e->acl, call->who, row->tenant_id, &row->stream_id);
}

/* Streams that the client may know of. */
static int
decided(const struct engine *e, const struct call *call, const struct control *c)
{
	const struct source *s, *s_next;
	const struct sink *k, *k_next;
	int n = 0;

	HASH_ITER (hh, e->sources, s, s_next)
		n += (s->pause == c || s->limit == c) && may_see(e, call, &s->row);
	HASH_ITER (hh, e->sinks, k, k_next)
		n += k->pause == c && may_see(e, call, &k->row);
	return n;
}

static void
fill(mesh_v1_StreamRule *out, const struct engine *e, const struct call *call, const struct control *c)
{
	snprintf(out->kind, sizeof(out->kind), "%s", control_kind_name(c->kind));
	snprintf(out->side, sizeof(out->side), "%s", control_side_name(c->side));
	snprintf(out->tenant_id, sizeof(out->tenant_id), "%s", c->scope.tenant);
	snprintf(out->reason, sizeof(out->reason), "%s", c->reason);
	if (!ulid_is_zero(&c->scope.stream_id))
		ulid_format(out->stream_id, &c->scope.stream_id);
	out->exception = c->exception;
	out->has_min_priority = c->scope.min_priority != INT32_MIN;
	out->min_priority = c->scope.min_priority;
	out->has_max_priority = c->scope.max_priority != INT32_MAX;
	out->max_priority = c->scope.max_priority;
	out->messages_per_s = c->messages_per_s;
	out->bytes_per_s = c->bytes_per_s;
	out->created_at = (int64_t)c->created_unix_ms;
	out->streams = decided(e, call, c);
}

/* May the client know of, or say, something of these streams?  What is said of all concerns everybody. */
static bool
may_scope(const struct engine *e, const struct call *call, const struct control_scope *scope, bool all)
{
	const struct store_stream *row;

	if (acl_may_see_all(e->acl, call->who))
		return true;
	if (!ulid_is_zero(&scope->stream_id)) {
		row = api_stream_row(e, &scope->stream_id);
		return row != NULL && may_see(e, call, row);
	}
	return scope->tenant[0] != '\0' ? acl_may_see(e->acl, call->who, scope->tenant, NULL) : all;
}

/* Each rule packed into all, whose memory moves while it grows: so where they are is told at the end. */
static int
rules_pack(struct buf *all, struct pb_list *list, struct pb_slice *items, const struct engine *e,
    const struct call *call)
{
	const struct controls *c = regulator_controls(e->regulator);
	size_t at = 0;
	int err = 0;

	for (size_t i = 0; i < c->count && err == 0; i++) {
		mesh_v1_StreamRule rule = mesh_v1_StreamRule_init_zero;

		if (!may_scope(e, call, &c->all[i]->scope, true))
			continue;
		fill(&rule, e, call, c->all[i]);
		err = pb_pack(all, mesh_v1_StreamRule_fields, &rule);
		items[list->count].len = buf_left(all) - at;
		at += items[list->count++].len;
	}
	at = 0;
	for (size_t i = 0; i < list->count && err == 0; i++) {
		items[i].data = buf_head(all) + at;
		at += items[i].len;
	}
	return err;
}

static void
reply(struct call *call, const struct engine *e)
{
	mesh_v1_StreamControlList m = mesh_v1_StreamControlList_init_zero;
	struct pb_slice items[CONTROLS_MAX];
	struct pb_list list = {items, 0};
	struct buf all;
	int err;

	buf_init(&all, API_CONTROL_MAX_BYTES);
	err = rules_pack(&all, &list, items, e, call);
	pb_list_encode(&m.rules, &list);
	if (err == 0)
		api_reply_message(call, mesh_v1_StreamControlList_fields, &m, API_CONTROL_MAX_BYTES);
	else
		call_done(call, CODE_RESOURCE_EXHAUSTED, "the answer can't be made: %s", err_text(err));
	buf_fini(&all);
}

void
api_control_durable(struct api *a, uint64_t handle)
{
	struct call *call = call_find(&a->calls, handle);

	if (call != NULL)
		reply(call, a->engine);
}

/* --- the request --- */

struct action {
	const char *name;
	enum control_kind kind;
	bool drop;
};

static const struct action *
find_action(const char *name)
{
	static const struct action actions[] = {
	    {"pause", CONTROL_PAUSE, false},
	    {"resume", CONTROL_PAUSE, true},
	    {"throttle", CONTROL_THROTTLE, false},
	    {"unthrottle", CONTROL_THROTTLE, true},
	};

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	}
	return NULL;
}

/* Why a throttle can't be as it is asked for; NULL: it can. */
static const char *
bad_rates(const struct action *act, const mesh_v1_StreamControlReq *in)
{
	bool some = in->messages_per_s != 0 || in->bytes_per_s != 0;

	if (act->kind == CONTROL_THROTTLE && strcmp(in->side, "target") == 0)
		return "streams are throttled where this node is their source";
	if (act->kind == CONTROL_PAUSE || act->drop)
		return some ? "rates are for throttle" : NULL;
	if (!some)
		return "throttle needs messages_per_s, bytes_per_s or both";
	if (in->messages_per_s < 0 || in->messages_per_s > THROTTLE_RATE_MAX || in->bytes_per_s < 0 ||
	    in->bytes_per_s > THROTTLE_RATE_MAX)
		return "rates are from 0 to 10^12 per second";
	return NULL;
}

/* The rule that is asked for, but for stream and side; false: the call was ended. */
static bool
fill_control(
    struct call *call, const struct action *act, const mesh_v1_StreamControlReq *in, struct control *c)
{
	const char *why = bad_rates(act, in);

	*c = (struct control){
	    .kind = act->kind,
	    .messages_per_s = in->messages_per_s,
	    .bytes_per_s = in->bytes_per_s,
	    .created_unix_ms = clock_unix_ms(),
	    .scope.min_priority = in->has_min_priority ? in->min_priority : INT32_MIN,
	    .scope.max_priority = in->has_max_priority ? in->max_priority : INT32_MAX,
	};
	snprintf(c->scope.tenant, sizeof(c->scope.tenant), "%s", in->tenant_id);
	snprintf(c->reason, sizeof(c->reason), "%s", in->reason);
	if (why == NULL && in->tenant_id[0] != '\0' && !tenant_valid(in->tenant_id))
		why = "tenant_id: 1 to 64 of a-z 0-9 . _ -";
	if (why == NULL && c->scope.min_priority > c->scope.max_priority)
		why = "min_priority is above max_priority";
	if (why == NULL && in->side[0] != '\0' && strcmp(in->side, "both") != 0 &&
	    strcmp(in->side, "source") != 0 && strcmp(in->side, "target") != 0)
		why = "side is source, target or both";
	if (why != NULL)
		call_done(call, CODE_INVALID_ARGUMENT, "%s", why);
	return why == NULL;
}

/* One scope, on the sides that are meant. */
static int
change(struct regulator *r, struct control *c, bool drop, const char *side)
{
	int err = 0;

	if (strcmp(side, "target") != 0) {
		c->side = CONTROL_SOURCE;
		err = regulator_set(r, c, drop);
	}
	if (err == 0 && c->kind == CONTROL_PAUSE && strcmp(side, "source") != 0) {
		c->side = CONTROL_TARGET;
		err = regulator_set(r, c, drop);
	}
	return err;
}

static int
change_all(struct regulator *r, struct control *c, bool drop, const mesh_v1_StreamControlReq *in)
{
	int err = 0;

	if (in->stream_ids_count == 0)
		err = change(r, c, drop, in->side);
	for (pb_size_t i = 0; i < in->stream_ids_count && err == 0; i++) {
		err = ulid_parse(in->stream_ids[i], &c->scope.stream_id);
		if (err == 0)
			err = change(r, c, drop, in->side);
	}
	regulator_apply(r);
	return err;
}

static bool
check_ids(struct call *call, const mesh_v1_StreamControlReq *in)
{
	struct ulid id;

	for (pb_size_t i = 0; i < in->stream_ids_count; i++) {
		if (ulid_parse(in->stream_ids[i], &id) == 0 && !ulid_is_zero(&id))
			continue;
		call_done(call, CODE_INVALID_ARGUMENT, "stream_id '%s' is not a ULID", in->stream_ids[i]);
		return false;
	}
	return true;
}

/* Whether policies let the client say this of all the streams that it names; if not, it was told. */
static bool
check_client(struct call *call, const struct engine *e, const mesh_v1_StreamControlReq *in,
    const struct control_scope *scope)
{
	struct control_scope one = *scope;
	bool may = in->stream_ids_count > 0 || may_scope(e, call, scope, false);

	for (pb_size_t i = 0; i < in->stream_ids_count && may; i++)
		may = ulid_parse(in->stream_ids[i], &one.stream_id) == 0 && may_scope(e, call, &one, false);
	if (!may)
		call_done(call, CODE_PERMISSION_DENIED,
		    "policies deny these streams to this client: it has to name a tenant or streams of this "
		    "node "
		    "that it may publish to or subscribe to");
	return may;
}

static void
control(struct call *call, struct engine *e, const mesh_v1_StreamControlReq *in)
{
	const struct action *act = find_action(in->action);
	uint64_t handle = call->handle;
	struct control c;
	int err, waits;

	if (act == NULL) {
		call_done(call, CODE_INVALID_ARGUMENT,
		    "action is pause, resume, throttle, unthrottle or list, not '%s'", in->action);
		return;
	}
	if (!fill_control(call, act, in, &c) || !check_ids(call, in) || !check_client(call, e, in, &c.scope))
		return;
	err = change_all(e->regulator, &c, act->drop, in);
	log_notice("streams: %s, as an operator wants: %s", in->action, err == 0 ? c.reason : err_text(err));
	waits = regulator_notify(e->regulator, handle);
	if (err == ERR_FULL)
		call_done(
		    call, CODE_RESOURCE_EXHAUSTED, "this node has %d rules, as many as it may", CONTROLS_MAX);
	else if (err != 0 || waits < 0)
		call_done(call, CODE_UNAVAILABLE, "it may hold now, but could not be written: %s; try again",
		    err_text(err != 0 ? err : waits));
	else if (waits == 0)
		reply(call, e);
}

void
api_control_streams(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_StreamControlReq in = mesh_v1_StreamControlReq_init_zero;
	struct call *call = api_unary(a, c, m);

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_StreamControlReq_fields, &in) != 0)
		call_done(call, CODE_INVALID_ARGUMENT,
		    "malformed StreamControlReq: a text is too long, or too many streams");
	else if (!a->engine->loaded)
		call_done(call, CODE_UNAVAILABLE, "the database of this node is away");
	else if (strcmp(in.action, "list") == 0)
		reply(call, a->engine);
	else
		control(call, a->engine, &in);
}
