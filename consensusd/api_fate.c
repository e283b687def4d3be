/* api: publishes that are repeated when the message was given up, or became a dead letter, so long ago, or
 * before a restart, that only the store knows for which targets; see api_impl.h. */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/api_impl.h"
#include "consensusd/api_policy.h"
#include "consensusd/engine.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"

/* A question while the database is asked. */
struct question {
	struct api *api;
	uint64_t call, seq;
	struct ulid stream, message_id;
	bool known; /* the database knows the message's targets */
	struct stream_record record;
};

_Static_assert((int)STORE_TARGETS_MAX == (int)STREAM_TARGETS_MAX, "room for all targets");

static void
answer(const struct question *q, struct call *c, const struct source *s)
{
	switch (stream_fate(s->stream, q->seq, &q->record)) {
	case STREAM_FATE_REACHED:
	case STREAM_FATE_FAILED:
		api_result_send_with(c, s, q->seq, &q->message_id, &q->record);
		break;
	case STREAM_FATE_LOST:
		api_result_lost(c, s, q->seq);
		break;
	case STREAM_FATE_UNSAID:
		metric_inc(&stats.refused);
		call_done(c, CODE_UNAVAILABLE,
		    "message %llu of stream %s is not kept here any more; not all targets that had stored it "
		    "have said since a restart that they have processed it: try again",
		    (unsigned long long)q->seq, s->id_text);
		break;
	case STREAM_FATE_UNKNOWN:
		metric_inc(&stats.refused);
		call_done(c, CODE_DATA_LOSS,
		    "message %llu of stream %s %s; whether it had reached '%s' before is not known any more",
		    (unsigned long long)q->seq, s->id_text,
		    q->seq <= s->stream->skipped_seq ? "was given up" : "lost targets that it was for",
		    api_policy_ack_name(s->row.policy.ack));
		break;
	}
}

static void
on_message(void *arg, const struct store_message *row, int err)
{
	struct question *q = arg;
	struct source *s;
	struct call *c;

	if (row != NULL) {
		q->known = true;
		if (row->failed && q->record.missed_count < STREAM_TARGETS_MAX)
			q->record.missed[q->record.missed_count++] = row->dst_node;
		else if (row->dead && q->record.failed_count < STREAM_TARGETS_MAX)
			q->record.failed[q->record.failed_count++] = row->dst_node;
		return;
	}
	c = call_find(&q->api->calls, q->call);
	if (c != NULL)
		c->asking--;
	s = source_find(q->api->engine, &q->stream);
	if (c != NULL && s != NULL && err == 0 && q->known)
		answer(q, c, s);
	else if (c != NULL)
		call_done(c, CODE_UNAVAILABLE,
		    "the database of this node can't say what became of message %llu: %s",
		    (unsigned long long)q->seq,
		    err != 0 ? err_text(err) : "the stream is not there any more");
	mem_free(q);
}

void
api_fate_ask(
    struct api *a, struct call *c, const struct source *s, uint64_t seq, const struct ulid *message_id)
{
	static const struct ulid none;
	struct question *q = mem_calloc(1, sizeof(*q));
	int err;

	if (q == NULL) {
		call_done(c, CODE_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	*q = (struct question){
	    .api = a, .call = c->handle, .seq = seq, .stream = s->row.stream_id, .message_id = *message_id};
	c->asking++;
	err = store_read_message(a->engine->store, &q->stream, seq, &none, on_message, q);
	if (err != 0)
		on_message(q, NULL, err);
}
