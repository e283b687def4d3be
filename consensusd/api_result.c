/* api: what publishers are told; see api.h. */
#include <stdio.h>
#include <string.h>

#include "consensusd/api_impl.h"
#include "consensusd/api_policy.h"
#include "consensusd/core/node_list.h"
#include "consensusd/engine.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/wire.h"

/* Clients have room for 256 bytes of an error. */
enum { RESULT_MAX_BYTES = 2048, TARGETS_TEXT_SIZE = 512, ERROR_TEXT_SIZE = 256 };

/* --- where a message is --- */

enum place { PLACE_PROCESSED, PLACE_PENDING, PLACE_REFUSED, PLACE_DEAD, PLACES };

/* A message while its result is made. */
struct told {
	const struct source *source;
	uint64_t seq;
	const struct stream_record *record; /* what the database has of it; NULL: memory will do */
};

static enum place
place_of(const struct told *m, const struct flow *f)
{
	if (flow_failed(f, m->seq) ||
	    (m->record != NULL && node_list_has(m->record->failed, m->record->failed_count, f->node)))
		return PLACE_DEAD;
	if (f->processed >= m->seq)
		return PLACE_PROCESSED;
	return f->state == FLOW_REFUSED || f->state == FLOW_GONE ? PLACE_REFUSED : PLACE_PENDING;
}

/* Appends the names of targets in these places (a mask), after a text. */
static size_t
put_names(const struct told *m, unsigned places, const char *before, char *out, size_t size, size_t at)
{
	const struct stream *st = m->source->stream;

	for (size_t i = 0; i < st->flow_count && at < size; i++) {
		if (!flow_concerns(&st->flows[i], m->seq) || (places & 1u << place_of(m, &st->flows[i])) == 0)
			continue;
		at += (size_t)snprintf(out + at, size - at, "%s%s", before,
		    engine_node_text(m->source->engine, st->flows[i].node));
		before = ", ";
	}
	return at;
}

/* "processed by b; not by c, d" */
static const char *
targets_text(const struct source *s, uint64_t seq, char *out, size_t size)
{
	const struct told m = {.source = s, .seq = seq};
	size_t at;

	out[0] = '\0';
	at = put_names(&m, 1u << PLACE_PROCESSED, "processed by ", out, size, 0);
	(void)put_names(&m, (1u << PLACES) - 1 - (1u << PLACE_PROCESSED),
	    at > 0 ? "; not by " : "not processed by ", out, size, at);
	return out;
}

/* "dead letter at c; not processed by d, which may still do so" */
static void
dead_text(const struct told *m, char *out, size_t size)
{
	size_t at = put_names(m, 1u << PLACE_DEAD, "dead letter at ", out, size, 0), before = at;

	if (m->source->row.policy.ack != POLICY_ACK_QUORUM)
		return;
	at = put_names(m, 1u << PLACE_PENDING, "; not processed yet by ", out, size, at);
	if (at == before && at < size)
		(void)snprintf(out + at, size - at, "; too few others for the quorum");
}

/* --- results --- */

static uint8_t *
put_nodes(uint8_t *p, unsigned field, const struct told *m, unsigned places)
{
	char text[NODEID_TEXT_SIZE];

	for (size_t i = 0; i < m->source->stream->flow_count; i++) {
		const struct flow *f = &m->source->stream->flows[i];

		if (!flow_concerns(f, m->seq) || (places & 1u << place_of(m, f)) == 0)
			continue;
		nodeid_format(text, f->node);
		p = wire_bytes(p, field, text, NODEID_TEXT_SIZE - 1);
	}
	return p;
}

/* Where it is, and if that is not where it was to be, why. */
static uint8_t *
put_places(uint8_t *p, const struct told *m, bool reached)
{
	const char *level = api_policy_ack_name(m->source->row.policy.ack);

	p = put_nodes(p, 4, m, 1u << PLACE_REFUSED | 1u << PLACE_DEAD);
	p = put_nodes(p, 8, m, 1u << PLACE_PROCESSED);
	p = put_nodes(p, 9, m, 1u << PLACE_PENDING);
	return reached ? wire_bytes(p, 10, level, strlen(level)) : p;
}

static uint8_t *
put_message(uint8_t *p, const struct told *m, const struct ulid *message_id)
{
	char text[ULID_TEXT_SIZE];

	p = wire_number(p, 3, m->seq);
	p = wire_bytes(p, 5, m->source->id_text, ULID_TEXT_SIZE - 1);
	p = wire_number(p, 6, m->seq);
	if (ulid_is_zero(message_id))
		return p;
	ulid_format(text, message_id);
	return wire_bytes(p, 7, text, ULID_TEXT_SIZE - 1);
}

static void
send_bytes(struct call *c, uint8_t *mem, const uint8_t *end)
{
	struct iovec iov = {mem, (size_t)(end - mem)};

	if (c->kind == CALL_UNARY)
		call_reply(c, mem, iov.iov_len);
	else
		call_item(c, &iov, 1);
}

void
api_result_taken(struct call *c, const struct source *s, uint64_t seq)
{
	static const struct ulid none;
	const struct told m = {.source = s, .seq = seq};
	uint8_t mem[RESULT_MAX_BYTES];

	send_bytes(c, mem, put_message(wire_number(mem, 1, 1), &m, &none));
}

static bool
has_reached(const struct told *m)
{
	if (m->record == NULL)
		return stream_outcome(m->source->stream, m->seq) == STREAM_REACHED;
	return stream_fate(m->source->stream, m->seq, m->record) == STREAM_FATE_REACHED;
}

void
api_result_send_with(struct call *c, const struct source *s, uint64_t seq, const struct ulid *message_id,
    const struct stream_record *record)
{
	const struct told m = {.source = s, .seq = seq, .record = record};
	bool streaming = c->kind == CALL_PUBLISH, reached = has_reached(&m);
	uint8_t mem[RESULT_MAX_BYTES], *p = mem;
	char why[ERROR_TEXT_SIZE];

	if (reached) {
		p = wire_number(p, 1, 1);
	} else {
		metric_inc(&stats.failed);
		dead_text(&m, why, sizeof(why));
		p = wire_bytes(p, 2, why, strlen(why));
	}
	send_bytes(c, mem, put_places(put_message(p, &m, message_id), &m, reached));
	if (!streaming)
		return;
	/* The last one ends the call. */
	c->waiting--;
	if (c->half_closed && c->waiting == 0)
		call_done(c, CODE_OK, "%s", "");
}

void
api_result_send(struct call *c, const struct source *s, uint64_t seq, const struct ulid *message_id)
{
	api_result_send_with(c, s, seq, message_id, NULL);
}

void
api_publish_failed(struct source *s, const struct waiter *w, const struct source_flow *f)
{
	struct call *c = call_find(&s->engine->api->calls, w->call);
	char node[NODE_NAME_SIZE], targets[TARGETS_TEXT_SIZE];

	if (c == NULL)
		return;
	metric_inc(&stats.refused);
	if (f == NULL) {
		call_done(c, CODE_FAILED_PRECONDITION,
		    "message %llu of stream %s: this node has no key of tenant %s any more",
		    (unsigned long long)w->seq, s->id_text, s->row.tenant_id);
		return;
	}
	snprintf(node, sizeof(node), "%s", engine_node_text(s->engine, f->flow->node));
	call_done(c, (enum code)f->code, "message %llu of stream %s: node %s refuses the stream: %s (%s)",
	    (unsigned long long)w->seq, s->id_text, node, f->error,
	    targets_text(s, w->seq, targets, sizeof(targets)));
}

void
api_result_lost(struct call *c, const struct source *s, uint64_t seq)
{
	char targets[TARGETS_TEXT_SIZE];

	metric_inc(&stats.refused);
	call_done(c, CODE_DATA_LOSS,
	    "message %llu of stream %s was given up: it was more, or older, than the stream keeps (%s)",
	    (unsigned long long)seq, s->id_text, targets_text(s, seq, targets, sizeof(targets)));
}

void
api_publish_committed(struct source *s, const struct waiter *w)
{
	struct call *c = call_find(&s->engine->api->calls, w->call);

	if (c == NULL)
		return; /* it was cancelled; the message was not */
	/* A repeated publish may have waited for dead letters before it to be recorded.  Results are in
	 * order: the database answers one question after the other. */
	if (c->asking == 0 && stream_is_lost(s->stream, w->seq))
		api_result_lost(c, s, w->seq);
	else if (c->asking > 0 || stream_is_unsure(s->stream, w->seq))
		api_fate_ask(s->engine->api, c, s, w->seq, &w->message_id);
	else
		api_result_send(c, s, w->seq, &w->message_id);
}

void
api_publish_lost(struct source *s, const struct waiter *w)
{
	struct call *c = call_find(&s->engine->api->calls, w->call);

	if (c != NULL && c->asking > 0)
		api_fate_ask(s->engine->api, c, s, w->seq, &w->message_id);
	else if (c != NULL)
		api_result_lost(c, s, w->seq);
}

/* --- calls that end early --- */

void
api_publish_expire(struct api *a, struct client *client, uint32_t id)
{
	struct call *c = call_of(client, id);
	const struct source *s = c != NULL ? source_find(a->engine, &c->stream) : NULL;
	uint64_t seq = s != NULL ? waiters_first_of(&s->stream->waiters, c->handle) : 0;
	char targets[TARGETS_TEXT_SIZE];

	if (c == NULL)
		return; /* its answer is on its way */
	if (seq == 0)
		call_done(c, CODE_DEADLINE_EXCEEDED, "the call's deadline passed");
	else if (seq > s->stream->durable_seq)
		call_done(c, CODE_DEADLINE_EXCEEDED,
		    "message %llu of stream %s was not stored at this node before the call's deadline",
		    (unsigned long long)seq, s->id_text);
	else
		call_done(c, CODE_DEADLINE_EXCEEDED,
		    "message %llu of stream %s had not reached '%s' at the call's deadline, and goes on: %s",
		    (unsigned long long)seq, s->id_text, api_policy_ack_name(s->row.policy.ack),
		    targets_text(s, seq, targets, sizeof(targets)));
}

void
api_publish_fenced(struct source *s, uint64_t epoch)
{
	struct api *a = s->engine->api;
	struct client *client;
	struct call *c, *next;

	TAILQ_FOREACH (client, &a->clients, entry) {
		HASH_ITER (hh, client->calls, c, next) {
			if (c->kind != CALL_PUBLISH || c->epoch == 0 || c->epoch >= epoch ||
			    ulid_compare(&c->stream, &s->row.stream_id) != 0)
				continue;
			metric_inc(&stats.refused);
			call_done(c, CODE_FAILED_PRECONDITION,
			    "stream %s has begun producer epoch %llu; this call is of %llu", s->id_text,
			    (unsigned long long)epoch, (unsigned long long)c->epoch);
		}
	}
}
