/* subscriber: see subscriber.h.  Delivery is in subscriber_deliver.c. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "consensusd/api_impl.h"
#include "consensusd/limits.h"
#include "consensusd/sink.h"
#include "consensusd/stats.h"
#include "consensusd/subscriber_impl.h"
#include "proto/pb.h"

void
subscribers_init(struct subscribers *s, struct engine *e)
{
	*s = (struct subscribers){.engine = e};
	TAILQ_INIT(&s->all);
	TAILQ_INIT(&s->ready);
}

void
subscribers_fini(struct subscribers *s)
{
	mem_free(s->plain);
	s->plain = NULL;
}

/* --- which streams --- */

static bool
has_source(const struct subscriber *s, const struct engine *e, uint64_t node)
{
	const struct node *n = nodes_find(&e->nodes, node);
	char text[NODEID_TEXT_SIZE];

	nodeid_format(text, node);
	for (pb_size_t i = 0; i < s->selector.node_ids_count; i++) {
		const char *want = s->selector.node_ids[i];

		if (strcasecmp(want, text) == 0 || (n != NULL && strcmp(want, n->name) == 0) ||
		    (node == e->self && strcmp(want, e->node_name) == 0))
			return true;
	}
	return s->selector.node_ids_count == 0;
}

static bool
has_stream(const struct subscriber *s, const char *id)
{
	for (pb_size_t i = 0; i < s->selector.stream_ids_count; i++) {
		if (strcasecmp(s->selector.stream_ids[i], id) == 0)
			return true;
	}
	return s->selector.stream_ids_count == 0;
}

static bool
selects(const struct subscriber *s, const struct sink *k)
{
	return strcmp(s->selector.tenant_id, k->row.tenant_id) == 0 && has_stream(s, k->id_text) &&
	       has_source(s, k->engine, k->row.src_node);
}

/* --- attaching --- */

void
subscriber_detach(struct sink *k)
{
	struct subscriber *s = k->subscriber;

	if (s == NULL)
		return;
	/* Whatever it had not acknowledged takes no credit any more. */
	subscriber_credit(k, k->target->delivered_seq);
	TAILQ_REMOVE(&s->sinks, k, subscribed);
	mem_free(k->sizes);
	k->sizes = NULL;
	k->subscriber = NULL;
	target_attend(k->target, false);
	sink_touch(k);
}

static uint64_t
resume_of(const struct subscriber *s, const char *id)
{
	for (pb_size_t i = 0; i < s->selector.resume_count; i++) {
		if (strcasecmp(s->selector.resume[i].stream_id, id) == 0 && s->selector.resume[i].seq > 0)
			return (uint64_t)s->selector.resume[i].seq;
	}
	return 0;
}

static int
attach(struct subscriber *s, struct sink *k)
{
	struct subscriber *older = k->subscriber;

	if (older != NULL)
		call_done(
		    older->call, CODE_ABORTED, "stream %s was taken over by a newer subscriber", k->id_text);
	k->sizes = mem_calloc(SUBSCRIBER_SIZES, sizeof(*k->sizes));
	if (k->sizes == NULL)
		return ERR_NOMEM;
	target_resume(k->target, resume_of(s, k->id_text));
	k->credited_seq = k->target->cursor.next_seq - 1;
	k->subscriber = s;
	target_attend(k->target, true);
	TAILQ_INSERT_TAIL(&s->sinks, k, subscribed);
	sink_touch(k);
	return 0;
}

void
subscriber_stream_opened(struct engine *e, struct sink *k)
{
	struct subscriber *s, *found = NULL;

	/* The newest of those that want it. */
	TAILQ_FOREACH (s, &e->api->subscribers.all, entry) {
		if (selects(s, k))
			found = s;
	}
	if (found != NULL && attach(found, k) != 0)
		call_done(found->call, CODE_RESOURCE_EXHAUSTED, "no memory for stream %s", k->id_text);
}

void
subscriber_stream_closed(struct subscriber *s, struct sink *k)
{
	/* A subscription to certain streams ends with the last of them; one that follows a tenant stays. */
	bool last = s->selector.stream_ids_count > 0 && TAILQ_FIRST(&s->sinks) == k &&
		    TAILQ_NEXT(k, subscribed) == NULL && ++s->closed_count >= s->selector.stream_ids_count;

	subscriber_detach(k);
	if (last)
		call_done(s->call, CODE_OK, "stream %s was closed by its source", k->id_text);
}

void
subscriber_free(struct subscriber *s)
{
	struct subscribers *all = s->all;
	struct sink *k;

	while ((k = TAILQ_FIRST(&s->sinks)) != NULL)
		subscriber_detach(k);
	if (s->ready)
		TAILQ_REMOVE(&all->ready, s, ready_entry);
	TAILQ_REMOVE(&all->all, s, entry);
	all->count--;
	metric_set(&stats.subscribers, (int64_t)all->count);
	s->call->subscriber = NULL;
	mem_free(s);
}

/* --- selectors --- */

/* One acknowledgement of a selector; false: the call was ended. */
static bool
take_ack(struct subscriber *s, const mesh_v1_StreamAck *ack)
{
	struct ulid id;
	struct sink *k = NULL;
	int err;

	if (ulid_parse(ack->stream_id, &id) == 0)
		k = sink_find(s->all->engine, &id);
	if (k == NULL || k->subscriber != s) {
		call_done(s->call, CODE_NOT_FOUND,
		    "ack for stream '%s', which this subscription does not have", ack->stream_id);
		return false;
	}
	err = ack->seq >= 0 ? sink_ack(k, (uint64_t)ack->seq) : ERR_RANGE;
	if (err != 0) {
		call_done(s->call, CODE_OUT_OF_RANGE, "ack of seq %lld of stream %s, which was not delivered",
		    (long long)ack->seq, k->id_text);
		return false;
	}
	return true;
}

static int64_t
add_credit(int64_t have, int64_t more)
{
	int64_t sum;

	return __builtin_add_overflow(have, more, &sum) ? INT64_MAX : sum;
}

/* The first update ends the default window; what of it is left stays. */
static bool
take_window(struct subscriber *s, const mesh_v1_WindowUpdate *w, bool first)
{
	if (w->messages < 0 || w->bytes < 0) {
		call_done(s->call, CODE_INVALID_ARGUMENT, "a window update adds: it is not negative");
		return false;
	}
	if (!s->manual) {
		s->manual = true;
		s->credit_count = first ? 0 : SUBSCRIBER_WINDOW_COUNT - s->unacked_count;
		s->credit_bytes = first ? 0 : SUBSCRIBER_WINDOW_BYTES - s->unacked_bytes;
		if (w->messages == 0)
			s->credit_count = INT64_MAX;
		if (w->bytes == 0)
			s->credit_bytes = INT64_MAX;
	}
	s->credit_count = add_credit(s->credit_count, w->messages);
	s->credit_bytes = add_credit(s->credit_bytes, w->bytes);
	return true;
}

/* What any selector may carry; false: the call was ended. */
static bool
take_updates(struct subscriber *s, const mesh_v1_StreamSelector *in, bool first)
{
	if (in->has_window && !take_window(s, &in->window, first))
		return false;
	for (pb_size_t i = 0; i < in->acks_count; i++) {
		if (!take_ack(s, &in->acks[i]))
			return false;
	}
	subscriber_ready(s);
	return true;
}

static bool
check_selector(struct client *c, uint32_t id, const struct subscribers *all, const mesh_v1_StreamSelector *in)
{
	struct ulid stream;

	if (!all->engine->loaded) {
		call_refuse(c, id, CODE_UNAVAILABLE, "the database of this node is away");
		return false;
	}
	if (!tenant_valid(in->tenant_id)) {
		call_refuse(c, id, CODE_INVALID_ARGUMENT, "tenant_id '%s': 1 to %d of a-z 0-9 . _ -",
		    in->tenant_id, TENANT_ID_MAX);
		return false;
	}
	for (pb_size_t i = 0; i < in->stream_ids_count; i++) {
		const struct sink *k;

		if (ulid_parse(in->stream_ids[i], &stream) != 0) {
			call_refuse(
			    c, id, CODE_INVALID_ARGUMENT, "stream_id '%s' is not a ULID", in->stream_ids[i]);
			return false;
		}
		/* A stream that is not here yet is waited for. */
		k = sink_find(all->engine, &stream);
		if (k != NULL && strcmp(k->row.tenant_id, in->tenant_id) != 0) {
			call_refuse(c, id, CODE_PERMISSION_DENIED, "stream %s is not tenant %s's",
			    in->stream_ids[i], in->tenant_id);
			return false;
		}
	}
	return true;
}

static struct subscriber *
subscriber_new(struct subscribers *all, struct call *call, const mesh_v1_StreamSelector *in)
{
	struct subscriber *s = mem_calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->all = all;
	s->call = call;
	s->selector = *in;
	TAILQ_INIT(&s->sinks);
	TAILQ_INSERT_TAIL(&all->all, s, entry);
	all->count++;
	metric_set(&stats.subscribers, (int64_t)all->count);
	call->subscriber = s;
	return s;
}

static int
attach_all(struct subscriber *s)
{
	struct sink *k, *next;
	int err = 0;

	HASH_ITER (hh, s->all->engine->sinks, k, next) {
		if (err == 0 && k->target->state != TARGET_OPENING && selects(s, k))
			err = attach(s, k);
	}
	return err;
}

void
subscriber_begin(struct subscribers *all, struct calls *calls, struct client *c, const struct imsg *m)
{
	mesh_v1_StreamSelector in = mesh_v1_StreamSelector_init_zero;
	struct subscriber *s = NULL;
	struct call *call;

	if (pb_unpack(m->body, m->len, mesh_v1_StreamSelector_fields, &in) != 0) {
		call_refuse(
		    c, m->peerid, CODE_INVALID_ARGUMENT, "malformed StreamSelector, or too many streams");
		return;
	}
	if (!check_selector(c, m->peerid, all, &in))
		return;
	call = all->count < SUBSCRIBERS_MAX ? call_new(calls, c, m->peerid, CALL_SUBSCRIBE) : NULL;
	if (call == NULL) {
		call_refuse(c, m->peerid, CODE_RESOURCE_EXHAUSTED, "too many subscriptions at this node");
		return;
	}
	s = subscriber_new(all, call, &in);
	if (s == NULL || attach_all(s) != 0) {
		call_done(call, CODE_RESOURCE_EXHAUSTED, "no memory for the subscription");
		return;
	}
	(void)take_updates(s, &in, true);
}

void
subscriber_more(struct subscribers *all, struct client *c, const struct imsg *m)
{
	mesh_v1_StreamSelector in = mesh_v1_StreamSelector_init_zero;
	struct call *call = call_of(c, m->peerid);

	(void)all;
	if (call == NULL || call->subscriber == NULL)
		return; /* it has ended, and the client is about to hear it */
	if (pb_unpack(m->body, m->len, mesh_v1_StreamSelector_fields, &in) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "malformed StreamSelector, or too many acks in one");
		return;
	}
	(void)take_updates(call->subscriber, &in, false);
}

/* --- the unary Ack --- */

void
api_ack(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_StreamAck in = mesh_v1_StreamAck_init_zero;
	mesh_v1_AckResult out = mesh_v1_AckResult_init_zero;
	struct call *call = api_unary(a, c, m);
	struct sink *k = NULL;
	struct ulid id;

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_StreamAck_fields, &in) != 0 || in.seq < 0 ||
	    ulid_parse(in.stream_id, &id) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "malformed StreamAck: a ULID and a seq");
		return;
	}
	k = sink_find(a->engine, &id);
	if (k == NULL) {
		call_done(call, CODE_NOT_FOUND, "this node is no target of stream %s", in.stream_id);
		return;
	}
	if (sink_ack(k, (uint64_t)in.seq) != 0) {
		call_done(call, CODE_OUT_OF_RANGE, "ack of seq %lld of stream %s, which was not delivered",
		    (long long)in.seq, k->id_text);
		return;
	}
	out.success = true;
	out.processed_seq = (int64_t)k->target->acked_seq;
	api_reply_message(call, mesh_v1_AckResult_fields, &out, sizeof(out) + 64);
}
