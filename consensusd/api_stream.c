/* api: opening, closing and listing streams; see api.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/acl.h"
#include "consensusd/api_impl.h"
#include "consensusd/api_policy.h"
#include "consensusd/core/node_list.h"
#include "consensusd/api_traffic.h"
#include "consensusd/engine.h"
#include "consensusd/router.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum { API_HANDLE_MAX_BYTES = 8192, API_INFO_MAX_BYTES = 16384, METADATA_SHOWN_MAX = 32 };

static const char *
status_text(struct source *s)
{
	return source_refused_flow(s) != NULL ? "refused" : stream_state_name(s->stream->state);
}

void
api_stream_reply(struct call *call, struct source *s, uint64_t epoch)
{
	mesh_v1_StreamHandle h = mesh_v1_StreamHandle_init_zero;

	memcpy(h.stream_id, s->id_text, sizeof(h.stream_id));
	memcpy(h.tenant_id, s->row.tenant_id, sizeof(h.tenant_id));
	h.target_nodes_count = (pb_size_t)s->row.dst_count;
	for (size_t i = 0; i < s->row.dst_count; i++)
		nodeid_format(h.target_nodes[i], s->row.dst_nodes[i]);
	snprintf(h.status, sizeof(h.status), "%s", status_text(s));
	h.created_at = (int64_t)s->row.created_unix_ms;
	h.next_seq = (int64_t)s->stream->next_seq;
	h.committed_seq = (int64_t)s->stream->committed_seq;
	h.producer_epoch = epoch;
	snprintf(h.ack, sizeof(h.ack), "%s", api_policy_ack_name(s->row.policy.ack));
	h.ack_quorum = (int32_t)s->row.policy.quorum;
	api_reply_message(call, mesh_v1_StreamHandle_fields, &h, API_HANDLE_MAX_BYTES);
}

void
api_stream_opened(struct source *s, uint64_t handle)
{
	struct call *call = call_find(&s->engine->api->calls, handle);

	if (call != NULL)
		api_stream_reply(call, s, s->row.epoch);
}

void
api_stream_fenced(struct source *s, uint64_t handle, uint64_t epoch)
{
	struct call *call = call_find(&s->engine->api->calls, handle);

	api_publish_fenced(s, epoch);
	if (call != NULL)
		api_stream_reply(call, s, epoch);
}

void
api_stream_closing(struct source *s, uint64_t handle)
{
	struct call *call = call_find(&s->engine->api->calls, handle);

	if (call != NULL)
		call_reply(call, NULL, 0);
}

const struct store_stream *
api_stream_row(const struct engine *e, const struct ulid *id)
{
	const struct source *s = source_find(e, id);
	const struct sink *k = s == NULL ? sink_find(e, id) : NULL;

	return s != NULL ? &s->row : k != NULL ? &k->row : NULL;
}

/* --- opening --- */

uint64_t
api_stream_node(struct call *call, const struct engine *e, const char *text)
{
	const struct node *n = nodes_resolve(&e->nodes, text);
	uint64_t id;

	if (n != NULL)
		return n->id;
	if (strcmp(text, e->node_name) == 0 || (nodeid_parse(text, &id) == 0 && id == e->self))
		return e->self;
	if (router_knows_nodes(e->router))
		call_done(call, CODE_NOT_FOUND, "node '%s' is not known here", text);
	else
		call_done(call, CODE_UNAVAILABLE,
		    "node '%s' is not known here yet: this node has just started; try again", text);
	return 0;
}

/* Fills in the targets; false: refused. */
static bool
find_targets(struct call *call, const struct engine *e, const mesh_v1_OpenClientDataStreamReq *req,
    struct store_stream *row)
{
	if (req->target_nodes_count == 0) {
		call_done(
		    call, CODE_INVALID_ARGUMENT, "a stream needs 1 to %d target nodes", STREAM_TARGETS_MAX);
		return false;
	}
	for (pb_size_t i = 0; i < req->target_nodes_count; i++) {
		uint64_t node = api_stream_node(call, e, req->target_nodes[i]);

		if (node == 0)
			return false;
		if (!node_list_has(row->dst_nodes, row->dst_count, node))
			row->dst_nodes[row->dst_count++] = node;
	}
	return true;
}

static bool
same_stream(const struct source *s, const struct store_stream *row)
{
	if (strcmp(s->row.tenant_id, row->tenant_id) != 0 || s->row.dst_count != row->dst_count)
		return false;
	for (size_t i = 0; i < row->dst_count; i++) {
		if (!node_list_has(s->row.dst_nodes, s->row.dst_count, row->dst_nodes[i]))
			return false;
	}
	return true;
}

static void
fence(struct call *call, struct source *s)
{
	int err = source_fence(s, call->handle);

	if (err == ERR_STATE)
		call_done(call, CODE_FAILED_PRECONDITION, "stream %s is being closed", s->id_text);
	else if (err != 0)
		call_done(call, CODE_UNAVAILABLE, "stream %s can't be fenced now: %s; try again", s->id_text,
		    err_text(err));
}

static void
open_again(struct call *call, struct source *s, const struct store_stream *row,
    const mesh_v1_OpenClientDataStreamReq *req)
{
	if (!same_stream(s, row))
		call_done(call, CODE_ALREADY_EXISTS, "stream %s exists with another tenant or other targets",
		    s->id_text);
	else if (!api_policy_same(req, &row->policy, &s->row.policy))
		call_done(call, CODE_ALREADY_EXISTS, "stream %s exists with another policy", s->id_text);
	else if (req->fence && s->stream->state != STREAM_OPENING)
		fence(call, s);
	else if (s->stream->state != STREAM_OPENING)
		api_stream_reply(call, s, s->row.epoch);
	else if (source_wait_open(s, call->handle) != 0)
		call_done(
		    call, CODE_UNAVAILABLE, "too many calls wait for stream %s to be opened", s->id_text);
}

static void
open_new(struct call *call, struct engine *e, struct store_stream *row)
{
	static const struct ulid none;
	struct source *s;
	uint64_t seq;
	const char *why;
	int err;

	if (idcache_find(&e->closed, &row->stream_id, &none, &seq) || sink_find(e, &row->stream_id) != NULL) {
		call_done(call, CODE_ALREADY_EXISTS, "a stream of this id was closed, or is another node's");
		return;
	}
	if (engine_stream_count(e) >= e->streams_max) {
		call_done(call, CODE_RESOURCE_EXHAUSTED,
		    "this node has %zu streams, as many as it may (streams-max)", engine_stream_count(e));
		return;
	}
	err = source_open(e, row, &s);
	if (err == ERR_NOENT)
		call_done(
		    call, CODE_FAILED_PRECONDITION, "this node has no key of tenant %s", row->tenant_id);
	else if (err != 0)
		call_done(call, CODE_UNAVAILABLE, "the stream can't be opened now: %s",
		    engine_held(e, FRAME_CLASS_SYSTEM, &why) ? why : err_text(err));
	else
		MUST(source_wait_open(s, call->handle) == 0);
}

/* Whether policies let the client publish it, and all its targets have it; if not, the call has ended. */
static bool
permitted(struct call *call, const struct engine *e, const struct store_stream *row)
{
	const char *tenant = row->tenant_id;
	char why[ACL_WHY_SIZE];
	bool may = acl_may(e->acl, ACL_PUBLISH, call->who, tenant, &row->stream_id, why);

	for (size_t i = 0; i < row->dst_count && may; i++)
		may = acl_node_may(e->acl, ACL_SUBSCRIBE, row->dst_nodes[i], tenant, &row->stream_id, why);
	if (!may) {
		metric_inc(&stats.acl_publish);
		call_done(call, CODE_PERMISSION_DENIED, "%s", why);
	}
	return may;
}

static bool
slice_is(const struct pb_slice *s, const char *text)
{
	return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}

/* What a stream can be asked for in its metadata; other entries are the application's. */
static bool
take_metadata(struct call *call, const struct pb_raw_list *list, struct store_stream *row)
{
	for (size_t i = 0; i < list->count; i++) {
		mesh_v1_OpenClientDataStreamReq_MetadataEntry e = {0};
		struct pb_slice key = {0}, value = {0};

		pb_slice_decode(&e.key, &key);
		pb_slice_decode(&e.value, &value);
		if (pb_unpack(list->items[i].data, list->items[i].len,
			mesh_v1_OpenClientDataStreamReq_MetadataEntry_fields, &e) != 0) {
			call_done(call, CODE_INVALID_ARGUMENT, "malformed entry of metadata");
			return false;
		}
		if (!slice_is(&key, "striping"))
			continue;
		row->striping = slice_is(&value, "on");
		if (!row->striping && !slice_is(&value, "off")) {
			call_done(call, CODE_INVALID_ARGUMENT, "metadata striping: 'on' or 'off', not '%.*s'",
			    (int)(value.len < METADATA_SHOWN_MAX ? value.len : METADATA_SHOWN_MAX),
			    (const char *)value.data);
			return false;
		}
	}
	return true;
}

/* Who names a stream that is open need not name its targets. */
static bool
fill_targets(const struct engine *e, struct store_stream *row)
{
	const struct source *s = source_find(e, &row->stream_id);

	if (s == NULL)
		return false;
	row->dst_count = s->row.dst_count;
	memcpy(row->dst_nodes, s->row.dst_nodes, sizeof(row->dst_nodes));
	return true;
}

/* What becomes of messages at their targets. */
static bool
take_handler(struct call *call, const mesh_v1_OpenClientDataStreamReq *req, struct policy *p)
{
	int handler = 0;

	while (handler < POLICY_HANDLERS &&
	       strcmp(req->handler, api_policy_handler_name((enum policy_handler)handler)) != 0)
		handler++;
	if (req->handler[0] == '\0')
		handler = POLICY_SUBSCRIBER;
	if (handler == POLICY_HANDLERS)
		call_done(
		    call, CODE_INVALID_ARGUMENT, "handler '%s': subscriber, db or discard", req->handler);
	else if (req->max_attempts < 0 || req->max_attempts > POLICY_ATTEMPTS_MAX)
		call_done(call, CODE_INVALID_ARGUMENT, "max_attempts %ld: 0 (no end) to %d",
		    (long)req->max_attempts, POLICY_ATTEMPTS_MAX);
	else if (req->retry_ms < 0 || req->retry_ms > RETRY_MAX_MS)
		call_done(call, CODE_INVALID_ARGUMENT, "retry_ms %lld: 0 (one second) to %d",
		    (long long)req->retry_ms, RETRY_MAX_MS);
	else {
		p->handler = (enum policy_handler)handler;
		p->max_attempts = (uint32_t)req->max_attempts;
		p->retry_ms = (uint32_t)req->retry_ms;
		return true;
	}
	return false;
}

static bool
fill_row(
    struct call *call, struct engine *e, const mesh_v1_OpenClientDataStreamReq *req, struct store_stream *row)
{
	*row = (struct store_stream){
	    .priority = req->priority,
	    .created_unix_ms = clock_unix_ms(),
	    .epoch = 1,
	};
	if (!tenant_valid(req->tenant_id)) {
		call_done(call, CODE_INVALID_ARGUMENT, "tenant_id '%s': 1 to %d of a-z 0-9 . _ -",
		    req->tenant_id, TENANT_ID_MAX);
		return false;
	}
	memcpy(row->tenant_id, req->tenant_id, sizeof(row->tenant_id));
	memcpy(row->qos, req->qos, sizeof(row->qos));
	if (req->stream_id[0] == '\0') {
		engine_ulid(e, &row->stream_id);
	} else if (ulid_parse(req->stream_id, &row->stream_id) != 0 || ulid_is_zero(&row->stream_id)) {
		call_done(call, CODE_INVALID_ARGUMENT, "stream_id '%s' is not a ULID", req->stream_id);
		return false;
	}
	if (!take_handler(call, req, &row->policy))
		return false;
	if (req->target_nodes_count == 0 && fill_targets(e, row))
		return api_policy_take(call, req, row->dst_count, &row->policy);
	return find_targets(call, e, req, row) && api_policy_take(call, req, row->dst_count, &row->policy);
}

void
api_stream_open(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;
	struct call *call = api_unary(a, c, m);
	struct pb_slice entries[METADATA_MAX];
	struct pb_raw_list metadata = {.items = entries, .max = METADATA_MAX};
	struct store_stream row;
	struct source *s;

	if (call == NULL)
		return;
	pb_raw_list_decode(&req.metadata, &metadata);
	if (pb_unpack(m->body, m->len, mesh_v1_OpenClientDataStreamReq_fields, &req) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT,
		    "malformed OpenClientDataStreamReq: a text is too long, or more than %d targets, or more "
		    "than %d entries of metadata",
		    STREAM_TARGETS_MAX, METADATA_MAX);
		return;
	}
	if (!a->engine->loaded) {
		call_done(call, CODE_UNAVAILABLE, "the database of this node is away");
		return;
	}
	if (!fill_row(call, a->engine, &req, &row) || !take_metadata(call, &metadata, &row) ||
	    !permitted(call, a->engine, &row))
		return;
	s = source_find(a->engine, &row.stream_id);
	if (s != NULL)
		open_again(call, s, &row, &req);
	else
		open_new(call, a->engine, &row);
}

/* --- closing --- */

struct source *
api_stream_find(
    struct call *call, struct engine *e, const char *stream_id, const char *tenant_id, bool *was_closed)
{
	static const struct ulid none;
	struct source *s;
	struct ulid id;
	uint64_t seq;
	char why[ACL_WHY_SIZE];

	*was_closed = false;
	if (ulid_parse(stream_id, &id) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "stream_id '%s' is not a ULID", stream_id);
		return NULL;
	}
	s = source_find(e, &id);
	*was_closed = s == NULL && idcache_find(&e->closed, &id, &none, &seq);
	if (*was_closed)
		return NULL;
	if (s == NULL) {
		call_done(call, CODE_NOT_FOUND, "stream %s is not open at this node", stream_id);
		return NULL;
	}
	if (tenant_id[0] != '\0' && strcmp(tenant_id, s->row.tenant_id) != 0) {
		call_done(call, CODE_PERMISSION_DENIED, "stream %s is not tenant %s's", stream_id, tenant_id);
		return NULL;
	}
	if (!acl_may_publish(s, call->who, why)) {
		metric_inc(&stats.acl_publish);
		call_done(call, CODE_PERMISSION_DENIED, "%s", why);
		return NULL;
	}
	return s;
}

void
api_stream_close(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_StreamHandle h = mesh_v1_StreamHandle_init_zero;
	struct call *call = api_unary(a, c, m);
	struct source *s;
	bool was_closed;
	int err;

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_StreamHandle_fields, &h) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "malformed StreamHandle");
		return;
	}
	if (!a->engine->loaded) {
		call_done(call, CODE_UNAVAILABLE, "the database of this node is away");
		return;
	}
	s = api_stream_find(call, a->engine, h.stream_id, h.tenant_id, &was_closed);
	if (was_closed)
		call_reply(call, NULL, 0); /* the same answer */
	if (s == NULL)
		return;
	err = source_close(s, call->handle);
	if (err != 0)
		call_done(call, CODE_UNAVAILABLE, "stream %s can't be closed now: %s; try again", s->id_text,
		    err_text(err));
}

/* --- listing --- */

static void
fill_progress(struct source *s, mesh_v1_StreamInfo *info)
{
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		const struct flow *f = s->flows[i].flow;
		mesh_v1_TargetProgress *t;

		if (!flow_matters(f))
			continue;
		t = &info->targets[info->targets_count++];

		nodeid_format(t->node_id, f->node);
		t->stored_seq = (int64_t)f->stored;
		t->processed_seq = (int64_t)f->processed;
		t->in_flight_bytes = (int64_t)f->inflight_bytes;
		t->retransmits = (int64_t)f->retransmits;
		snprintf(t->state, sizeof(t->state), "%s", flow_state_name(f->state));
		snprintf(t->error, sizeof(t->error), "%.*s", (int)sizeof(t->error) - 1, s->flows[i].error);
	}
}

static void
fill_common(mesh_v1_StreamInfo *info, const struct store_stream *row, const char *id, const char *role)
{
	memcpy(info->stream_id, id, sizeof(info->stream_id));
	memcpy(info->tenant_id, row->tenant_id, sizeof(info->tenant_id));
	snprintf(info->role, sizeof(info->role), "%s", role);
	nodeid_format(info->source_node, row->src_node);
	memcpy(info->qos, row->qos, sizeof(info->qos));
	info->priority = row->priority;
	info->striping = row->striping;
	info->created_at = (int64_t)row->created_unix_ms;
	info->producer_epoch = row->epoch;
	snprintf(info->handler, sizeof(info->handler), "%s", api_policy_handler_name(row->policy.handler));
}

static void
info_of_source(struct source *s, mesh_v1_StreamInfo *info)
{
	const struct stream *st = s->stream;

	fill_common(info, &s->row, s->id_text, "source");
	fill_progress(s, info);
	snprintf(info->status, sizeof(info->status), "%s", status_text(s));
	info->next_seq = (int64_t)st->next_seq;
	info->committed_seq = (int64_t)st->committed_seq;
	info->stored_seq = (int64_t)st->durable_seq;
	info->backlog_messages = (int64_t)(st->next_seq - 1 - st->committed_seq);
	info->backlog_bytes = (int64_t)st->ledger.total_bytes;
	info->skipped_seq = (int64_t)st->skipped_seq;
	info->answered_seq = (int64_t)stream_answered(st);
	snprintf(info->ack, sizeof(info->ack), "%s", api_policy_ack_name(s->row.policy.ack));
	info->ack_quorum = (int32_t)s->row.policy.quorum;
	api_traffic_source(s, info);
	info->retention_bytes = (int64_t)s->row.policy.retention_bytes;
	info->retention_ms = (int64_t)s->row.policy.retention_ms;
	snprintf(
	    info->overflow, sizeof(info->overflow), "%s", api_policy_overflow_name(s->row.policy.overflow));
}

static void
fill_failed(const struct sink *s, mesh_v1_StreamInfo *info)
{
	const struct retry_item *item = sink_failing(s);

	if (item == NULL)
		return;
	info->failed_seq = (int64_t)item->seq;
	info->failed_attempts = (int32_t)item->attempts;
	snprintf(info->failed_error, sizeof(info->failed_error), "%s", item->error);
}

static void
info_of_sink(const struct sink *s, mesh_v1_StreamInfo *info)
{
	static const char *const names[] = {
	    [TARGET_OPENING] = "opening",
	    [TARGET_OPEN] = "open",
	    [TARGET_CLOSING] = "closing",
	    [TARGET_CLOSED] = "closed",
	};
	const struct target *t = s->target;

	fill_common(info, &s->row, s->id_text, "target");
	snprintf(info->status, sizeof(info->status), "%s", names[t->state]);
	info->next_seq = (int64_t)t->expected_seq;
	info->committed_seq = (int64_t)t->processed_seq;
	info->stored_seq = (int64_t)t->stored_seq;
	info->backlog_messages = (int64_t)(t->expected_seq - 1 - t->processed_seq);
	info->backlog_bytes = (int64_t)t->ledger.total_bytes;
	info->subscribed = s->subscriber != NULL;
	fill_failed(s, info);
	api_traffic_sink(s, info);
}

static bool
wanted(const struct call *call, const struct acl *acl, const mesh_v1_ListStreamsReq *req,
    const struct store_stream *row, const char *id)
{
	bool named = req->stream_ids_count == 0;

	if (req->tenant_id[0] != '\0' && strcmp(req->tenant_id, row->tenant_id) != 0)
		return false;
	for (pb_size_t i = 0; i < req->stream_ids_count; i++)
		named = named || strcasecmp(req->stream_ids[i], id) == 0;
	return named && acl_may_see(acl, call->who, row->tenant_id, &row->stream_id);
}

static void
send_info(struct call *call, const mesh_v1_StreamInfo *info)
{
	uint8_t mem[API_INFO_MAX_BYTES];
	struct buf out;
	struct iovec iov;

	buf_init_fixed(&out, mem, sizeof(mem));
	if (pb_pack(&out, mesh_v1_StreamInfo_fields, info) != 0)
		return;
	iov = (struct iovec){mem, buf_left(&out)};
	call_item(call, &iov, 1);
}

static void
list(struct call *call, struct engine *e, const mesh_v1_ListStreamsReq *req)
{
	struct source *s, *s_next;
	struct sink *k, *k_next;

	HASH_ITER (hh, e->sources, s, s_next) {
		mesh_v1_StreamInfo info = mesh_v1_StreamInfo_init_zero;

		if (!wanted(call, e->acl, req, &s->row, s->id_text))
			continue;
		info_of_source(s, &info);
		send_info(call, &info);
	}
	HASH_ITER (hh, e->sinks, k, k_next) {
		mesh_v1_StreamInfo info = mesh_v1_StreamInfo_init_zero;

		if (!wanted(call, e->acl, req, &k->row, k->id_text))
			continue;
		info_of_sink(k, &info);
		send_info(call, &info);
	}
	call_done(call, CODE_OK, "%s", "");
}

void
api_stream_list(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_ListStreamsReq req = mesh_v1_ListStreamsReq_init_zero;
	struct call *call = api_unary(a, c, m);

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_ListStreamsReq_fields, &req) != 0)
		call_done(call, CODE_INVALID_ARGUMENT, "malformed ListStreamsReq");
	else
		list(call, a->engine, &req);
}
