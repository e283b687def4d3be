/* source: sending, reading back, and writing progress; see source.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/core/qos.h"
#include "consensusd/source_impl.h"
#include "consensusd/stats.h"
#include "consensusd/tenantkeys.h"
#include "consensusd/transport.h"

/* --- the turn --- */

static void
enqueue(struct source_flow *f)
{
	if (f->queued)
		return;
	TAILQ_INSERT_TAIL(&f->source->engine->ready_flows[f->source->class], f, ready);
	f->queued = true;
}

void
source_flow_ready(struct source_flow *f)
{
	enqueue(f);
	engine_wake(f->source->engine);
}

void
source_ready_all(struct source *s)
{
	for (size_t i = 0; i < s->stream->flow_count; i++)
		source_flow_ready(&s->flows[i]);
}

void
source_on_flow_timer(void *arg)
{
	source_flow_ready(arg);
}

static void
retry_later(struct source_flow *f)
{
	struct engine *e = f->source->engine;

	engine_at(e, &f->timed, mono_add_ms(clock_mono(), e->stream_conf.flow.rto_min_ms));
}

bool
source_read_batch(struct source *s, struct flow *f, struct batch *b)
{
	struct engine *e = s->engine;

	if (!stream_read(s->stream, f, b, clock_mono()))
		return false;
	/* It is in flight; if it can't leave now, that is repaired as a loss is. */
	if (f->state != FLOW_OPEN || !relation_describe(s, b))
		return true;
	metric_inc(&stats.sent);
	transport_send_batch(e->transport, b, &s->row, f->node, f->processed);
	return true;
}

void
source_read_done(struct source_flow *f)
{
	f->flow->reading = false;
	source_flow_ready(f);
}

static void
on_read(void *arg, struct batch *b, int err)
{
	struct engine_read *r = arg;
	struct source *s = source_find(r->engine, &r->stream_id);
	struct flow *f = s != NULL ? stream_flow(s->stream, r->node) : NULL;

	if (f != NULL) {
		if (b != NULL)
			(void)source_read_batch(s, f, b);
		else
			f->reading = false;
		/* What is not there (a target claims a part of a batch) is not read again and again. */
		if (err == 0 && (b != NULL || f->next_seq != r->from_seq || f->unread_bytes > 0))
			source_flow_ready(f->owner);
		else
			retry_later(f->owner);
	}
	if (b == NULL)
		engine_read_free(r);
	batch_unref(b);
}

void
source_read_outbox(struct source_flow *f, const struct stream_order *o)
{
	struct engine *e = f->source->engine;
	struct engine_read *r = engine_read_new(e, &f->source->row.stream_id, f->flow->node);
	int err = ERR_NOMEM;

	if (r != NULL) {
		r->from_seq = o->from_seq;
		err =
		    store_read(e->store, STORE_OUTBOX, &r->stream_id, o->from_seq, o->max_bytes, on_read, r);
	}
	if (err == 0)
		return;
	engine_read_free(r);
	f->flow->reading = false;
	retry_later(f);
}

void
source_send_open(struct source_flow *f, const uint8_t *nonce)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;
	struct source *s = f->source;
	char why[ACL_WHY_SIZE];

	/* Nobody hears of what may not be so after a crash. */
	if (s->change.under_way)
		return;
	if (f->flow->state != FLOW_GONE && !acl_may_send(s, f->flow->node, why)) {
		source_flow_deny(f, why);
		return;
	}
	f->denied = false;
	while (f->question == 0)
		crypto_random(&f->question, sizeof(f->question));
	h.msg_type = mesh_e2e_MsgType_MSG_OPEN;
	h.ack = f->flow->processed;
	source_header(s, &h);
	h.question = f->question;
	if (nonce != NULL) {
		memcpy(h.nonce.bytes, nonce, FRESH_NONCE_BYTES);
		h.nonce.size = FRESH_NONCE_BYTES;
	}
	h.key_box.size =
	    (pb_size_t)tenantkeys_wrap(s->engine, s->row.tenant_id, s->row.key_id, h.key_box.bytes);
	metric_inc(&stats.asked);
	f->asks++;
	f->asked = true;
	transport_send(s->engine->transport, &h, f->flow->node, s->row.meta, s->row.meta_len);
}

/* Nothing up to seq, or behind it, is to come. */
static void
send_end(struct source_flow *f, uint32_t msg_type, uint64_t seq)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	h.msg_type = msg_type;
	h.seq = seq;
	source_header(f->source, &h);
	transport_send(f->source->engine->transport, &h, f->flow->node, NULL, 0);
}

/* Does what the flow wants until it wants nothing more; bytes sent. */
static size_t
pump(struct source_flow *f, struct mono now, size_t budget)
{
	struct engine *e = f->source->engine;
	struct stream *st = f->source->stream;
	struct stream_order o;
	uint64_t again = f->flow->retransmits;
	size_t sent = 0;

	while (sent < budget) {
		st->send_limit = relation_limit(f->source);
		switch (stream_poll(st, f->flow, now, &e->rng, &o)) {
		case STREAM_IDLE:
			return sent;
		case STREAM_SEND:
			/* It is lost if the group takes no more at this moment: that is repaired. */
			if (!relation_describe(f->source, o.batch))
				return sent;
			metric_inc(f->flow->retransmits == again ? &stats.sent : &stats.resent);
			again = f->flow->retransmits;
			transport_send_batch(
			    e->transport, o.batch, &f->source->row, f->flow->node, f->flow->processed);
			sent += o.batch->body_len;
			break;
		case STREAM_READ:
			if (spill_read(f, &o) != 0)
				source_read_outbox(f, &o);
			return sent;
		case STREAM_ASK:
			source_send_open(f, NULL);
			break;
		case STREAM_END:
			f->asked = true;
			send_end(f, mesh_e2e_MsgType_MSG_CLOSE, st->close_seq);
			break;
		case STREAM_SKIP:
			send_end(f, mesh_e2e_MsgType_MSG_SKIP, st->skipped_seq);
			break;
		case STREAM_BROKEN:
			source_flow_broken(f, "it claims a part of a batch");
			return sent;
		}
	}
	return sent;
}

/* transportd asks to hold data for a node when client data fills its queues: they have some room beyond that
 * for what is more important. */
static bool
is_held(const struct source_flow *f)
{
	if (!f->node->held || f->flow->state != FLOW_OPEN)
		return false;
	return f->source->class == FRAME_CLASS_CLIENT || f->flow->inflight_bytes >= QOS_HELD_BYTES;
}

static bool
may_send(const struct source_flow *f)
{
	return transport_ready(f->source->engine->transport, f->flow->node) && !is_held(f);
}

/* One turn of one flow: a batch or so, more or less of it by its priority.  It pays in later turns for what a
 * large batch took too much, and saves up nothing. */
static size_t
pump_one(struct source_flow *f, struct mono now, size_t left)
{
	struct engine *e = f->source->engine;
	size_t sent, budget;

	f->left_bytes += (int64_t)qos_share(e->stream_conf.batch_bytes, f->source->row.priority);
	if (f->left_bytes <= 0) {
		enqueue(f);
		return left;
	}
	budget = (uint64_t)f->left_bytes < left ? (size_t)f->left_bytes : left;
	sent = pump(f, now, budget);
	f->left_bytes = sent > 0 ? f->left_bytes - (int64_t)sent : 0;
	if (f->left_bytes > 0)
		f->left_bytes = 0;
	if (sent > 0)
		enqueue(f);
	engine_at(e, &f->timed, stream_deadline(f->source->stream, f->flow));
	source_finish(f->source);
	return sent < left ? left - sent : 0;
}

/* What is left when this class has had its turns. */
static size_t
pump_class(struct source_flow_list *ready, size_t left)
{
	struct mono now = clock_mono();
	struct source_flow_list later = TAILQ_HEAD_INITIALIZER(later);
	struct source_flow *f;

	while (left > 0 && (f = TAILQ_FIRST(ready)) != NULL) {
		TAILQ_REMOVE(ready, f, ready);
		if (may_send(f)) {
			f->queued = false;
			left = pump_one(f, now, left);
		} else {
			/* Looked at again in every turn, until it is released or connected. */
			TAILQ_INSERT_TAIL(&later, f, ready);
		}
	}
	TAILQ_CONCAT(ready, &later, ready);
	return left;
}

static bool
pump_all(struct engine *e)
{
	size_t left = ENGINE_TURN_SEND_BYTES;

	for (int class = 0; class < FRAME_CLASS_COUNT; class ++)
		left = pump_class(&e->ready_flows[class], left);
	return left == 0;
}

bool
source_turn(struct engine *e)
{
	source_give_all(e);
	source_prune_ids(e);
	if (e->unsorted)
		source_sort_ready(e);
	e->unsorted = false;
	return pump_all(e);
}

/* --- clearing --- */

/* What failed above from, up to *upto, which goes no farther than there is room for. */
static size_t
failures_of(
    const struct source_flow *f, uint64_t from, uint64_t *upto, struct store_letter rows[FAILURES_ACK_MAX])
{
	const struct failures *all = &f->flow->failures;
	size_t count = 0;

	for (size_t i = failures_after(all, from); i < all->count; i++) {
		if (count == FAILURES_ACK_MAX) {
			*upto = all->seqs[i] - 1;
			break;
		}
		rows[count++] = (struct store_letter){.kind = STORE_LETTER_HEARD,
		    .stream_id = f->source->row.stream_id,
		    .seq = all->seqs[i],
		    .src_node = f->source->engine->self,
		    .dst_node = f->flow->node,
		    .error = "a dead letter there, where the reason is"};
	}
	return count;
}

/* This node itself as a target has written its rows before it acknowledged. */
static void
record_own(struct source_flow *f)
{
	struct source *s = f->source;

	if (f->flow->processed <= f->recorded_put)
		return;
	f->recorded_put = f->flow->recorded_seq = f->flow->processed;
	relation_processed(s, f->flow->node, f->flow->processed);
	source_answer(s);
	source_flow_ready(f); /* it may be all that a closing stream waits for */
}

/* False: the store takes no more now, or has all. */
static bool
record(struct source_flow *f)
{
	struct engine *e = f->source->engine;
	struct store_letter rows[FAILURES_ACK_MAX];
	uint64_t upto = f->flow->processed;
	size_t count;
	int64_t ticket;

	if (upto <= f->recorded_put || order_reserve(&e->order[f->source->class]) != 0)
		return false;
	count = failures_of(f, f->recorded_put, &upto, rows);
	ticket = store_put_processed_letters(e->store, f->source->class, &f->source->row.stream_id, e->self,
	    f->flow->node, f->recorded_put + 1, upto, rows, count);
	if (ticket < 0)
		return false;
	f->recorded_put = upto;
	relation_processed(f->source, f->flow->node, upto);
	order_add(&e->order[f->source->class], (uint64_t)ticket, ORDER_RECORDED, f->flow, upto);
	return true;
}

/* Of one that is no target any more nothing is: what it had processed was recorded when it went. */
void
source_record(struct source_flow *f)
{
	if (f->flow->state == FLOW_GONE)
		return;
	if (f->flow->node == f->source->engine->self)
		record_own(f);
	else
		while (record(f))
			;
}

/* What no target needs, as far as the store is told that: rows that are gone are known by what was recorded
 * of them, and if that lay below, their seqs would be given again. */
static uint64_t
clear_limit(const struct source *s)
{
	const struct stream *st = s->stream;
	uint64_t upto = st->committed_seq;

	for (size_t i = 0; i < st->flow_count; i++) {
		const struct source_flow *f = &s->flows[i];

		if (f->flow->state != FLOW_GONE && f->recorded_put < upto)
			upto = f->recorded_put;
	}
	return upto > st->skipped_seq ? upto : st->skipped_seq;
}

/* Dead letters that the store has not taken: their publishers wait. */
static bool
failures_left(const struct source *s)
{
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		const struct failures *all = &s->flows[i].flow->failures;

		if (failures_after(all, s->flows[i].recorded_put) < all->count)
			return true;
	}
	return false;
}

static void
clear(struct source *s)
{
	struct engine *e = s->engine;
	uint64_t upto;

	if (s->ended)
		return; /* the row that ends it is the last that is written */
	for (size_t i = 0; i < s->stream->flow_count; i++)
		source_record(&s->flows[i]);
	if (failures_left(s))
		engine_at(s->engine, &s->clear, mono_add_ms(clock_mono(), CLEAR_IDLE_MS));
	upto = clear_limit(s);
	spill_cleared(s, upto);
	if (upto > s->cleared_seq && store_put_outbox_clear(e->store, s->class, &s->row.stream_id, upto) > 0)
		s->cleared_seq = upto;
}

void
source_on_clear_timer(void *arg)
{
	clear(arg);
}

/* Progress is written late and in one go: after a crash the targets know better anyway. */
void
source_progressed(struct source *s)
{
	const struct stream *st = s->stream;
	bool finish = st->state == STREAM_CLOSING && st->committed_seq >= st->close_seq;

	if (finish || failures_left(s) || st->committed_seq - s->cleared_seq >= CLEAR_LAG_COUNT)
		clear(s);
	else if (s->clear.deadline.place == 0)
		engine_at(s->engine, &s->clear, mono_add_ms(clock_mono(), CLEAR_IDLE_MS));
}

void
source_finish(struct source *s)
{
	if (s->ended || !stream_finished(s->stream) || s->stream->durable_seq < s->stream->close_seq)
		return;
	clear(s); /* nothing of a closed stream is kept but where it was */
	if (source_put_row(s, STREAM_CLOSED) == 0)
		s->ended = true;
	else
		engine_at(s->engine, &s->flows[0].timed, mono_add_ms(clock_mono(), CLEAR_IDLE_MS));
}
