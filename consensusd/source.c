/* source: see source.h.  Frames from targets are in source_frames.c. */
#include "consensusd/source.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/keyring.h"
#include "consensusd/meta.h"
#include "consensusd/seal.h"
#include "consensusd/stats.h"
#include "consensusd/transport.h"

static void on_flow_timer(void *arg);
static void on_clear_timer(void *arg);

struct source *
source_find(const struct engine *e, const struct ulid *id)
{
	struct source *s;

	HASH_FIND(hh, e->sources, id->b, ULID_BYTES, s);
	return s;
}

/* --- making and ending --- */

static void
node_unlink(struct source_flow *f)
{
	if (f->node == NULL)
		return;
	if (f->prev_on_node != NULL)
		f->prev_on_node->next_on_node = f->next_on_node;
	else
		f->node->flows = f->next_on_node;
	if (f->next_on_node != NULL)
		f->next_on_node->prev_on_node = f->prev_on_node;
	f->node = NULL;
}

static int
node_link(struct source_flow *f, uint64_t node)
{
	struct source_flow *first;

	f->node = nodes_get(&f->source->engine->nodes, node);
	if (f->node == NULL)
		return ERR_NOMEM;
	first = f->node->flows;
	f->next_on_node = first;
	if (first != NULL)
		first->prev_on_node = f;
	f->node->flows = f;
	return 0;
}

static int
flows_init(struct source *s)
{
	int err = 0;

	for (size_t i = 0; i < s->stream->flow_count && err == 0; i++) {
		struct source_flow *f = &s->flows[i];

		f->source = s;
		f->flow = &s->stream->flows[i];
		f->flow->owner = f;
		f->timed.fn = on_flow_timer;
		f->timed.arg = f;
		err = node_link(f, f->flow->node);
	}
	return err;
}

static int
source_new(struct engine *e, const struct store_stream *row, struct source **out)
{
	struct source *s = mem_calloc(1, sizeof(*s) + row->dst_count * sizeof(s->flows[0]));
	int err = 0;

	if (s == NULL)
		return ERR_NOMEM;
	s->engine = e;
	s->row = *row;
	s->row.meta = mem_dup(row->meta, row->meta_len);
	s->stream = stream_new(
	    &row->stream_id, row->tenant_id, row->dst_nodes, row->dst_count, &e->stream_conf, &e->budget);
	ulid_format(s->id_text, &row->stream_id);
	s->clear.fn = on_clear_timer;
	s->clear.arg = s;
	if (s->row.meta == NULL || s->stream == NULL)
		err = ERR_NOMEM;
	if (err == 0) {
		s->stream->owner = s;
		s->stream->epoch = row->epoch;
		err = flows_init(s);
	}
	if (err == 0) {
		HASH_ADD(hh, e->sources, row.stream_id.b, ULID_BYTES, s);
		if (!HASH_ADDED(s))
			err = ERR_NOMEM;
	}
	if (err != 0) {
		source_free(s);
		return err;
	}
	metric_add(&stats.sources, 1);
	*out = s;
	return 0;
}

void
source_free(struct source *s)
{
	struct engine *e = s->engine;

	if (HASH_ADDED(s)) {
		HASH_DEL(e->sources, s);
		metric_add(&stats.sources, -1);
	}
	for (size_t i = 0; i < s->row.dst_count; i++) {
		struct source_flow *f = &s->flows[i];

		engine_at_cancel(e, &f->timed);
		node_unlink(f);
		if (f->queued)
			TAILQ_REMOVE(&e->ready_flows, f, ready);
	}
	engine_at_cancel(e, &s->clear);
	if (s->dirty)
		TAILQ_REMOVE(&e->dirty_sources, s, dirty_entry);
	stream_free(s->stream, &e->pool);
	mem_free((void *)(uintptr_t)s->row.meta);
	mem_free(s);
}

void
source_free_all(struct engine *e)
{
	while (e->sources != NULL)
		source_free(e->sources);
}

static int
put_row(struct source *s, enum stream_state state)
{
	struct engine *e = s->engine;
	int64_t ticket;
	int err = order_reserve(&e->order);

	if (err != 0)
		return err;
	s->row.state = state == STREAM_CLOSED    ? STORE_STREAM_CLOSED
		       : state == STREAM_CLOSING ? STORE_STREAM_CLOSING
						 : STORE_STREAM_OPEN;
	s->row.close_seq = s->stream->close_seq;
	ticket = store_put_stream(e->store, &s->row);
	if (ticket < 0)
		return (int)ticket;
	order_add(&e->order, (uint64_t)ticket, ORDER_STREAM_ROW, s->stream, state);
	return 0;
}

int
source_open(struct engine *e, struct store_stream *row, struct source **out)
{
	uint8_t mem[META_MAX_BYTES];
	const uint8_t *key;
	struct buf meta;
	int err = keyring_seal_key(e->keyring, row->tenant_id, &key, row->key_id);

	if (err != 0)
		return err;
	row->src_node = e->self;
	memcpy(row->source_key, e->public_key, sizeof(row->source_key));
	buf_init_fixed(&meta, mem, sizeof(mem));
	err = meta_sign(e->keyring, row, &meta);
	row->meta = buf_head(&meta);
	row->meta_len = buf_left(&meta);
	if (err == 0)
		err = source_new(e, row, out);
	if (err != 0)
		return err;
	err = put_row(*out, STREAM_OPENING);
	if (err != 0)
		source_free(*out);
	return err;
}

/* What was pending when this node stopped never was: the stream ends before it. */
static void
load_close(struct source *s)
{
	uint64_t last = s->stream->durable_seq;

	if (s->stream->state == STREAM_CLOSING)
		s->stream->close_seq = s->row.close_seq < last ? s->row.close_seq : last;
}

int
source_load(struct engine *e, const struct store_stream *row)
{
	struct source *s;
	int err = source_new(e, row, &s);

	if (err != 0)
		return err;
	stream_load(s->stream, row->outbox_last_seq);
	s->stream->state = STREAM_OPEN;
	if (row->state == STORE_STREAM_CLOSING)
		s->stream->state = STREAM_CLOSING;
	load_close(s);
	source_ready_all(s);
	return 0;
}

void
source_load_offset(struct source *s, uint64_t node, uint64_t seq)
{
	struct flow *f = stream_flow(s->stream, node);

	if (f == NULL)
		return;
	stream_load_processed(s->stream, node, seq);
	((struct source_flow *)f->owner)->recorded_put = f->processed;
	s->cleared_seq = s->stream->committed_seq;
	load_close(s);
}

int
source_wait_open(struct source *s, uint64_t call)
{
	if (s->open_call_count == SOURCE_CALLS_MAX)
		return ERR_FULL;
	s->open_calls[s->open_call_count++] = call;
	return 0;
}

int
source_close(struct source *s, uint64_t call)
{
	enum stream_state before = s->stream->state;
	int err;

	if (before == STREAM_OPENING)
		return ERR_AGAIN;
	if (s->close_call_count == SOURCE_CALLS_MAX)
		return ERR_FULL;
	if (before == STREAM_OPEN) {
		err = stream_close(s->stream);
		if (err == 0)
			err = put_row(s, STREAM_CLOSING);
		if (err != 0) {
			s->stream->state = before;
			return err;
		}
		source_ready_all(s);
	} else if (s->close_call_count == 0) {
		/* Closing is durable already. */
		api_stream_closing(s, call);
		return 0;
	}
	s->close_calls[s->close_call_count++] = call;
	return 0;
}

/* --- publishing --- */

static void
source_touch(struct source *s)
{
	if (!s->dirty) {
		TAILQ_INSERT_TAIL(&s->engine->dirty_sources, s, dirty_entry);
		s->dirty = true;
	}
	engine_wake(s->engine);
}

/* The tenant's key is gone: what is pending can't be kept. */
static void
fail_pending(struct source *s, int err)
{
	struct waiter w;

	log_error("stream %s: messages can't be sealed (%s): is there a key for tenant %s in the keyring?",
	    s->id_text, err_text(err), s->row.tenant_id);
	stream_drop_pending(s->stream, &s->engine->pool, &s->engine->ids);
	while (waiters_pop_from(&s->stream->waiters, s->stream->next_seq, &w))
		api_publish_failed(s, &w, NULL);
}

static int
seal_pending(struct source *s)
{
	struct engine *e = s->engine;
	struct stream *st = s->stream;
	struct pending *p = st->pending;
	struct batch *b;
	int err;

	for (uint32_t i = 0; i < p->count; i++) {
		e->scratch[i] = (struct seal_message){
		    .message_id = p->messages[i].message_id,
		    .headers = pending_headers(p, i),
		    .headers_len = p->messages[i].headers_len,
		    .payload = pending_payload(p, i),
		    .payload_len = p->messages[i].payload_len,
		};
	}
	err = seal_batch(
	    e->keyring, &st->id, st->tenant, st->next_seq - p->count, st->epoch, e->scratch, p->count, &b);
	if (err == ERR_NOENT)
		fail_pending(s, err);
	if (err == 0) {
		stream_sealed(st, &e->pool, b);
		metric_inc(&stats.batches);
	}
	return err;
}

/* Gives what is pending to the store, if that takes it; what is left is tried in a later turn. */
static int
give_pending(struct source *s)
{
	struct engine *e = s->engine;
	struct stream *st = s->stream;
	uint64_t last;
	int64_t ticket;
	int err = 0;

	if (stream_sealable(st))
		err = seal_pending(s);
	if (err != 0 || st->sealed == NULL)
		return err;
	err = order_reserve(&e->order);
	if (err != 0)
		return err;
	last = batch_last_seq(st->sealed);
	ticket = store_put_outbox(e->store, st->sealed);
	if (ticket < 0)
		return (int)ticket;
	order_add(&e->order, (uint64_t)ticket, ORDER_OUTBOX, st, last);
	stream_given(st);
	return 0;
}

int
source_publish(struct source *s, const struct publish *p, uint64_t call, uint64_t *seq)
{
	struct engine *e = s->engine;
	struct stream *st = s->stream;
	const struct waiter w = {.call = call, .message_id = p->message_id};
	int r, err = 0;

	if (waiters_count(&st->waiters) >= WAITERS_MAX)
		return ERR_FULL;
	r = stream_publish(st, &e->pool, &e->ids, p, seq);
	if (r == ERR_AGAIN) {
		err = give_pending(s);
		if (err != 0)
			return err;
		r = stream_publish(st, &e->pool, &e->ids, p, seq);
	}
	if (r == ERR_AGAIN)
		return ERR_FULL;
	if (r < 0)
		return r;
	if (r == PUBLISH_NEW)
		source_touch(s);
	if (call != 0 && (r == PUBLISH_NEW || *seq > st->committed_seq)) {
		struct waiter one = w;

		one.seq = *seq;
		err = waiters_add(&st->waiters, &one);
	}
	return err != 0 ? err : r;
}

struct source_flow *
source_refused_flow(struct source *s)
{
	for (size_t i = 0; i < s->stream->flow_count; i++) {
		if (s->flows[i].flow->state == FLOW_REFUSED)
			return &s->flows[i];
	}
	return NULL;
}

/* --- what became durable --- */

static void
end(struct source *s)
{
	static const struct ulid none;

	/* Only a hint for old frames: without memory it is not remembered. */
	if (idcache_add(&s->engine->closed, &s->row.stream_id, &none, s->stream->close_seq + 1) != 0)
		log_debug("stream %s: closed, not remembered", s->id_text);
	log_info(
	    "stream %s closed after %llu messages", s->id_text, (unsigned long long)s->stream->close_seq);
	api_stream_event(s->engine, "stream_closed", s->id_text, s->row.tenant_id, "source");
	source_free(s);
}

void
source_row_durable(struct stream *stream, uint64_t state)
{
	struct source *s = stream->owner;
	size_t n;

	switch ((enum stream_state)state) {
	case STREAM_OPENING:
		n = s->open_call_count;
		s->open_call_count = 0;
		for (size_t i = 0; i < n; i++)
			api_stream_opened(s, s->open_calls[i]);
		api_stream_event(s->engine, "stream_opened", s->id_text, s->row.tenant_id, "source");
		source_ready_all(s);
		break;
	case STREAM_CLOSING:
		n = s->close_call_count;
		s->close_call_count = 0;
		for (size_t i = 0; i < n; i++)
			api_stream_closing(s, s->close_calls[i]);
		source_ready_all(s);
		break;
	case STREAM_CLOSED:
		end(s);
		break;
	case STREAM_OPEN:
		break;
	}
}

void
source_outbox_durable(struct stream *stream)
{
	struct source *s = stream->owner;

	source_ready_all(s);
	if (stream->pending != NULL)
		source_touch(s);
}

void
source_flow_recorded(struct flow *flow)
{
	source_flow_ready(flow->owner);
}

/* --- the turn --- */

static void
enqueue(struct source_flow *f)
{
	if (f->queued)
		return;
	TAILQ_INSERT_TAIL(&f->source->engine->ready_flows, f, ready);
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

static void
on_flow_timer(void *arg)
{
	source_flow_ready(arg);
}

/* While the store works, what comes in joins the batch that forms; then all of it leaves at once. */
static void
give_all(struct engine *e)
{
	struct source *s, *next;

	if ((order_busy(&e->order) && !e->flushed) || store_full(e->store))
		return;
	e->flushed = false;
	for (s = TAILQ_FIRST(&e->dirty_sources); s != NULL; s = next) {
		next = TAILQ_NEXT(s, dirty_entry);
		if (give_pending(s) != 0 || s->stream->pending != NULL || s->stream->sealed != NULL)
			continue;
		TAILQ_REMOVE(&e->dirty_sources, s, dirty_entry);
		s->dirty = false;
	}
}

static void
retry_later(struct source_flow *f)
{
	struct engine *e = f->source->engine;

	engine_at(e, &f->timed, mono_add_ms(clock_mono(), e->stream_conf.flow.rto_min_ms));
}

static void
on_read(void *arg, struct batch *b, int err)
{
	struct engine_read *r = arg;
	struct source *s = source_find(r->engine, &r->stream_id);
	struct flow *f = s != NULL ? stream_flow(s->stream, r->node) : NULL;

	if (f != NULL) {
		if (stream_read(s->stream, f, b, clock_mono())) {
			metric_inc(&stats.sent);
			transport_send_batch(r->engine->transport, b, s->row.tenant_id, r->node);
		}
		if (err == 0)
			source_flow_ready(f->owner);
		else
			retry_later(f->owner);
	}
	if (b == NULL)
		engine_read_free(r);
	batch_unref(b);
}

static void
read_outbox(struct source_flow *f, const struct stream_order *o)
{
	struct engine *e = f->source->engine;
	struct engine_read *r = engine_read_new(e, &f->source->row.stream_id, f->flow->node);
	int err = ERR_NOMEM;

	if (r != NULL)
		err =
		    store_read(e->store, STORE_OUTBOX, &r->stream_id, o->from_seq, o->max_bytes, on_read, r);
	if (err == 0)
		return;
	engine_read_free(r);
	f->flow->reading = false;
	retry_later(f);
}

static void
send_open(struct source_flow *f)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;
	struct source *s = f->source;

	h.msg_type = mesh_e2e_MsgType_MSG_OPEN;
	source_header(s, &h);
	metric_inc(&stats.asked);
	transport_send(s->engine->transport, &h, f->flow->node, s->row.meta, s->row.meta_len);
}

static void
send_close(struct source_flow *f)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	h.msg_type = mesh_e2e_MsgType_MSG_CLOSE;
	h.seq = f->source->stream->close_seq;
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
		switch (stream_poll(st, f->flow, now, &e->rng, &o)) {
		case STREAM_IDLE:
			return sent;
		case STREAM_SEND:
			metric_inc(f->flow->retransmits == again ? &stats.sent : &stats.resent);
			again = f->flow->retransmits;
			transport_send_batch(e->transport, o.batch, st->tenant, f->flow->node);
			sent += o.batch->body_len;
			break;
		case STREAM_READ:
			read_outbox(f, &o);
			return sent;
		case STREAM_ASK:
			send_open(f);
			break;
		case STREAM_END:
			send_close(f);
			break;
		case STREAM_BROKEN:
			source_flow_broken(f, "it claims a part of a batch");
			return sent;
		}
	}
	return sent;
}

static bool
may_send(const struct source_flow *f)
{
	const struct engine *e = f->source->engine;

	return transport_ready(e->transport, f->flow->node) &&
	       (!f->node->held || f->flow->state != FLOW_OPEN);
}

/* One turn of one flow: at most a batch or so, so that flows take turns. */
static size_t
pump_one(struct source_flow *f, struct mono now, size_t left)
{
	struct engine *e = f->source->engine;
	size_t share = left < e->stream_conf.batch_bytes ? left : e->stream_conf.batch_bytes;

	share = pump(f, now, share);
	if (share > 0)
		enqueue(f);
	engine_at(e, &f->timed, stream_deadline(f->source->stream, f->flow));
	source_finish(f->source);
	return share < left ? left - share : 0;
}

static bool
pump_all(struct engine *e)
{
	struct mono now = clock_mono();
	struct source_flow_list later = TAILQ_HEAD_INITIALIZER(later);
	struct source_flow *f;
	size_t left = ENGINE_TURN_SEND_BYTES;

	while (left > 0 && (f = TAILQ_FIRST(&e->ready_flows)) != NULL) {
		TAILQ_REMOVE(&e->ready_flows, f, ready);
		if (may_send(f)) {
			f->queued = false;
			left = pump_one(f, now, left);
		} else {
			/* Looked at again in every turn, until it is released or connected. */
			TAILQ_INSERT_TAIL(&later, f, ready);
		}
	}
	TAILQ_CONCAT(&e->ready_flows, &later, ready);
	return left == 0;
}

bool
source_turn(struct engine *e)
{
	give_all(e);
	return pump_all(e);
}

/* --- clearing --- */

static void
record(struct source_flow *f)
{
	struct engine *e = f->source->engine;
	uint64_t upto = f->flow->processed;
	int64_t ticket;

	/* This node itself as a target has written its row before it acknowledged. */
	if (f->flow->node == e->self)
		f->recorded_put = f->flow->recorded_seq = upto;
	if (upto <= f->recorded_put || order_reserve(&e->order) != 0)
		return;
	ticket = store_put_processed(
	    e->store, &f->source->row.stream_id, e->self, f->flow->node, f->recorded_put + 1, upto);
	if (ticket < 0)
		return;
	f->recorded_put = upto;
	order_add(&e->order, (uint64_t)ticket, ORDER_RECORDED, f->flow, upto);
}

static void
clear(struct source *s)
{
	struct engine *e = s->engine;
	uint64_t upto = s->stream->committed_seq;

	if (s->ended)
		return; /* the row that ends it is the last that is written */
	for (size_t i = 0; i < s->stream->flow_count; i++)
		record(&s->flows[i]);
	if (upto > s->cleared_seq && store_put_outbox_clear(e->store, &s->row.stream_id, upto) > 0)
		s->cleared_seq = upto;
}

static void
on_clear_timer(void *arg)
{
	clear(arg);
}

/* Progress is written late and in one go: after a crash the targets know better anyway. */
void
source_progressed(struct source *s)
{
	const struct stream *st = s->stream;
	bool finish = st->state == STREAM_CLOSING && st->committed_seq >= st->close_seq;

	if (finish || st->committed_seq - s->cleared_seq >= CLEAR_LAG_COUNT)
		clear(s);
	else if (s->clear.deadline.place == 0)
		engine_at(s->engine, &s->clear, mono_add_ms(clock_mono(), CLEAR_IDLE_MS));
}

void
source_finish(struct source *s)
{
	if (s->ended || !stream_finished(s->stream) || s->stream->durable_seq < s->stream->close_seq)
		return;
	if (put_row(s, STREAM_CLOSED) == 0)
		s->ended = true;
	else
		engine_at(s->engine, &s->flows[0].timed, mono_add_ms(clock_mono(), CLEAR_IDLE_MS));
}
