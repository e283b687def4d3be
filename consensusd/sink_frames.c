/* sink: what sources say; see sink.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/acl.h"
#include "consensusd/api.h"
#include "consensusd/code.h"
#include "consensusd/dbsink.h"
#include "consensusd/keyring.h"
#include "consensusd/mesh.h"
#include "consensusd/meta.h"
#include "consensusd/peers.h"
#include "consensusd/seal.h"
#include "consensusd/sink_impl.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/subscriber.h"
#include "consensusd/tag.h"
#include "consensusd/tenantkeys.h"
#include "consensusd/transport.h"
#include "proto/pb.h"

static struct ulid
stream_id_of(const mesh_e2e_Header *h)
{
	struct ulid id;

	memcpy(id.b, h->stream_id.bytes, ULID_BYTES);
	return id;
}

/* Of an answer to something about a stream that is not here. */
static mesh_e2e_Header
answer_header(const mesh_e2e_Header *in, uint32_t msg_type)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	h.msg_type = msg_type;
	h.stream_id = in->stream_id;
	memcpy(h.tenant_id, in->tenant_id, sizeof(h.tenant_id));
	return h;
}

static void
answer(struct engine *e, const mesh_e2e_Header *in, uint64_t node, uint32_t msg_type, const void *payload,
    size_t len)
{
	mesh_e2e_Header h = answer_header(in, msg_type);

	transport_send(e->transport, &h, node, payload, len);
}

/* In answer to an MSG_OPEN that brought row.  Its source is known by its key: row was verified.  How often:
 * no more than what is asked, and checking what is asked costs more. */
static void
refuse(struct engine *e, const mesh_e2e_Header *in, const struct store_stream *row, enum code code,
    const char *why)
{
	mesh_e2e_Header h = answer_header(in, mesh_e2e_MsgType_MSG_REFUSED);
	mesh_e2e_Refusal r = mesh_e2e_Refusal_init_zero;
	const uint8_t *key = peers_pair_key(e->peers, row->source_key);
	uint8_t mem[512];
	struct buf out;

	h.question = in->question;
	h.source = e->self;
	h.destination = row->src_node;
	r.code = code;
	snprintf(r.reason, sizeof(r.reason), "%s", why);
	memcpy(r.node_key.bytes, e->public_key, CRYPTO_PUBKEY_BYTES);
	r.node_key.size = CRYPTO_PUBKEY_BYTES;
	r.revision = row->revision;
	buf_init_fixed(&out, mem, sizeof(mem));
	if (key != NULL && pb_pack(&out, mesh_e2e_Refusal_fields, &r) == 0 &&
	    tag_make_refusal(key, &h, buf_head(&out), buf_left(&out)) == 0)
		transport_send(e->transport, &h, row->src_node, buf_head(&out), buf_left(&out));
}

/* Whether policies let this node have the stream; if not, its source is told.  asked: what it asked with. */
static bool
permitted(struct engine *e, const mesh_e2e_Header *h, const struct store_stream *row,
    const struct store_stream *asked)
{
	char why[ACL_WHY_SIZE];

	if (acl_may_receive(e->acl, row, why))
		return true;
	metric_inc(&stats.acl_receive);
	refuse(e, h, asked, CODE_PERMISSION_DENIED, why);
	return false;
}

void
sink_permit(struct sink *s, const char *why)
{
	bool was = s->denied;
	const struct log_ctx ctx = {.stream_id = s->id_text};

	s->denied = why != NULL;
	if (s->denied && !was)
		log_at(LOG_WARNING, &ctx, "nothing more is received: %s", why);
	/* Its source may have given it up for a while. */
	if (was && !s->denied && s->target->state != TARGET_OPENING)
		sink_send_position(s, mesh_e2e_MsgType_MSG_OPENED);
}

/* --- data --- */

static struct fragment
fragment_of(const mesh_e2e_Header *h, const struct frame *f)
{
	return (struct fragment){
	    .first_seq = h->seq,
	    .epoch = h->producer_epoch,
	    .count = h->count,
	    .batch_bytes = h->batch_bytes,
	    .index = h->chunk_seq,
	    .total = h->total_chunks,
	    .key_id = h->key_id.bytes,
	    .nonce = h->nonce.bytes,
	    .signature = h->chunk_seq == 0 ? h->signature.bytes : NULL,
	    .payload = f->payload,
	    .payload_len = f->payload_len,
	    .offset = (size_t)h->chunk_seq * FRAME_PAYLOAD_MAX_BYTES,
	};
}

/* Body and signature; the batch is dropped if they are not the source's. */
static int
verify(struct sink *s, struct batch *b)
{
	const struct log_ctx ctx = {.stream_id = s->id_text};
	int err = batch_check(b);

	if (err == 0)
		err = seal_verify(s->engine->keyring, s->row.tenant_id, s->row.source_key, b);
	if (err == 0) {
		tenantkeys_used(s->engine, s->row.tenant_id, b->key_id);
		return 0;
	}
	metric_inc(&stats.rejected);
	log_at(LOG_WARNING, &ctx, "batch %llu from %s rejected: %s%s", (unsigned long long)b->first_seq,
	    engine_node_text(s->engine, s->row.src_node), err_text(err),
	    err == ERR_NOENT ? " (a key of the tenant that is not in this node's keyring)" : "");
	return err;
}

static void
complete(struct sink *s, struct batch *b, struct mono now)
{
	int err;

	/* A duplicate need not be verified to be told from a new one. */
	if (batch_last_seq(b) >= s->target->expected_seq && verify(s, b) != 0) {
		batch_unref(b);
		return;
	}
	err = target_complete(s->target, b, now);
	if (err == 0)
		metric_inc(&stats.received);
	else if (err == ERR_EXISTS)
		metric_inc(&stats.duplicates);
	else
		metric_inc(&stats.rejected);
}

/* An older key that came with what is sealed with it, unless it is here.  If it can't be taken, neither is
 * what needs it: both are sent again. */
static void
take_key(
    struct engine *e, const mesh_e2e_Header *h, const char *tenant, const uint8_t key_id[CRYPTO_KEY_ID_BYTES])
{
	int err = h->key_box.size != 0 ? tenantkeys_unwrap(e, tenant, key_id, h->key_box.bytes) : 0;

	if (err == 0)
		return;
	metric_inc(&stats.rejected);
	log_debug("an older key of tenant %s is not taken: %s", tenant, err_text(err));
}

void
sink_on_batch(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct ulid id = stream_id_of(h);
	struct sink *s = sink_find(e, &id);
	struct fragment piece = fragment_of(h, f);
	struct mono now = clock_mono();
	struct batch *b;

	if (s == NULL || s->target->state == TARGET_OPENING) {
		metric_inc(&stats.unknown_stream);
		if (s == NULL && h->chunk_seq == 0)
			answer(e, h, f->src, mesh_e2e_MsgType_MSG_UNKNOWN_STREAM, NULL, 0);
		return;
	}
	if (f->src != s->row.src_node || strcmp(h->tenant_id, s->row.tenant_id) != 0 ||
	    s->target->state != TARGET_OPEN) {
		metric_inc(&stats.bad_frames);
		return;
	}
	if (s->denied) {
		/* Its source knows soon, too: then it asks, and is refused. */
		metric_inc(&stats.acl_receive);
		return;
	}
	take_key(e, h, s->row.tenant_id, h->key_id.bytes);
	target_heard(s->target, h->ack);
	if (target_fragment(s->target, &piece, now, &b) != 0)
		metric_inc(&stats.bad_frames);
	if (b != NULL)
		complete(s, b, now);
	sink_touch(s);
}

/* --- opening --- */

/* The key is one of the control group's, which has told this node nothing else yet than that there are some:
 * who was away hears of streams before it hears of their keys. */
static bool
key_may_come(const struct engine *e, const mesh_e2e_Header *h, const struct store_stream *row)
{
	const uint8_t *id = h->key_box.size != 0 ? tenantkeys_box_key(h->key_box.bytes) : row->key_id;
	const uint8_t *key;

	return mcg_key_get(mesh_mcg(e->mesh), row->tenant_id) != NULL &&
	       (!mesh_key_made(e->mesh, row->tenant_id, id) ||
		   keyring_open_key(e->keyring, row->tenant_id, id, &key) == 0);
}

static void
refuse_without_key(struct engine *e, const mesh_e2e_Header *h, const struct store_stream *row)
{
	bool wait = key_may_come(e, h, row);
	char why[256];

	snprintf(why, sizeof(why), "node %s has no key of tenant %s%s", e->node_name, row->tenant_id,
	    wait ? " that is as new as the stream's, yet" : "");
	refuse(e, h, row, wait ? CODE_UNAVAILABLE : CODE_FAILED_PRECONDITION, why);
}

/* Whether this node takes the stream; if not, it has said why. */
static bool
acceptable(struct engine *e, const mesh_e2e_Header *h, const struct store_stream *row)
{
	static const struct ulid none;
	const uint8_t *key;
	uint64_t seq;
	char why[256];

	if (row->revision <= fresh_removed_at(e, &row->stream_id)) {
		metric_inc(&stats.bad_frames); /* old: this node was a target then, and is none since */
		return false;
	}
	if (!permitted(e, h, row, row))
		return false;
	if (idcache_find(&e->closed, &row->stream_id, &none, &seq)) {
		refuse(e, h, row, CODE_FAILED_PRECONDITION, "the stream was closed");
		return false;
	}
	if (keyring_open_key(e->keyring, row->tenant_id, row->key_id, &key) != 0) {
		refuse_without_key(e, h, row);
		return false;
	}
	if (row->policy.handler == POLICY_DB && !dbsinks_may(e->dbsinks, row->tenant_id)) {
		snprintf(why, sizeof(why),
		    "node %s has no table that streams of tenant %s may write to (mesh.conf: db-table, "
		    "stream-tenants)",
		    e->node_name, row->tenant_id);
		refuse(e, h, row, CODE_FAILED_PRECONDITION, why);
		return false;
	}
	if (engine_stream_count(e) >= e->streams_max) {
		snprintf(
		    why, sizeof(why), "node %s has as many streams as it may (streams-max)", e->node_name);
		refuse(e, h, row, CODE_RESOURCE_EXHAUSTED, why);
		return false;
	}
	return true;
}

static int
put_row(struct sink *s, enum target_state state)
{
	struct engine *e = s->engine;
	int64_t ticket;
	int err = order_reserve(&e->order[s->class]);

	if (err != 0)
		return err;
	s->row.state = state == TARGET_OPENING ? STORE_STREAM_OPEN : STORE_STREAM_CLOSED;
	s->row.close_seq = s->target->close_seq;
	ticket = store_put_stream(e->store, &s->row);
	if (ticket < 0)
		return (int)ticket;
	order_add(&e->order[s->class], (uint64_t)ticket, ORDER_TARGET_ROW, s->target, state);
	return 0;
}

void
sink_opened(struct sink *s)
{
	log_info("stream %s of tenant %s from %s opened", s->id_text, s->row.tenant_id,
	    engine_node_text(s->engine, s->row.src_node));
	sink_send_position(s, mesh_e2e_MsgType_MSG_OPENED);
	subscriber_stream_opened(s->engine, s);
	api_stream_event(s->engine, "stream_opened", s->id_text, s->row.tenant_id, "target");
	sink_touch(s);
}

/* Asks the source whether this is its wish; the target keeps nothing. */
static void
challenge(struct engine *e, const mesh_e2e_Header *in, const struct store_stream *row)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	h.msg_type = mesh_e2e_MsgType_MSG_CHALLENGE;
	h.stream_id = in->stream_id;
	memcpy(h.tenant_id, in->tenant_id, sizeof(h.tenant_id));
	fresh_nonce(e, &row->stream_id, row->src_node, h.nonce.bytes);
	h.nonce.size = FRESH_NONCE_BYTES;
	metric_inc(&stats.challenged);
	transport_send(e->transport, &h, row->src_node, NULL, 0);
}

static void
open_new(struct engine *e, const mesh_e2e_Header *h, const struct store_stream *row)
{
	struct sink *s;
	int err;

	if (!acceptable(e, h, row))
		return;
	if (row->src_node != e->self && !fresh_is(e, h, row)) {
		challenge(e, h, row);
		return;
	}
	err = sink_new(e, row, &s);
	if (err != 0)
		return; /* the source asks again */
	sink_begin(s);
	if (row->src_node == e->self) {
		/* The source's row, durable since before it asked, is this one too. */
		s->target->state = TARGET_OPEN;
		sink_opened(s);
		return;
	}
	/* What the source still has may be of earlier epochs than it is in now: they come with the batches.
	 */
	s->row.epoch = 1;
	if (put_row(s, TARGET_OPENING) != 0)
		sink_free(s);
}

/* A newer meta of a stream that is here: it has another group, say. */
static int
adopt(struct sink *s, const struct store_stream *row)
{
	struct store_stream changed = s->row;
	void *copy;

	if (row->revision <= s->row.revision || s->target->state != TARGET_OPEN)
		return 0;
	if (strcmp(row->tenant_id, s->row.tenant_id) != 0 || row->policy.handler != s->row.policy.handler)
		return ERR_EXISTS;
	copy = mem_dup(row->meta, row->meta_len);
	if (copy == NULL)
		return ERR_NOMEM;
	/* Not its epoch: what the source still has may be of earlier ones. */
	changed.revision = row->revision;
	changed.policy = row->policy;
	sink_take_targets(&changed, row);
	changed.meta = copy;
	changed.meta_len = row->meta_len;
	/* Of this node's own stream the source has written the row. */
	if (row->src_node != s->engine->self && store_put_stream(s->engine->store, &changed) < 0) {
		mem_free(copy);
		return ERR_FULL; /* the source asks again */
	}
	mem_free((void *)(uintptr_t)s->row.meta);
	relation_del_sink(s);
	s->row = changed;
	return relation_add_sink(s);
}

void
sink_on_open(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct store_stream row;
	struct ulid id = stream_id_of(h);
	struct sink *s = sink_find(e, &id);
	int err = meta_verify(f->payload, f->payload_len, &row);

	if (err != 0 || row.src_node != f->src || ulid_compare(&row.stream_id, &id) != 0 ||
	    (!sink_first_seq(e, &row, &row.first_seq) && !sink_has_left(e, &row))) {
		metric_inc(&stats.bad_frames);
		log_warn("node %s asks to open a stream that is not its own or not for this node",
		    engine_node_text(e, f->src));
		return;
	}
	if (s != NULL && s->row.src_node == f->src && sink_over(s, &row))
		sink_remove(s, &row);
	else if (sink_has_left(e, &row)) {
		if (s == NULL)
			sink_not_here(e, &row);
	} else if (s == NULL && row.src_node != e->self && source_find(e, &id) != NULL)
		metric_inc(&stats.bad_frames); /* its row would take the place of our stream's */
	else if (s == NULL) {
		take_key(e, h, row.tenant_id, row.key_id);
		open_new(e, h, &row);
	} else if (s->row.src_node != f->src)
		metric_inc(&stats.bad_frames);
	else if (s->target->state == TARGET_OPEN && adopt(s, &row) == 0) {
		relation_source_back(s);
		s->denied = !permitted(e, h, &s->row, &row);
		if (!s->denied) {
			sink_heard(s, h->ack);
			sink_send_position(s, mesh_e2e_MsgType_MSG_OPENED);
		}
	}
}

/* --- what the source gave up --- */

static void
skip(struct sink *s, uint64_t seq)
{
	uint64_t first = s->target->expected_seq;
	struct engine *e = s->engine;
	int64_t ticket;

	if (seq < first || !sink_keep_all(s) || order_reserve(&e->order[s->class]) != 0)
		return;
	ticket =
	    store_put_skipped(e->store, s->class, &s->row.stream_id, s->row.src_node, e->self, first, seq);
	if (ticket < 0)
		return; /* the source says it again */
	log_warn("stream %s: its source has given up messages %llu to %llu", s->id_text,
	    (unsigned long long)first, (unsigned long long)seq);
	metric_add(&stats.passed, (int64_t)(seq - first + 1));
	MUST(target_skip(s->target, seq));
	order_add(&e->order[s->class], (uint64_t)ticket, ORDER_INBOX, s->target, seq);
	api_stream_event(e, "stream_skipped", s->id_text, s->row.tenant_id, "target");
}

void
sink_on_skip(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct ulid id = stream_id_of(h);
	struct sink *s = sink_find(e, &id);

	if (s == NULL || s->target->state == TARGET_OPENING) {
		metric_inc(&stats.unknown_stream);
		return;
	}
	if (f->src != s->row.src_node || strcmp(h->tenant_id, s->row.tenant_id) != 0 ||
	    s->target->state != TARGET_OPEN || h->seq > INT64_MAX) {
		metric_inc(&stats.bad_frames);
		return;
	}
	skip(s, h->seq);
	target_ack_soon(s->target, clock_mono(), true);
	sink_touch(s);
}

/* --- closing --- */

/* Nothing of a closed stream is kept but where it was. */
static int
clear_inbox(struct sink *s)
{
	uint64_t upto = s->target->processed_seq;
	int64_t ticket;

	if (s->cleared_seq >= upto)
		return 0;
	ticket = store_put_inbox_clear(s->engine->store, s->class, &s->row.stream_id, upto);
	if (ticket < 0)
		return (int)ticket;
	s->cleared_seq = upto;
	return 0;
}

void
sink_end_orphan(struct sink *s)
{
	struct target *t = s->target;

	if (!s->orphan || t->state != TARGET_OPEN || t->processed_seq != t->expected_seq - 1 ||
	    target_close(t, t->processed_seq) != 0)
		return;
	if (clear_inbox(s) != 0 || put_row(s, TARGET_CLOSING) != 0)
		t->state = TARGET_OPEN; /* tried again when something happens */
}

void
sink_evicted(struct engine *e, uint64_t node, uint64_t since)
{
	struct sink *s, *next;

	for (s = HASH_LAST(e->sinks); s != NULL && s->begun > since; s = next) {
		next = s->hh.prev;
		if (s->row.src_node != node || s->orphan || node == e->self)
			continue;
		s->orphan = true;
		log_notice("stream %s: its source %s was evicted: it ends when what came is processed",
		    s->id_text, engine_node_text(e, node));
		sink_touch(s);
	}
}

void
sink_on_close(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct ulid id = stream_id_of(h);
	struct sink *s = sink_find(e, &id);

	if (s == NULL) {
		/* Closed before, and the answer was lost. */
		answer(e, h, f->src, mesh_e2e_MsgType_MSG_CLOSED, NULL, 0);
		return;
	}
	if (f->src != s->row.src_node || strcmp(h->tenant_id, s->row.tenant_id) != 0 ||
	    s->target->state == TARGET_OPENING) {
		metric_inc(&stats.bad_frames);
		return;
	}
	if (s->target->state != TARGET_OPEN)
		return; /* the answer follows when the row is durable */
	if (target_close(s->target, h->seq) != 0) {
		target_ack_soon(s->target, clock_mono(), true);
		sink_touch(s);
		return;
	}
	if (clear_inbox(s) != 0 || (f->src != e->self && put_row(s, TARGET_CLOSING) != 0)) {
		s->target->state = TARGET_OPEN; /* the source asks again */
		return;
	}
	if (f->src == e->self) {
		/* The row is the source's, which will write its end. */
		s->target->state = TARGET_CLOSED;
		sink_end(s);
	}
}
