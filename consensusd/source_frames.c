/* source: what targets say; see source.h. */
#include "consensusd/source_impl.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/code.h"
#include "consensusd/peers.h"
#include "consensusd/stats.h"
#include "consensusd/tag.h"
#include "consensusd/warmth.h"
#include "proto/pb.h"

void
source_header(const struct source *s, mesh_e2e_Header *h)
{
	memcpy(h->stream_id.bytes, s->row.stream_id.b, ULID_BYTES);
	h->stream_id.size = ULID_BYTES;
	memcpy(h->tenant_id, s->row.tenant_id, sizeof(h->tenant_id));
	h->producer_epoch = s->row.epoch;
	h->priority = (uint32_t)s->row.priority;
}

/* The flow that a frame is about: only a target of the stream may speak of it. */
static struct source_flow *
flow_of(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct ulid id;
	struct source *s;
	struct flow *flow;

	memcpy(id.b, h->stream_id.bytes, ULID_BYTES);
	s = source_find(e, &id);
	if (s == NULL) {
		metric_inc(&stats.unknown_stream);
		return NULL;
	}
	flow = stream_flow(s->stream, f->src);
	/* The tag proves the tenant that the header names: it has to be this stream's. */
	if (flow == NULL || (tag_needed(h->msg_type) && strcmp(h->tenant_id, s->row.tenant_id) != 0)) {
		metric_inc(&stats.bad_frames);
		return NULL;
	}
	return flow->owner;
}

/* False: its payload is not what it should be.  It borrows from both. */
static bool
ack_of(const mesh_e2e_Header *h, const struct frame *f, mesh_e2e_Failures *m, struct flow_ack *out)
{
	*m = (mesh_e2e_Failures)mesh_e2e_Failures_init_zero;
	if (f->payload_len > 0 && pb_unpack(f->payload, f->payload_len, mesh_e2e_Failures_fields, m) != 0) {
		metric_inc(&stats.bad_frames);
		return false;
	}
	*out = (struct flow_ack){
	    .stored = h->stored,
	    .processed = h->ack,
	    .window_bytes = h->window_bytes < SIZE_MAX / 4 ? h->window_bytes : SIZE_MAX / 4,
	    .ranges = h->ranges,
	    .range_count = h->ranges_count,
	    .failed_from = m->from,
	    .failed = m->seqs,
	    .failed_count = m->seqs_count,
	};
	return true;
}

static void
answer_parked(struct source *s)
{
	struct waiter w;

	while (stream_unpark(s->stream, clock_mono(), &w))
		api_publish_committed(s, &w);
	if (s->stream->parked_count > 0)
		engine_at(s->engine, &s->parked, stream_parked_until(s->stream));
}

void
source_result(struct source *s, const struct waiter *w)
{
	if (s->stream->parked_count == STREAM_PARKED_MAX)
		answer_parked(s);
	if (!stream_park(s->stream, w, clock_mono()))
		api_publish_committed(s, w);
	else if (s->parked.deadline.place == 0)
		engine_at(s->engine, &s->parked, stream_parked_until(s->stream));
}

void
source_answer(struct source *s)
{
	uint64_t upto = stream_answered(s->stream);
	struct waiter w;

	while (waiters_pop(&s->stream->waiters, upto, &w))
		source_result(s, &w);
	answer_parked(s);
	stream_settle(s->stream);
}

void
source_on_parked_timer(void *arg)
{
	source_answer(arg);
}

void
source_commit(struct source *s)
{
	uint64_t before = s->stream->committed_seq;

	if (stream_commit(s->stream)) {
		metric_add(&stats.committed, (int64_t)(s->stream->committed_seq - before));
		rate_add(&s->done, clock_mono(), s->stream->committed_seq - before, 0);
		ages_cut(&s->ages, s->stream->committed_seq);
		meters_committed(s->engine->meters, s);
	}
	source_answer(s);
}

void
source_fail_waiters(struct source_flow *f)
{
	struct source *s = f->source;
	struct waiter w;

	while (waiters_pop(&s->stream->waiters, UINT64_MAX, &w))
		api_publish_failed(s, &w, f);
}

static void
refuse(struct source_flow *f, uint32_t code, const char *why)
{
	struct engine *e = f->source->engine;
	const struct log_ctx ctx = {.stream_id = f->source->id_text};
	bool news = f->flow->state != FLOW_REFUSED || strcmp(f->error, why) != 0;

	flow_refused(f->flow, clock_mono(), &e->rng);
	f->code = code;
	if (news) {
		snprintf(f->error, sizeof(f->error), "%s", why);
		log_at(LOG_WARNING, &ctx, "target %s refuses the stream: %s",
		    engine_node_text(e, f->flow->node), why);
	}
	if (stream_hopeless(f->source->stream))
		source_fail_waiters(f);
	source_answer(f->source);
	source_flow_ready(f);
}

void
source_flow_broken(struct source_flow *f, const char *why)
{
	metric_inc(&stats.bad_frames);
	refuse(f, CODE_FAILED_PRECONDITION, why);
}

void
source_flow_deny(struct source_flow *f, const char *why)
{
	if (f->flow->state >= FLOW_CLOSED)
		return;
	if (!f->denied)
		metric_inc(&stats.acl_send);
	f->denied = true;
	refuse(f, CODE_PERMISSION_DENIED, why);
}

void
source_flow_allow(struct source_flow *f)
{
	if ((f->denied || f->code == CODE_PERMISSION_DENIED) && f->flow->state == FLOW_REFUSED) {
		f->denied = false;
		flow_hurry(f->flow, clock_mono());
		source_flow_ready(f);
	}
}

/* Nobody waits for it any more; without any target left the stream ends. */
static void
target_gone(struct source_flow *f)
{
	struct source *s = f->source;
	uint64_t node = f->flow->node;

	source_record(f);
	flow_gone(f->flow);
	snprintf(f->error, sizeof(f->error), "it was evicted from the mesh");
	f->code = CODE_FAILED_PRECONDITION;
	log_notice("stream %s: %s is no target any more: it was evicted", s->id_text,
	    engine_node_text(s->engine, node));
	api_stream_event(s->engine, "stream_target_gone", s->id_text, s->row.tenant_id, "source");
	if (source_row_drop(&s->row, node)) {
		source_revise(s);
	} else if (s->stream->state == STREAM_OPEN && stream_close(s->stream) == 0 &&
		   source_put_row(s, STREAM_CLOSING) != 0) {
		log_warn("stream %s: that it ends is not written yet", s->id_text);
	}
	if (stream_hopeless(s->stream))
		source_fail_waiters(f);
	source_commit(s);
	source_progressed(s);
	source_flow_ready(f);
}

void
source_evicted(struct engine *e, uint64_t node, uint64_t since)
{
	bool any = since == 0;
	struct source *s, *next;
	struct flow *f;

	/* The newest come last. */
	for (s = HASH_LAST(e->sources); s != NULL && s->begun > since; s = next) {
		next = s->hh.prev;
		f = stream_flow(s->stream, node);
		if (f != NULL && f->state < FLOW_CLOSED) {
			target_gone(f->owner);
			any = true;
		} else if (f != NULL && f->untold) {
			source_target_told(f->owner);
		}
	}
	if (any)
		relations_evicted(e->relations, node);
}

/* An answer that can't be true may be an old one; if all of them are like that, something is wrong. */
static void
doubt(struct source_flow *f, const struct flow_ack *a)
{
	const struct stream *st = f->source->stream;
	char why[160];

	metric_inc(&stats.bad_frames);
	/* Late and doubled ones of before come in a crowd: each question counts once. */
	if (!f->asked)
		return;
	f->asked = false;
	if (++f->doubts < SOURCE_DOUBTS_MAX)
		return;
	f->doubts = 0;
	snprintf(why, sizeof(why),
	    "it has %llu and has processed %llu, here it is %llu and %llu: was a database restored?",
	    (unsigned long long)a->stored, (unsigned long long)a->processed,
	    (unsigned long long)st->durable_seq, (unsigned long long)f->flow->processed);
	refuse(f, CODE_FAILED_PRECONDITION, why);
}

/* Takes what the target says where it is, of itself or because it was asked. */
static void
acked(struct source_flow *f, const struct flow_ack *a,
    int take(struct flow *f, const struct flow_ack *a, uint64_t newest_seq, struct mono now))
{
	uint64_t before = f->flow->processed;

	if (stream_contradicts(f->source->stream, f->flow, a)) {
		doubt(f, a);
		return;
	}
	if (take(f->flow, a, f->source->stream->durable_seq, clock_mono()) != 0) {
		metric_inc(&stats.bad_frames);
		return;
	}
	if (f->flow->processed > before) {
		rate_add(&f->done, clock_mono(), f->flow->processed - before, 0);
		source_commit(f->source);
		source_progressed(f->source);
	} else if (f->flow->heard_seq > before) {
		source_answer(
		    f->source); /* nobody may wait any more for what fills the flow's dead letters */
	}
	source_flow_ready(f);
}

void
source_on_ack(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct source_flow *sf = flow_of(e, h, f);
	mesh_e2e_Failures failures;
	struct flow_ack a;

	if (sf != NULL && ack_of(h, f, &failures, &a))
		acked(sf, &a, flow_acked);
}

void
source_on_opened(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct source_flow *sf = flow_of(e, h, f);
	mesh_e2e_Failures failures;
	struct flow_ack a;

	if (sf == NULL || sf->denied || sf->flow->state >= FLOW_CLOSED || !ack_of(h, f, &failures, &a))
		return;
	relation_heard(sf->source, sf->flow->node, h->replica);
	if (sf->flow->state == FLOW_OPEN) {
		acked(sf, &a, flow_answered);
		return;
	}
	if (flow_opened(sf->flow, &a, sf->source->stream->durable_seq, clock_mono()) != 0) {
		doubt(sf, &a);
		return;
	}
	warmth_apply(sf->flow, sf->node);
	sf->error[0] = '\0';
	sf->code = 0;
	sf->doubts = 0;
	sf->question = 0;
	source_commit(sf->source);
	source_progressed(sf->source);
	source_flow_ready(sf);
}

/* Whether the target says so, and nobody else in its name. */
static bool
is_of_target(struct engine *e, const mesh_e2e_Header *h, const mesh_e2e_Refusal *r, const struct frame *f)
{
	const uint8_t *key;

	if (r->node_key.size != CRYPTO_PUBKEY_BYTES || crypto_node_id(r->node_key.bytes) != f->src)
		return false;
	key = peers_pair_key(e->peers, r->node_key.bytes);
	return key != NULL && tag_check_refusal(key, h, f->payload, f->payload_len) == 0;
}

/* It is about to be able to: nothing ends, and it is asked as before. */
static void
refuse_for_now(struct source_flow *f, const char *why)
{
	const struct log_ctx ctx = {.stream_id = f->source->id_text};

	if (strcmp(f->error, why) == 0)
		return;
	snprintf(f->error, sizeof(f->error), "%s", why);
	log_at(LOG_INFO, &ctx, "target %s can't take the stream yet: %s",
	    engine_node_text(f->source->engine, f->flow->node), why);
}

void
source_on_refused(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct source_flow *sf = flow_of(e, h, f);
	mesh_e2e_Refusal r = mesh_e2e_Refusal_init_zero;

	if (sf == NULL || sf->denied || sf->flow->state == FLOW_OPEN || sf->flow->state >= FLOW_CLOSED)
		return;
	/* An old one, or one that was doubled on the way. */
	if (sf->question == 0 || h->question != sf->question)
		return;
	if (pb_unpack(f->payload, f->payload_len, mesh_e2e_Refusal_fields, &r) != 0 ||
	    !is_of_target(e, h, &r, f)) {
		metric_inc(&stats.bad_frames);
		return;
	}
	if (r.revision != sf->source->row.revision)
		return; /* it has not been asked yet about what there is now */
	sf->question = 0;
	if (r.code == CODE_UNAVAILABLE)
		refuse_for_now(sf, r.reason);
	else
		refuse(sf, r.code == CODE_PERMISSION_DENIED ? r.code : CODE_FAILED_PRECONDITION, r.reason);
}

void
source_on_closed(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct source_flow *sf = flow_of(e, h, f);
	const struct stream *st;

	if (sf == NULL)
		return;
	if (sf->flow->untold) {
		/* To what it was told before, perhaps: it is asked again. */
		if (h->seq != sf->source->row.revision)
			return;
		source_target_told(sf);
		return;
	}
	st = sf->source->stream;
	/* It says again that it was removed; that may be late, and it is a target again. */
	if (sf->flow->state == FLOW_GONE || h->seq != 0)
		return;
	if (st->state != STREAM_CLOSING || sf->flow->recorded_seq < st->close_seq) {
		metric_inc(&stats.bad_frames);
		return;
	}
	sf->flow->state = FLOW_CLOSED;
	source_finish(sf->source);
}

void
source_on_unknown(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct source_flow *sf = flow_of(e, h, f);

	if (sf == NULL || sf->flow->state != FLOW_OPEN)
		return;
	flow_reopen(sf->flow, clock_mono());
	source_flow_ready(sf);
}

/* Whether a stream that is old is this node's wish: it is, if it is here. */
void
source_on_challenge(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct source_flow *sf = flow_of(e, h, f);

	if (sf == NULL || sf->source->stream->state == STREAM_OPENING || sf->flow->state > FLOW_REFUSED ||
	    sf->flow->state == FLOW_OPEN)
		return;
	if (h->nonce.size != FRESH_NONCE_BYTES)
		metric_inc(&stats.bad_frames);
	else
		source_send_open(sf, h->nonce.bytes);
}
