/* source: what targets say; see source.h. */
#include "consensusd/source.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/stats.h"
#include "consensusd/tag.h"
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

static struct flow_ack
ack_of(const mesh_e2e_Header *h)
{
	return (struct flow_ack){
	    .stored = h->stored,
	    .processed = h->ack,
	    .window_bytes = h->window_bytes < SIZE_MAX / 4 ? h->window_bytes : SIZE_MAX / 4,
	    .ranges = h->ranges,
	    .range_count = h->ranges_count,
	};
}

/* Answers the publishers whose messages all targets have processed. */
static void
commit(struct source *s)
{
	uint64_t before = s->stream->committed_seq;
	struct waiter w;

	if (!stream_commit(s->stream))
		return;
	metric_add(&stats.committed, (int64_t)(s->stream->committed_seq - before));
	while (waiters_pop(&s->stream->waiters, s->stream->committed_seq, &w))
		api_publish_committed(s, &w);
}

static void
fail_waiters(struct source_flow *f)
{
	struct source *s = f->source;
	struct waiter w;

	while (waiters_pop(&s->stream->waiters, UINT64_MAX, &w))
		api_publish_failed(s, &w, f);
}

static void
refuse(struct source_flow *f, const char *why)
{
	struct engine *e = f->source->engine;
	const struct log_ctx ctx = {.stream_id = f->source->id_text};
	bool news = f->flow->state != FLOW_REFUSED || strcmp(f->error, why) != 0;

	flow_refused(f->flow, clock_mono(), &e->rng);
	if (news) {
		snprintf(f->error, sizeof(f->error), "%s", why);
		log_at(LOG_WARNING, &ctx, "target %s refuses the stream: %s",
		    engine_node_text(e, f->flow->node), why);
	}
	fail_waiters(f);
	source_flow_ready(f);
}

void
source_flow_broken(struct source_flow *f, const char *why)
{
	metric_inc(&stats.bad_frames);
	refuse(f, why);
}

/* Takes what the target says where it is. */
static void
acked(struct source_flow *f, const mesh_e2e_Header *h)
{
	struct flow_ack a = ack_of(h);
	uint64_t before = f->flow->processed;

	if (flow_acked(f->flow, &a, f->source->stream->durable_seq, clock_mono()) != 0) {
		metric_inc(&stats.bad_frames);
		return;
	}
	if (f->flow->processed > before) {
		commit(f->source);
		source_progressed(f->source);
	}
	source_flow_ready(f);
}

void
source_on_ack(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct source_flow *sf = flow_of(e, h, f);

	if (sf != NULL)
		acked(sf, h);
}

/* An answer that can't be true may be an old one; if all of them are like that, something is wrong. */
static void
doubt(struct source_flow *f, const struct flow_ack *a)
{
	const struct stream *st = f->source->stream;
	char why[160];

	metric_inc(&stats.bad_frames);
	if (++f->doubts < SOURCE_DOUBTS_MAX)
		return;
	f->doubts = 0;
	snprintf(why, sizeof(why),
	    "it has %llu and has processed %llu, here it is %llu and %llu: was a database restored?",
	    (unsigned long long)a->stored, (unsigned long long)a->processed,
	    (unsigned long long)st->durable_seq, (unsigned long long)f->flow->processed);
	refuse(f, why);
}

void
source_on_opened(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct source_flow *sf = flow_of(e, h, f);
	struct flow_ack a = ack_of(h);

	if (sf == NULL || sf->flow->state == FLOW_CLOSED)
		return;
	if (sf->flow->state == FLOW_OPEN) {
		acked(sf, h);
		return;
	}
	if (flow_opened(sf->flow, &a, sf->source->stream->durable_seq, clock_mono()) != 0) {
		doubt(sf, &a);
		return;
	}
	sf->error[0] = '\0';
	sf->doubts = 0;
	commit(sf->source);
	source_progressed(sf->source);
	source_flow_ready(sf);
}

void
source_on_refused(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct source_flow *sf = flow_of(e, h, f);
	mesh_e2e_Refusal r = mesh_e2e_Refusal_init_zero;

	if (sf == NULL || sf->flow->state == FLOW_OPEN)
		return;
	if (pb_unpack(f->payload, f->payload_len, mesh_e2e_Refusal_fields, &r) != 0) {
		metric_inc(&stats.bad_frames);
		return;
	}
	refuse(sf, r.reason);
}

void
source_on_closed(struct engine *e, const mesh_e2e_Header *h, const struct frame *f)
{
	struct source_flow *sf = flow_of(e, h, f);
	const struct stream *st;

	if (sf == NULL)
		return;
	st = sf->source->stream;
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
