/* api: publishing; see api.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "common/os/clock.h"
#include "consensusd/api_impl.h"
#include "consensusd/digest.h"
#include "consensusd/engine.h"
#include "consensusd/seal.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/wire.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

enum {
	PUBLISH_HEADERS_MAX = 64, /* entries */
	CHUNK_HEADERS_FIELD = 8,
};

/* One publish while it is looked at. */
struct request {
	struct api *api;
	struct client *client;
	uint32_t id;
	bool streaming;
	struct call *call; /* streaming: the call; unary: made when there is something to wait for */
	mesh_v1_Chunk chunk;
	struct pb_slice payload;
	struct pb_slice entries[PUBLISH_HEADERS_MAX];
	struct pb_raw_list entry_list;
	struct source *source;
	struct publish publish;
	uint8_t headers[SEAL_HEADERS_MAX_BYTES];
};

#define refuse(r, code, ...)                                                                                 \
	do {                                                                                                 \
		metric_inc(&stats.refused);                                                                  \
		if ((r)->call != NULL)                                                                       \
			call_done((r)->call, (code), __VA_ARGS__);                                           \
		else                                                                                         \
			call_refuse((r)->client, (r)->id, (code), __VA_ARGS__);                              \
	} while (0)

/* --- what a request must be --- */

static bool
decode(struct request *r, const struct imsg *m)
{
	r->entry_list = (struct pb_raw_list){.items = r->entries, .max = PUBLISH_HEADERS_MAX};
	pb_slice_decode(&r->chunk.payload, &r->payload);
	pb_raw_list_decode(&r->chunk.headers, &r->entry_list);
	if (pb_unpack(m->body, m->len, mesh_v1_Chunk_fields, &r->chunk) == 0)
		return true;
	refuse(r, CODE_INVALID_ARGUMENT, "malformed Chunk: a text is too long, or more than %d headers",
	    PUBLISH_HEADERS_MAX);
	return false;
}

/* The entries as they are kept with the message: tag, length, entry. */
static bool
pack_headers(struct request *r)
{
	uint8_t *p = r->headers, *end = r->headers + sizeof(r->headers);

	for (size_t i = 0; i < r->entry_list.count; i++) {
		const struct pb_slice *x = &r->entries[i];

		if (x->len + WIRE_VARINT_MAX + 1 > (size_t)(end - p)) {
			refuse(r, CODE_INVALID_ARGUMENT, "headers of more than %d bytes",
			    SEAL_HEADERS_MAX_BYTES);
			return false;
		}
		p = wire_bytes(p, CHUNK_HEADERS_FIELD, x->data, x->len);
	}
	r->publish.headers = r->headers;
	r->publish.headers_len = (size_t)(p - r->headers);
	return true;
}

static bool
check_payload(struct request *r)
{
	const mesh_v1_Chunk *c = &r->chunk;
	size_t max = r->api->engine->assembly.message_max;

	if (r->payload.len > max) {
		refuse(r, CODE_INVALID_ARGUMENT, "payload of %zu bytes; the largest is %zu (message-max)",
		    r->payload.len, max);
		return false;
	}
	if (c->checksum.size != 0 &&
	    (c->checksum.size != 4 ||
		be_load32(c->checksum.bytes) != crc32c(0, r->payload.data, r->payload.len))) {
		refuse(r, CODE_DATA_LOSS, "checksum is not the CRC32C of the payload (4 bytes, big endian)");
		return false;
	}
	if (c->digest.size != 0 && c->digest.size != DIGEST_BYTES) {
		refuse(r, CODE_INVALID_ARGUMENT, "digest of %d bytes: a BLAKE2b-256 has %d",
		    (int)c->digest.size, DIGEST_BYTES);
		return false;
	}
	r->publish.payload = r->payload.data;
	r->publish.payload_len = r->payload.len;
	return true;
}

static bool
check_ids(struct request *r)
{
	const mesh_v1_Chunk *c = &r->chunk;

	if (c->seq < 0) {
		refuse(r, CODE_INVALID_ARGUMENT, "seq %lld: seqs begin at 1; 0 is the next one",
		    (long long)c->seq);
		return false;
	}
	r->publish.seq = (uint64_t)c->seq;
	r->publish.named = c->message_id[0] != '\0';
	if (r->publish.named && ulid_parse(c->message_id, &r->publish.message_id) != 0) {
		refuse(r, CODE_INVALID_ARGUMENT, "message_id '%s' is not a ULID", c->message_id);
		return false;
	}
	return true;
}

/* The stream by its id as text; most publishes are to the same one as the publish before. */
static bool
look_up(struct request *r)
{
	struct engine *e = r->api->engine;
	struct ulid id;

	r->source = e->recent;
	if (r->source != NULL && strcmp(r->source->id_text, r->chunk.stream_id) == 0)
		return true;
	if (ulid_parse(r->chunk.stream_id, &id) != 0) {
		refuse(r, CODE_INVALID_ARGUMENT, "stream_id '%s' is not a ULID", r->chunk.stream_id);
		return false;
	}
	r->source = source_find(e, &id);
	if (r->source == NULL) {
		refuse(r, CODE_NOT_FOUND, "stream %s is not open at this node", r->chunk.stream_id);
		return false;
	}
	e->recent = r->source;
	return true;
}

static bool
find_stream(struct request *r)
{
	if (!r->api->engine->loaded) {
		refuse(r, CODE_UNAVAILABLE, "the database of this node is away");
		return false;
	}
	if (!look_up(r))
		return false;
	if (r->chunk.tenant_id[0] != '\0' && strcmp(r->chunk.tenant_id, r->source->row.tenant_id) != 0) {
		refuse(r, CODE_PERMISSION_DENIED, "stream %s is not tenant %s's", r->chunk.stream_id,
		    r->chunk.tenant_id);
		return false;
	}
	return true;
}

/* Who was fenced off publishes no more. */
static bool
check_epoch(struct request *r)
{
	uint64_t epoch = r->chunk.producer_epoch, now = r->source->stream->epoch;

	if (epoch == 0 || epoch == now)
		return true;
	if (epoch < now)
		refuse(r, CODE_FAILED_PRECONDITION,
		    "producer_epoch %llu of stream %s is over: another producer has begun %llu",
		    (unsigned long long)epoch, r->source->id_text, (unsigned long long)now);
	else
		refuse(r, CODE_INVALID_ARGUMENT, "producer_epoch %llu of stream %s: it has %llu",
		    (unsigned long long)epoch, r->source->id_text, (unsigned long long)now);
	return false;
}

/* Whether a policy lets this client publish to it; if not, it was told. */
static bool
check_client(struct request *r)
{
	char why[ACL_WHY_SIZE];

	if (acl_may_publish(r->source, r->call != NULL ? r->call->who : r->client->who, why)) {
		if (r->call != NULL)
			r->call->stream = r->source->row.stream_id;
		return true;
	}
	metric_inc(&stats.acl_publish);
	refuse(r, CODE_PERMISSION_DENIED, "%s", why);
	return false;
}

/* Targets that refused the stream, or a full outbox: nothing more is taken. */
static bool
check_stream(struct request *r)
{
	const struct source_flow *f = source_refused_flow(r->source);

	if (f != NULL && stream_hopeless(r->source->stream)) {
		refuse(r, f->code, "node %s refuses stream %s: %s",
		    engine_node_text(r->api->engine, f->flow->node), r->source->id_text, f->error);
		return false;
	}
	if (r->publish.named && r->publish.seq == 0 &&
	    (!source_knows_ids(r->source) || !dedupe_knows(r->source))) {
		source_read_ids(r->source);
		refuse(r, CODE_UNAVAILABLE,
		    "stream %s: this node has just started and is reading which messages it has; try again",
		    r->source->id_text);
		return false;
	}
	if (!r->streaming && stream_overfull(r->source->stream)) {
		refuse(r, CODE_RESOURCE_EXHAUSTED,
		    "stream %s has more than it may in the outbox (%s): its targets are behind",
		    r->source->id_text,
		    r->source->row.policy.retention_bytes > 0 ? "retention_bytes" : "stream-backlog");
		return false;
	}
	if (r->source->row.policy.retention_ms > 0)
		r->source->stream->now_ms = clock_unix_ms();
	if (stream_aged(r->source->stream)) {
		refuse(r, CODE_RESOURCE_EXHAUSTED,
		    "stream %s has a message that its targets have not processed in %llu ms (retention_ms)",
		    r->source->id_text, (unsigned long long)r->source->row.policy.retention_ms);
		return false;
	}
	return true;
}

/* --- publishing --- */

static void
refuse_publish(struct request *r, int err)
{
	const char *why;
	const struct source *s = r->source;

	switch (err) {
	case ERR_GAP:
		refuse(r, CODE_OUT_OF_RANGE, "seq %llu of stream %s: the next one is %llu",
		    (unsigned long long)r->publish.seq, s->id_text, (unsigned long long)s->stream->next_seq);
		break;
	case ERR_EXISTS:
		refuse(r, CODE_ALREADY_EXISTS,
		    "stream %s has another message at seq %llu, or this message_id elsewhere", s->id_text,
		    (unsigned long long)r->publish.seq);
		break;
	case ERR_STATE:
		refuse(r, CODE_FAILED_PRECONDITION, "stream %s is closed", s->id_text);
		break;
	case ERR_LIMIT:
		refuse(r, CODE_INVALID_ARGUMENT, "the message is too large");
		break;
	case ERR_NOENT:
		refuse(r, CODE_FAILED_PRECONDITION, "this node has no key of tenant %s", s->row.tenant_id);
		break;
	default:
		if (!engine_held(r->api->engine, s->class, &why))
			why = err_text(err);
		refuse(r, CODE_UNAVAILABLE, "stream %s takes no more now: %s; try again", s->id_text, why);
	}
}

static void
hold_if_needed(struct request *r)
{
	if (r->streaming &&
	    (engine_held(r->api->engine, r->source->class, NULL) || stream_held(r->source->stream, false)))
		call_hold(r->call, &r->source->row.stream_id);
}

/* Checks the whole payload against its digest, and puts that behind the headers. */
static bool
take_digest(struct request *r, const uint8_t *digest)
{
	size_t len = r->publish.headers_len;

	if (digest_match(digest, r->publish.payload, r->publish.payload_len) != 0) {
		refuse(r, CODE_DATA_LOSS, "digest is not the BLAKE2b-256 of the %zu bytes of the payload",
		    r->publish.payload_len);
		return false;
	}
	if (len + DIGEST_FIELD_BYTES > sizeof(r->headers)) {
		refuse(r, CODE_INVALID_ARGUMENT, "headers of more than %d bytes with the digest",
		    SEAL_HEADERS_MAX_BYTES);
		return false;
	}
	/* Those of a message that came in chunks are elsewhere. */
	if (r->publish.headers != r->headers && len > 0)
		memcpy(r->headers, r->publish.headers, len);
	r->publish.headers = r->headers;
	r->publish.headers_len = (size_t)(digest_put(r->headers + len, digest) - r->headers);
	return true;
}

/* Seen before and done: the same answer.  Its message id is the client's, if it named one. */
static void
answer_again(const struct request *r, uint64_t seq)
{
	static const struct ulid none;
	const struct ulid *id = r->publish.named ? &r->publish.message_id : &none;

	source_result(r->source, &(struct waiter){.seq = seq, .call = r->call->handle, .message_id = *id});
}

static void
publish(struct request *r)
{
	struct call *c = r->call;
	uint64_t seq;
	int rc;

	if (!r->publish.named)
		engine_ulid(r->api->engine, &r->publish.message_id);
	if (c == NULL)
		c = call_new(&r->api->calls, r->client, r->id, CALL_UNARY);
	if (c == NULL) {
		refuse(r, CODE_RESOURCE_EXHAUSTED, "too many calls are open at this node");
		return;
	}
	r->call = c;
	c->stream = r->source->row.stream_id;
	rc = source_publish(r->source, &r->publish, c->handle, &seq);
	if (rc < 0) {
		refuse_publish(r, rc);
		return;
	}
	metric_inc(rc == PUBLISH_NEW ? &stats.published : &stats.repeated);
	if (rc == PUBLISH_NEW)
		metric_add(&stats.published_bytes, (int64_t)r->publish.payload_len);
	c->waiting++;
	hold_if_needed(r);
	if (rc == PUBLISH_KNOWN && seq <= stream_answered(r->source->stream))
		answer_again(r, seq);
}

/* --- chunks --- */

static void
refuse_chunk(struct request *r, int err)
{
	const mesh_v1_Chunk *c = &r->chunk;

	if (err == ERR_GAP)
		refuse(r, CODE_OUT_OF_RANGE,
		    "chunk %d of %d is not the next one: send the message again from chunk 0", c->chunk_seq,
		    c->total_chunks);
	else if (err == ERR_FULL || err == ERR_NOMEM)
		refuse(r, CODE_RESOURCE_EXHAUSTED, "too many messages are being sent in chunks");
	else
		refuse(r, CODE_INVALID_ARGUMENT,
		    "chunk %d of %d: larger than a message may be (message-max), or of another total or "
		    "digest",
		    c->chunk_seq, c->total_chunks);
}

static void
publish_chunk(struct request *r)
{
	const mesh_v1_Chunk *c = &r->chunk;
	const struct assembly_key key = {
	    .stream_id = r->source->row.stream_id,
	    .message_id = r->publish.message_id,
	    .seq = r->publish.seq,
	    .call = r->streaming ? r->call->handle : 0,
	};
	const struct assembly_chunk part = {
	    .digest = c->digest.size != 0 ? c->digest.bytes : NULL,
	    .index = (uint32_t)c->chunk_seq,
	    .total = (uint32_t)c->total_chunks,
	    .headers = r->publish.headers,
	    .headers_len = r->publish.headers_len,
	    .payload = r->publish.payload,
	    .payload_len = r->publish.payload_len,
	};
	struct assembly_item *item;
	int err;

	if (!r->streaming && key.seq == 0 && !r->publish.named) {
		refuse(r, CODE_INVALID_ARGUMENT,
		    "chunks of a unary publish need a seq or a message_id in common");
		return;
	}
	err = assembly_add(&r->api->engine->assembly, &key, &part, clock_mono(), &item);
	if (err != 0) {
		refuse_chunk(r, err);
		return;
	}
	if (item == NULL) {
		/* Taken, not published yet: a unary call is told so, a streaming one goes on. */
		if (!r->streaming) {
			struct call *call = call_new(&r->api->calls, r->client, r->id, CALL_UNARY);

			if (call != NULL)
				api_result_taken(call, r->source, r->publish.seq);
			else
				refuse(r, CODE_RESOURCE_EXHAUSTED, "too many calls are open at this node");
		}
		return;
	}
	r->publish.headers = buf_head(&item->headers);
	r->publish.headers_len = buf_left(&item->headers);
	r->publish.payload = buf_head(&item->payload);
	r->publish.payload_len = buf_left(&item->payload);
	item->key.call = 0; /* if the call ends now, the item is still ours */
	if (!item->has_digest || take_digest(r, item->digest))
		publish(r);
	assembly_done(&r->api->engine->assembly, item);
}

/* The call that a streaming publish belongs to, made with its first item; false: it was refused. */
static bool
find_call(struct request *r)
{
	r->call = call_of(r->client, r->id);
	if (r->call == NULL)
		r->call = call_new(&r->api->calls, r->client, r->id, CALL_PUBLISH);
	if (r->call == NULL) {
		refuse(r, CODE_RESOURCE_EXHAUSTED, "too many calls are open at this node");
		return false;
	}
	if (r->call->kind != CALL_PUBLISH || r->call->half_closed) {
		refuse(r, CODE_INTERNAL, "an item for a call that takes none");
		return false;
	}
	return true;
}

void
api_publish(struct api *a, struct client *c, const struct imsg *m, bool streaming)
{
	struct request r;

	/* Large, and mostly not looked at: only what is is cleared. */
	r.api = a;
	r.client = c;
	r.id = m->peerid;
	r.streaming = streaming;
	r.call = NULL;
	r.chunk = (mesh_v1_Chunk)mesh_v1_Chunk_init_zero;
	r.publish = (struct publish){0};
	if (streaming && !find_call(&r))
		return;
	if (!decode(&r, m) || !pack_headers(&r) || !check_payload(&r) || !check_ids(&r) || !find_stream(&r) ||
	    !check_epoch(&r) || !check_client(&r) || !check_stream(&r))
		return;
	if (streaming)
		r.call->epoch = r.chunk.producer_epoch;
	if (r.chunk.chunk_seq < 0 || r.chunk.total_chunks < 0) {
		refuse(&r, CODE_INVALID_ARGUMENT, "chunk_seq and total_chunks are not negative");
		return;
	}
	if (r.chunk.total_chunks > 1)
		publish_chunk(&r);
	else if (r.chunk.digest.size == 0 || take_digest(&r, r.chunk.digest.bytes))
		publish(&r);
}

void
api_publish_end(struct api *a, struct client *c, uint32_t id)
{
	struct call *call = call_of(c, id);

	if (call == NULL) {
		/* It ended with an error that is on its way, or had no item at all. */
		call = call_new(&a->calls, c, id, CALL_PUBLISH);
		if (call == NULL)
			return;
	}
	if (call->kind != CALL_PUBLISH)
		return;
	call->half_closed = true;
	if (call->waiting == 0)
		call_done(call, CODE_OK, "%s", "");
}

void
api_publish_release(struct api *a)
{
	struct call *c, *next;
	bool clients_held;

	/* What holds those holds all. */
	if (TAILQ_EMPTY(&a->calls.held) || engine_held(a->engine, FRAME_CLASS_SYSTEM, NULL))
		return;
	clients_held = engine_held(a->engine, FRAME_CLASS_CLIENT, NULL);
	for (c = TAILQ_FIRST(&a->calls.held); c != NULL; c = next) {
		const struct source *s = source_find(a->engine, &c->held_stream);

		next = TAILQ_NEXT(c, held_entry);
		if (s != NULL && s->class == FRAME_CLASS_CLIENT && clients_held)
			continue;
		if (s == NULL || !stream_held(s->stream, true))
			call_release(c);
	}
}
