/* subscriber: what it says of messages; see subscriber.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "consensusd/api_impl.h"
#include "consensusd/replay.h"
#include "consensusd/sink.h"
#include "consensusd/stats.h"
#include "consensusd/subscriber_impl.h"
#include "proto/pb.h"

/* --- in a subscription --- */

/* The stream that is named, if this subscription has it; else NULL, and the call was ended. */
static struct sink *
sink_of(struct subscriber *s, const char *what, const char *stream, uint64_t subscription)
{
	struct ulid id;
	struct sink *k = NULL;

	if (ulid_parse(stream, &id) == 0)
		k = sink_find(s->all->engine, &id);
	if (subscription == 0)
		subscription = s->number;
	if (k != NULL && k->subscriber == s && subscription == s->number)
		return k;
	if (k != NULL && subscriber_selects(s, k) && k->subscription != 0 &&
	    k->subscription != subscription) {
		metric_inc(&stats.fenced);
		call_done(s->call, CODE_FAILED_PRECONDITION,
		    "%s for stream %s, which was taken over by a newer subscription (%llu)", what, k->id_text,
		    (unsigned long long)k->subscription);
		return NULL;
	}
	call_done(s->call, CODE_NOT_FOUND, "%s for stream '%s', which this subscription does not have", what,
	    stream);
	return NULL;
}

/* What was delivered before this node was removed from the stream's targets may be answered after it. */
static bool
is_past(const struct subscriber *s, const char *stream, int64_t seq)
{
	const struct sink *k;
	struct ulid id;

	if (ulid_parse(stream, &id) != 0)
		return false;
	k = sink_find(s->all->engine, &id);
	if (k != NULL && k->removed)
		return true;
	if (fresh_removed_at(s->all->engine, &id) == 0)
		return false;
	return k == NULL || k->subscriber == NULL || (seq > 0 && (uint64_t)seq < k->row.first_seq);
}

/* Of a dead letter that came once more, or of all up to seq. */
static int
ack(struct sink *k, int64_t seq)
{
	if (seq < 0)
		return ERR_RANGE;
	return replay_ack(k, (uint64_t)seq) ? 0 : sink_ack(k, (uint64_t)seq);
}

bool
subscriber_take_ack(struct subscriber *s, const mesh_v1_StreamAck *in)
{
	struct sink *k;

	if (is_past(s, in->stream_id, in->seq))
		return true;
	k = sink_of(s, "ack", in->stream_id, in->subscription);
	if (k == NULL)
		return false;
	if (ack(k, in->seq) == 0)
		return true;
	call_done(s->call, CODE_OUT_OF_RANGE, "ack of seq %lld of stream %s, which was not delivered",
	    (long long)in->seq, k->id_text);
	return false;
}

/* Ends the call if a nack of this form is none. */
static bool
nack_fits(struct call *call, const mesh_v1_StreamNack *in)
{
	if (in->seq > 0 && in->retry_ms >= 0 && in->retry_ms <= RETRY_MAX_MS)
		return true;
	call_done(call, CODE_INVALID_ARGUMENT,
	    "nack of seq %lld of stream '%s' with retry_ms %lld: a seq is above 0, retry_ms at most %d",
	    (long long)in->seq, in->stream_id, (long long)in->retry_ms, RETRY_MAX_MS);
	return false;
}

/* False: the call was ended. */
static bool
nack(struct call *call, struct sink *k, const mesh_v1_StreamNack *in)
{
	const struct sink_failure why = {in->reason, (uint32_t)in->retry_ms, in->dead_letter};
	int err;

	if (replay_nack(k, (uint64_t)in->seq, in->reason))
		return true;
	err = sink_nack(k, (uint64_t)in->seq, &why);

	if (err == ERR_RANGE)
		call_done(call, CODE_OUT_OF_RANGE,
		    "nack of seq %lld of stream %s, which was not delivered, or is acknowledged",
		    (long long)in->seq, k->id_text);
	else if (err != 0)
		call_done(call, CODE_RESOURCE_EXHAUSTED, "nack of seq %lld of stream %s: %s",
		    (long long)in->seq, k->id_text, err_text(err));
	return err == 0;
}

bool
subscriber_take_nack(struct subscriber *s, const mesh_v1_StreamNack *in)
{
	struct sink *k;

	if (!nack_fits(s->call, in))
		return false;
	if (is_past(s, in->stream_id, in->seq))
		return true;
	k = sink_of(s, "nack", in->stream_id, in->subscription);
	return k != NULL && nack(s->call, k, in);
}

/* --- calls of their own --- */

/* The stream that is named; NULL: the call was ended.  An earlier subscription than the stream's has no say
 * any more; what was delivered to the last one may be told after its end. */
static struct sink *
unary_sink(struct api *a, struct call *call, const char *stream, uint64_t subscription)
{
	struct ulid id;
	struct sink *k = NULL;
	char why[ACL_WHY_SIZE];

	if (ulid_parse(stream, &id) == 0)
		k = sink_find(a->engine, &id);
	if (k == NULL) {
		call_done(call, CODE_NOT_FOUND, "this node is no target of stream %s", stream);
		return NULL;
	}
	if (!acl_may(a->engine->acl, ACL_SUBSCRIBE, call->who, k->row.tenant_id, &id, why)) {
		metric_inc(&stats.acl_subscribe);
		call_done(call, CODE_PERMISSION_DENIED, "%s", why);
		return NULL;
	}
	if (k->row.policy.handler != POLICY_SUBSCRIBER) {
		call_done(call, CODE_FAILED_PRECONDITION,
		    "stream %s has a handler of its own at its targets: nobody else says what is processed",
		    k->id_text);
		return NULL;
	}
	if (subscription != 0 && k->subscription != 0 && subscription != k->subscription) {
		metric_inc(&stats.fenced);
		call_done(call, CODE_FAILED_PRECONDITION,
		    "subscription %llu does not have stream %s any more: %llu took it over",
		    (unsigned long long)subscription, k->id_text, (unsigned long long)k->subscription);
		return NULL;
	}
	return k;
}

static void
reply_position(struct call *call, const struct sink *k)
{
	mesh_v1_AckResult out = mesh_v1_AckResult_init_zero;

	out.success = true;
	out.processed_seq = (int64_t)k->target->acked_seq;
	api_reply_message(call, mesh_v1_AckResult_fields, &out, sizeof(out) + 64);
}

void
api_ack(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_StreamAck in = mesh_v1_StreamAck_init_zero;
	struct call *call = api_unary(a, c, m);
	struct sink *k;
	struct ulid id;

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_StreamAck_fields, &in) != 0 || in.seq < 0 ||
	    ulid_parse(in.stream_id, &id) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "malformed StreamAck: a ULID and a seq");
		return;
	}
	k = unary_sink(a, call, in.stream_id, in.subscription);
	if (k == NULL)
		return;
	if (ack(k, in.seq) != 0) {
		call_done(call, CODE_OUT_OF_RANGE, "ack of seq %lld of stream %s, which was not delivered",
		    (long long)in.seq, k->id_text);
		return;
	}
	reply_position(call, k);
}

void
api_nack(struct api *a, struct client *c, const struct imsg *m)
{
	mesh_v1_StreamNack in = mesh_v1_StreamNack_init_zero;
	struct call *call = api_unary(a, c, m);
	struct sink *k;
	struct ulid id;

	if (call == NULL)
		return;
	if (pb_unpack(m->body, m->len, mesh_v1_StreamNack_fields, &in) != 0 ||
	    ulid_parse(in.stream_id, &id) != 0) {
		call_done(call, CODE_INVALID_ARGUMENT, "malformed StreamNack: a ULID, a seq, a reason");
		return;
	}
	if (!nack_fits(call, &in))
		return;
	k = unary_sink(a, call, in.stream_id, in.subscription);
	if (k != NULL && nack(call, k, &in))
		reply_position(call, k);
}
