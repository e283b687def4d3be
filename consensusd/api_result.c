/* api: what publishers are told; see api.h. */
#include <stdio.h>
#include <string.h>

#include "consensusd/api_impl.h"
#include "consensusd/api_policy.h"
#include "consensusd/engine.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/wire.h"

enum { RESULT_MAX_BYTES = 1024, TARGETS_TEXT_SIZE = 512 };

/* --- where a message is --- */

enum place { PLACE_PROCESSED, PLACE_PENDING, PLACE_REFUSED, PLACES };

static enum place
place_of(const struct flow *f, uint64_t seq)
{
	if (f->processed >= seq)
		return PLACE_PROCESSED;
	return f->state == FLOW_REFUSED || f->state == FLOW_GONE ? PLACE_REFUSED : PLACE_PENDING;
}

/* "processed by b; not by c, d" */
static const char *
targets_text(const struct source *s, uint64_t seq, char *out, size_t size)
{
	const struct stream *st = s->stream;
	size_t at = 0;

	out[0] = '\0';
	for (int done = 1; done >= 0; done--) {
		const char *before = done ? "processed by " : at > 0 ? "; not by " : "not processed by ";

		for (size_t i = 0; i < st->flow_count && at < size; i++) {
			if ((st->flows[i].processed >= seq) != done || !flow_concerns(&st->flows[i], seq))
				continue;
			at += (size_t)snprintf(out + at, size - at, "%s%s", before,
			    engine_node_text(s->engine, st->flows[i].node));
			before = ", ";
		}
	}
	return out;
}

/* --- results --- */

static uint8_t *
put_nodes(uint8_t *p, unsigned field, const struct source *s, uint64_t seq, enum place place)
{
	char text[NODEID_TEXT_SIZE];

	for (size_t i = 0; i < s->stream->flow_count; i++) {
		const struct flow *f = &s->stream->flows[i];

		if (!flow_concerns(f, seq) || place_of(f, seq) != place)
			continue;
		nodeid_format(text, f->node);
		p = wire_bytes(p, field, text, NODEID_TEXT_SIZE - 1);
	}
	return p;
}

static void
send_result(struct call *c, const struct source *s, uint64_t seq, const struct ulid *message_id, bool reached)
{
	const char *level = api_policy_ack_name(s->row.policy.ack);
	uint8_t mem[RESULT_MAX_BYTES], *p = mem;
	char text[ULID_TEXT_SIZE];
	struct iovec iov;

	p = wire_number(p, 1, 1);
	p = wire_number(p, 3, seq);
	if (reached)
		p = put_nodes(p, 4, s, seq, PLACE_REFUSED);
	p = wire_bytes(p, 5, s->id_text, ULID_TEXT_SIZE - 1);
	p = wire_number(p, 6, seq);
	if (!ulid_is_zero(message_id)) {
		ulid_format(text, message_id);
		p = wire_bytes(p, 7, text, ULID_TEXT_SIZE - 1);
	}
	if (reached) {
		p = put_nodes(p, 8, s, seq, PLACE_PROCESSED);
		p = put_nodes(p, 9, s, seq, PLACE_PENDING);
		p = wire_bytes(p, 10, level, strlen(level));
	}
	if (c->kind == CALL_UNARY) {
		call_reply(c, mem, (size_t)(p - mem));
		return;
	}
	iov = (struct iovec){mem, (size_t)(p - mem)};
	call_item(c, &iov, 1);
}

void
api_result_taken(struct call *c, const struct source *s, uint64_t seq)
{
	static const struct ulid none;

	send_result(c, s, seq, &none, false);
}

void
api_result_send(struct call *c, const struct source *s, uint64_t seq, const struct ulid *message_id)
{
	bool streaming = c->kind == CALL_PUBLISH;

	send_result(c, s, seq, message_id, true);
	if (!streaming)
		return;
	/* The last one ends the call. */
	c->waiting--;
	if (c->half_closed && c->waiting == 0)
		call_done(c, CODE_OK, "%s", "");
}

void
api_publish_committed(struct source *s, const struct waiter *w)
{
	struct call *c = call_find(&s->engine->api->calls, w->call);

	if (c != NULL) /* else it was cancelled; the message was not */
		api_result_send(c, s, w->seq, &w->message_id);
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
api_publish_lost(struct source *s, const struct waiter *w)
{
	struct call *c = call_find(&s->engine->api->calls, w->call);

	if (c != NULL)
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
