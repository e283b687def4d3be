/* subscriber: see subscriber.h.  Which streams it has is in subscriber_streams.c, delivery in
 * subscriber_deliver.c, what it says of messages in subscriber_acks.c. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/acl.h"
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
	opened_fini(&s->opened);
}

void
subscriber_free(struct subscriber *s)
{
	struct subscribers *all = s->all;

	TAILQ_REMOVE(&all->all, s, entry);
	all->count--;
	metric_set(&stats.subscribers, (int64_t)all->count);
	subscriber_detach_all(s);
	if (s->ready)
		TAILQ_REMOVE(&all->ready, s, ready_entry);
	s->call->subscriber = NULL;
	mem_free(s);
}

/* --- selectors --- */

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
		if (!subscriber_take_ack(s, &in->acks[i]))
			return false;
	}
	for (pb_size_t i = 0; i < in->nacks_count; i++) {
		if (!subscriber_take_nack(s, &in->nacks[i]))
			return false;
	}
	subscriber_ready(s);
	return true;
}

static bool
check_selector(struct client *c, uint32_t id, const struct subscribers *all, const mesh_v1_StreamSelector *in)
{
	struct ulid stream;
	char why[ACL_WHY_SIZE];

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
		if (k != NULL && subscriber_unwanted(c, id, k))
			return false;
		if (k != NULL && !in->take_over && subscriber_refused(c, id, k))
			return false;
	}
	if (!subscriber_may_select(all->engine, c->who, in, why)) {
		metric_inc(&stats.acl_subscribe);
		call_refuse(c, id, CODE_PERMISSION_DENIED, "%s", why);
		return false;
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
	s->since_unix_ms = clock_unix_ms();
	/* Above those before a restart, too. */
	s->number = s->since_unix_ms > all->last_number ? s->since_unix_ms : all->last_number + 1;
	all->last_number = s->number;
	TAILQ_INIT(&s->sinks);
	TAILQ_INSERT_TAIL(&all->all, s, entry);
	all->count++;
	metric_set(&stats.subscribers, (int64_t)all->count);
	call->subscriber = s;
	return s;
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
	if (s == NULL || subscriber_attach_all(s) != 0) {
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
