/* source: node 0: what source.c and what describes batches to the group do. */
#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "tests/streamsim/world.h"

enum {
	IDS_MAX = 1 << 14,
	IDS_NUMBERED = 16, /* nobody names a seq here */
	READ_US = 3000,
	DOUBTS_MAX = 5,
	LOSE_OF_1000 = 200,
	LOSE_US = 100 * WORLD_MS,
};

static struct node *
source(struct world *w)
{
	return &w->node[0];
}

/* --- starting and stopping --- */

/* What the tables have of them, whether their messages are still in the outbox or not. */
static void
load_ids(struct world *w)
{
	struct node *o = source(w);
	struct batch_record rec;
	struct batch_iter it;
	struct ulid id;

	for (size_t i = 0; i < o->rows.ids_count; i++) {
		batch_iter_init(&it, o->rows.ids[i]);
		while (batch_next(&it, &rec) == 1) {
			memcpy(id.b, rec.message_id, ULID_BYTES);
			MUST(stream_load_id(o->stream, &o->ids, &id, rec.seq) == 0);
		}
	}
}

/* What the outbox has, with its age. */
static void
load_backlog(struct world *w)
{
	struct node *o = source(w);

	for (size_t i = o->rows.first; i < o->rows.first + o->rows.count; i++)
		ledger_add_at(&o->stream->ledger, batch_last_seq(o->rows.batches[i]),
		    o->rows.batches[i]->body_len, o->rows.at_ms[i]);
}

/* What the outbox has, or what is recorded of what it had. */
static uint64_t
last_known(const struct world *w)
{
	const struct rows *r = &w->node[0].rows;
	uint64_t last = r->count > 0 ? batch_last_seq(r->batches[r->first + r->count - 1]) : r->skipped_seq;

	for (unsigned i = 0; i < w->targets; i++)
		if (r->marks[i] > last)
			last = r->marks[i];
	if (last != r->last_seq)
		world_fail(w, "the source forgets that there was %llu, and knows of %llu",
		    (unsigned long long)r->last_seq, (unsigned long long)last);
	return last;
}

void
source_start(struct world *w)
{
	struct node *o = source(w);
	uint64_t targets[ROWS_TARGETS_MAX];

	for (unsigned i = 0; i < w->targets; i++)
		targets[i] = i + 2;
	o->term = 0;
	o->close_put = o->closed_put = false;
	if (o->rows.row && o->rows.row_state == STREAM_CLOSED)
		return;
	o->stream = stream_new(&w->id, "t", targets, w->targets, &w->stream_conf, &o->budget);
	MUST(o->stream != NULL);
	o->stream->epoch = 1;
	stream_set_policy(o->stream, &w->policy);
	o->stream->now_ms = world_wall_ms(w);
	memset(o->doubts, 0, sizeof(o->doubts));
	memset(o->heard, 0, sizeof(o->heard));
	idwindows_init(&o->ids, IDS_MAX, IDS_MAX, IDS_NUMBERED, w->seed);
	if (!o->rows.row) {
		MUST(node_put(o,
		    &(struct rows_put){.kind = ORDER_STREAM_ROW, .seq = STREAM_OPENING, .epoch = 1},
		    o->stream));
		return;
	}
	load_ids(w);
	stream_load(o->stream, last_known(w));
	load_backlog(w);
	o->stream->state = STREAM_OPEN;
	o->stream->epoch = o->rows.epoch;
	for (unsigned i = 0; i < w->targets; i++) {
		stream_load_processed(o->stream, i + 2, o->rows.marks[i]);
		o->recorded_put[i] = o->rows.marks[i];
	}
	if (o->rows.skipped_seq != 0)
		stream_load_skipped(o->stream, o->rows.skipped_seq);
	if (o->rows.row_state == STREAM_CLOSING) {
		o->stream->state = STREAM_CLOSING;
		o->stream->close_seq = o->rows.close_seq;
		o->close_put = true;
	}
}

void
source_stop(struct world *w)
{
	struct node *o = source(w);

	if (o->stream == NULL)
		return;
	for (unsigned i = 0; i < w->targets; i++)
		w->sums.resent += o->stream->flows[i].retransmits;
	stream_free(o->stream, &o->pool);
	o->stream = NULL;
	pending_pool_fini(&o->pool);
	idwindows_fini(&o->ids);
	memset(o->recorded_put, 0, sizeof(o->recorded_put));
}

void
source_new_epoch(struct world *w)
{
	struct node *o = source(w);

	/* What is on its way into the outbox has the old one. */
	if (o->stream == NULL || o->stream->state != STREAM_OPEN || o->stream->pending != NULL ||
	    order_busy(&o->order) || o->rows.put_count != 0)
		return;
	o->stream->epoch++;
	MUST(node_put(o,
	    &(struct rows_put){.kind = ORDER_STREAM_ROW, .seq = STREAM_OPEN, .epoch = o->stream->epoch},
	    o->stream));
	w->sums.epochs++;
}

/* --- the outbox --- */

static struct batch *
seal(const struct stream *st)
{
	const struct pending *p = st->pending;
	struct batch *b = batch_new(pending_bytes(p) + p->count * BATCH_RECORD_HDR_BYTES);
	size_t at = 0;

	if (b == NULL)
		return NULL;
	b->stream_id = st->id;
	b->first_seq = st->next_seq - p->count;
	b->count = p->count;
	b->epoch = st->epoch;
	for (uint32_t i = 0; i < p->count; i++) {
		uint32_t len = p->messages[i].payload_len;

		memcpy(b->body + at, p->messages[i].message_id.b, ULID_BYTES);
		be_store32(b->body + at + ULID_BYTES, len);
		memcpy(b->body + at + BATCH_RECORD_HDR_BYTES, pending_payload(p, i), len);
		at += BATCH_RECORD_HDR_BYTES + len;
	}
	check_digest(b, b->signature); /* a signature that anybody can make */
	return b;
}

static void
give(struct world *w)
{
	struct node *o = source(w);
	struct stream *st = o->stream;
	struct batch *b;

	if (order_busy(&o->order) && !o->flushed)
		return;
	o->flushed = false;
	if (stream_sealable(st)) {
		if ((b = seal(st)) == NULL)
			return;
		stream_sealed(st, &o->pool, b);
	}
	if ((b = st->sealed) != NULL &&
	    node_put(o,
		&(struct rows_put){
		    .kind = ORDER_OUTBOX, .batch = b, .seq = batch_last_seq(b), .at_ms = world_wall_ms(w)},
		st)) {
		st->now_ms = world_wall_ms(w);
		stream_given(st);
	}
}

/* --- sending --- */

static void
send_batch(struct world *w, size_t flow, struct batch *b)
{
	net_send_batch(w, (unsigned)flow + 1, b);
	world_note(w, b->first_seq * 8 + flow);
}

static void
pump(struct world *w, unsigned i)
{
	struct node *o = source(w);
	struct flow *f = &o->stream->flows[i];
	struct stream_order out;

	for (;;) {
		switch (stream_poll(o->stream, f, world_clock(w), &w->rng, &out)) {
		case STREAM_IDLE:
			return;
		case STREAM_SEND:
			send_batch(w, i, out.batch);
			break;
		case STREAM_READ:
			world_push(w, w->now + 100 + world_below(w, READ_US), WORLD_READ, 0, i, NULL);
			return;
		case STREAM_ASK:
			o->asked[i + 1] = true;
			net_send(w, 0, i + 1, &(struct frame){.kind = FRAME_OPEN});
			break;
		case STREAM_END:
			o->asked[i + 1] = true;
			net_send(
			    w, 0, i + 1, &(struct frame){.kind = FRAME_CLOSE, .seq = o->stream->close_seq});
			break;
		case STREAM_SKIP:
			net_send(
			    w, 0, i + 1, &(struct frame){.kind = FRAME_SKIP, .seq = o->stream->skipped_seq});
			break;
		case STREAM_BROKEN:
			world_fail(w, "target %u has half a batch", i + 1);
		}
	}
}

void
source_read(struct world *w, unsigned i)
{
	struct node *o = source(w);
	struct flow *f;
	size_t bytes = 0;
	struct batch *b = NULL;

	if (o->stream == NULL)
		return;
	f = &o->stream->flows[i];
	w->sums.reads++;
	for (uint64_t seq = f->next_seq; bytes < w->stream_conf.batch_bytes * 4;
	     seq = batch_last_seq(b) + 1) {
		if ((b = rows_find(&o->rows, seq)) == NULL)
			break;
		bytes += b->body_len;
		if (stream_read(o->stream, f, b, world_clock(w)))
			send_batch(w, i, b);
	}
	(void)stream_read(o->stream, f, NULL, world_clock(w));
}

/* --- what targets have processed --- */

/* Not before it is recorded who has processed it. */
static uint64_t
clear_limit(const struct world *w)
{
	const struct node *o = &w->node[0];
	uint64_t upto = o->stream->committed_seq;

	for (unsigned i = 0; i < w->targets; i++)
		if (o->recorded_put[i] < upto)
			upto = o->recorded_put[i];
	return upto > o->stream->skipped_seq ? upto : o->stream->skipped_seq;
}

static void
record(struct world *w)
{
	struct node *o = source(w);

	for (unsigned i = 0; i < w->targets; i++) {
		struct flow *f = &o->stream->flows[i];

		/* The store may have no room for the one and have room for the other. */
		if (f->processed > o->recorded_put[i] && !world_chance(w, w->faults.memory) &&
		    node_put(
			o, &(struct rows_put){.kind = ORDER_RECORDED, .seq = f->processed, .target = i}, f))
			o->recorded_put[i] = f->processed;
	}
	(void)node_put(o, &(struct rows_put){.clear = true, .seq = clear_limit(w)}, NULL);
}

/* Publishers who wait for no more than what the stream was asked for. */
static void
answer(struct world *w)
{
	struct stream *st = source(w)->stream;
	struct waiter one;

	while (waiters_pop(&st->waiters, stream_answered(st), &one))
		publisher_answer(w, world_publisher(&one.message_id), world_number(&one.message_id), one.seq);
}

void
source_commit(struct world *w)
{
	struct node *o = source(w);
	bool more = stream_commit(o->stream);

	answer(w);
	if (!more)
		return;
	if (world_chance(w, 200) || o->stream->committed_seq == o->stream->durable_seq)
		record(w);
}

/* It says again and again what can't be true: it has lost what it had. */
static void
doubt(struct world *w, unsigned n)
{
	struct node *o = source(w);
	struct stream *st = o->stream;
	struct waiter one;

	/* Late and doubled answers come in a crowd: each question counts once. */
	if (!o->asked[n])
		return;
	o->asked[n] = false;
	if (++o->doubts[n] < DOUBTS_MAX)
		return;
	o->doubts[n] = 0;
	if (w->node[n].lost == 0)
		world_fail(w, "target %u is refused, and has lost nothing", n);
	if (st->flows[n - 1].processed == 0)
		world_fail(w, "target %u is refused, and nothing was said to be processed there", n);
	flow_refused(&st->flows[n - 1], world_clock(w), &w->rng);
	w->node[n].refused = true;
	w->sums.refusals++;
	while (stream_hopeless(st) && waiters_pop(&st->waiters, UINT64_MAX, &one))
		publisher_refused(w, world_publisher(&one.message_id), world_number(&one.message_id));
}

void
source_frame(struct world *w, const struct frame *f)
{
	struct stream *st = source(w)->stream;
	struct flow *flow = st != NULL ? &st->flows[f->from - 1] : NULL;
	const struct flow_ack a = {
	    .stored = f->ack.stored,
	    .processed = f->ack.processed,
	    .window_bytes = f->ack.window_bytes,
	    .ranges = f->ack.ranges,
	    .range_count = f->ack.range_count,
	};

	if (flow == NULL)
		return; /* a late one */
	if (f->kind == FRAME_UNKNOWN) {
		if (flow->state == FLOW_OPEN)
			flow_reopen(flow, world_clock(w));
		return;
	}
	if (f->kind == FRAME_CLOSED) {
		if (st->state == STREAM_CLOSING && flow->recorded_seq >= st->close_seq)
			flow->state = FLOW_CLOSED;
		return;
	}
	if (stream_contradicts(st, flow, &a)) {
		doubt(w, f->from);
		return;
	}
	if (f->kind == FRAME_OPENED)
		member_heard(w, f->from, f->replica);
	if (f->kind == FRAME_OPENED && flow->state != FLOW_OPEN) {
		if (flow->state >= FLOW_CLOSED)
			return;
		/* An old answer may contradict what is known since. */
		if (flow_opened(flow, &a, st->durable_seq, world_clock(w)) != 0) {
			doubt(w, f->from);
			return;
		}
		source(w)->doubts[f->from] = 0;
		w->node[f->from].refused = false;
	} else if ((f->kind == FRAME_OPENED ? flow_answered : flow_acked)(
		       flow, &a, st->durable_seq, world_clock(w)) != 0) {
		world_fail(w, "target %u acknowledges what does not exist", f->from);
	}
	source_commit(w);
}

void
source_rerouted(struct world *w)
{
	struct stream *st = source(w)->stream;

	for (size_t i = 0; st != NULL && i < st->flow_count; i++)
		flow_rerouted(&st->flows[i], world_clock(w));
}

/* What the group has described is fixed, for who waits for no more. */
static void
described(struct world *w)
{
	struct node *o = source(w);
	const struct dsg_stream *s = dsg_find(o->dsg, &w->id);

	if (s != NULL)
		stream_fixed(o->stream, s->described);
}

static bool
put_row(struct node *o, enum stream_state state)
{
	return node_put(o,
	    &(struct rows_put){.kind = ORDER_STREAM_ROW,
		.seq = state,
		.epoch = o->stream->epoch,
		.close_seq = o->stream->close_seq},
	    o->stream);
}

/* When there is nothing more to be published, the stream is closed. */
static void
finish(struct world *w)
{
	struct node *o = source(w);
	struct stream *st = o->stream;

	if (st->state == STREAM_OPEN && w->published >= w->goal && publisher_done(w)) {
		MUST(stream_close(st) == 0);
		/* When all is done a target may still lose it. */
		if (world_chance(w, LOSE_OF_1000))
			world_push(w, w->now + world_below(w, LOSE_US), WORLD_LOSE,
			    1 + world_below(w, w->targets), 0, NULL);
	}
	if (st->state != STREAM_CLOSING || o->closed_put)
		return;
	if (!o->close_put)
		o->close_put = put_row(o, STREAM_CLOSING);
	record(w);
	if (stream_finished(st) && o->close_put)
		o->closed_put = put_row(o, STREAM_CLOSED);
}

void
source_durable(struct world *w)
{
	struct node *o = source(w);

	if (o->stream == NULL || o->rows.row_state != STREAM_CLOSED)
		return;
	source_stop(w);
	w->sums.closed++;
}

void
source_step(struct world *w)
{
	struct node *o = source(w);

	if (o->stream == NULL)
		return;
	described(w);
	answer(w);
	give(w);
	retain_turn(w);
	finish(w);
	for (unsigned i = 0; i < w->targets; i++)
		pump(w, i);
	for (unsigned i = 0; i < w->targets; i++)
		node_arm(w, 0, stream_deadline(o->stream, &o->stream->flows[i]));
}
