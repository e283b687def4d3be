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

	for (unsigned n = 1; n <= w->targets; n++) {
		uint64_t first = w->node[0].row.first[n - 1];

		if (!set_has(w->node[0].row.present, n))
			continue;
		if (r->marks[n - 1] > last)
			last = r->marks[n - 1];
		if (first > last + 1)
			last = first - 1;
	}
	if (last != r->last_seq)
		world_fail(w, "the source forgets that there was %llu, and knows of %llu",
		    (unsigned long long)r->last_seq, (unsigned long long)last);
	return last;
}

/* Those that were removed and may not know it have flows, too. */
static struct stream *
stream_of(struct world *w)
{
	struct node *o = source(w);
	uint64_t nodes[ROWS_TARGETS_MAX];
	size_t count = 0;

	for (unsigned n = 1; n <= w->targets; n++)
		if (set_has(o->row.present | o->row.left, n))
			nodes[count++] = n + 1;
	return stream_new(&w->id, "t", nodes, count, &w->stream_conf, &o->budget);
}

static void
load_marks(struct world *w)
{
	struct node *o = source(w);

	for (unsigned n = 1; n <= w->targets; n++) {
		const struct flow *f = stream_flow(o->stream, n + 1);

		stream_load_processed(o->stream, n + 1, o->rows.marks[n - 1]);
		if (f != NULL)
			o->recorded_put[n - 1] = f->processed;
		letters_load(w, n);
	}
}

void
source_start(struct world *w)
{
	struct node *o = source(w);

	o->term = 0;
	o->close_put = o->closed_put = false;
	o->rows_put_count = o->rows_durable_count = 0;
	change_load(w);
	if (o->rows.row && o->rows.row_state == STREAM_CLOSED)
		return;
	MUST((o->stream = stream_of(w)) != NULL);
	o->stream->epoch = 1;
	stream_set_policy(o->stream, &w->policy);
	for (size_t i = 0; i < o->stream->flow_count; i++)
		o->stream->flows[i].failures.cap = w->flow_failures;
	o->stream->now_ms = world_wall_ms(w);
	memset(o->doubts, 0, sizeof(o->doubts));
	idwindows_init(&o->ids, IDS_MAX, IDS_MAX, IDS_NUMBERED, w->seed);
	if (!o->rows.row) {
		MUST(source_put_row(o, STREAM_OPENING));
		return;
	}
	load_ids(w);
	stream_load(o->stream, last_known(w));
	load_backlog(w);
	o->stream->state = STREAM_OPEN;
	o->stream->epoch = o->rows.epoch;
	change_load_flows(w);
	load_marks(w);
	if (o->rows.skipped_seq != 0)
		stream_load_skipped(o->stream, o->rows.skipped_seq);
	if (o->rows.row_state == STREAM_CLOSING) {
		o->stream->state = STREAM_CLOSING;
		o->stream->close_seq = o->rows.close_seq;
		o->close_put = true;
	}
	change_loaded(w);
}

void
source_stop(struct world *w)
{
	struct node *o = source(w);

	if (o->stream == NULL)
		return;
	for (size_t i = 0; i < o->stream->flow_count; i++)
		w->sums.resent += o->stream->flows[i].retransmits;
	stream_free(o->stream, &o->pool);
	o->stream = NULL;
	pending_pool_fini(&o->pool);
	idwindows_fini(&o->ids);
	memset(o->recorded_put, 0, sizeof(o->recorded_put));
	o->change.under_way = false;
}

bool
source_put_row(struct node *o, enum stream_state state)
{
	const struct rows_put p = {.kind = ORDER_STREAM_ROW,
	    .seq = state,
	    .epoch = o->stream->epoch,
	    .close_seq = o->stream->close_seq,
	    .set = o->row};
	bool taken = node_put(o, &p, o->stream);

	o->rows_put_count += taken;
	return taken;
}

void
source_tell(struct world *w)
{
	struct stream *st = source(w)->stream;

	for (size_t i = 0; i < st->flow_count; i++)
		flow_reopen(&st->flows[i], world_clock(w));
}

void
source_new_epoch(struct world *w)
{
	struct node *o = source(w);

	if (o->stream == NULL || o->stream->state != STREAM_OPEN)
		return;
	o->stream->epoch++;
	if (source_put_row(o, STREAM_OPEN))
		w->sums.epochs++;
	else
		o->stream->epoch--;
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

/* False: something is there, and the tables did not take it. */
static bool
give_pending(struct world *w)
{
	struct node *o = source(w);
	struct stream *st = o->stream;
	struct batch *b;

	if (stream_sealable(st)) {
		if (world_chance(w, w->faults.fenced))
			source_new_epoch(w);
		if ((b = seal(st)) == NULL)
			return false;
		stream_sealed(st, &o->pool, b);
	}
	if ((b = st->sealed) == NULL)
		return true;
	if (!node_put(o,
		&(struct rows_put){
		    .kind = ORDER_OUTBOX, .batch = b, .seq = batch_last_seq(b), .at_ms = world_wall_ms(w)},
		st))
		return false;
	st->now_ms = world_wall_ms(w);
	stream_given(st);
	return true;
}

bool
source_give(struct world *w)
{
	const struct stream *st = source(w)->stream;

	while (st->sealed != NULL || stream_sealable(st))
		if (!give_pending(w))
			return false;
	return true;
}

static void
give(struct world *w)
{
	struct node *o = source(w);

	if (order_busy(&o->order) && !o->flushed)
		return;
	o->flushed = false;
	(void)give_pending(w);
}

/* --- sending --- */

static unsigned
node_of(const struct flow *f)
{
	return (unsigned)f->node - 1;
}

static void
send_batch(struct world *w, unsigned n, struct batch *b)
{
	net_send_batch(w, n, b, stream_flow(source(w)->stream, n + 1)->processed);
	world_note(w, b->first_seq * 8 + n - 1);
}

static void
ask(struct world *w, unsigned n)
{
	struct node *o = source(w);

	/* Nobody hears of what may not be so after a crash. */
	if (o->change.under_way)
		return;
	o->asked[n] = true;
	net_send(w, 0, n,
	    &(struct frame){
		.kind = FRAME_OPEN, .set = o->row, .seq = stream_flow(o->stream, n + 1)->processed});
}

static void
pump(struct world *w, struct flow *f)
{
	struct node *o = source(w);
	unsigned n = node_of(f);
	struct stream_order out;

	for (;;) {
		switch (stream_poll(o->stream, f, world_clock(w), &w->rng, &out)) {
		case STREAM_IDLE:
			return;
		case STREAM_SEND:
			send_batch(w, n, out.batch);
			break;
		case STREAM_READ:
			world_push(w, w->now + 100 + world_below(w, READ_US), WORLD_READ, 0, n, NULL);
			return;
		case STREAM_ASK:
			ask(w, n);
			break;
		case STREAM_END:
			o->asked[n] = true;
			net_send(w, 0, n, &(struct frame){.kind = FRAME_CLOSE, .seq = o->stream->close_seq});
			break;
		case STREAM_SKIP:
			net_send(w, 0, n, &(struct frame){.kind = FRAME_SKIP, .seq = o->stream->skipped_seq});
			break;
		case STREAM_BROKEN:
			world_fail(w, "target %u has half a batch", n);
		}
	}
}

void
source_read(struct world *w, unsigned n)
{
	struct node *o = source(w);
	struct flow *f;
	size_t bytes = 0;
	struct batch *b = NULL;

	if (o->stream == NULL)
		return;
	if ((f = stream_flow(o->stream, n + 1)) == NULL)
		return;
	w->sums.reads++;
	for (uint64_t seq = f->next_seq; bytes < w->stream_conf.batch_bytes * 4;
	     seq = batch_last_seq(b) + 1) {
		if ((b = rows_find(&o->rows, seq)) == NULL)
			break;
		bytes += b->body_len;
		if (stream_read(o->stream, f, b, world_clock(w)))
			send_batch(w, n, b);
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

	for (size_t i = 0; i < o->stream->flow_count; i++) {
		const struct flow *f = &o->stream->flows[i];

		if (f->state != FLOW_GONE && o->recorded_put[node_of(f) - 1] < upto)
			upto = o->recorded_put[node_of(f) - 1];
	}
	return upto > o->stream->skipped_seq ? upto : o->stream->skipped_seq;
}

/* Of one that is a target no more nothing is recorded: what was before that was, when it went. */
void
source_record_flow(struct world *w, struct flow *f)
{
	struct node *o = source(w);
	uint64_t *put = &o->recorded_put[node_of(f) - 1];
	struct rows_put p = {.kind = ORDER_RECORDED, .seq = f->processed, .target = node_of(f) - 1};

	if (f->state == FLOW_GONE || f->processed <= *put)
		return;
	letters_record(w, f, &p);
	/* The store may have no room for the one and have room for the other. */
	if (p.seq > *put && !world_chance(w, w->faults.memory) && node_put(o, &p, f))
		*put = p.seq;
}

void
source_record(struct world *w)
{
	struct node *o = source(w);

	for (size_t i = 0; i < o->stream->flow_count; i++)
		source_record_flow(w, &o->stream->flows[i]);
	(void)node_put(o, &(struct rows_put){.clear = true, .seq = clear_limit(w)}, NULL);
}

/* Publishers who wait for no more than what the stream was asked for. */
static void
answer(struct world *w)
{
	struct stream *st = source(w)->stream;
	struct waiter one;

	while (waiters_pop(&st->waiters, stream_answered(st), &one))
		letters_result(w, &one);
	letters_results(w);
}

/* Dead letters wait to be recorded, and publishers for that. */
static bool
unrecorded(const struct world *w)
{
	const struct node *o = &w->node[0];

	for (size_t i = 0; i < o->stream->flow_count; i++) {
		const struct flow *f = &o->stream->flows[i];

		if (f->state != FLOW_GONE &&
		    failures_after(&f->failures, o->recorded_put[f->node - 2]) < f->failures.count)
			return true;
	}
	return false;
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
		source_record(w);
}

void
source_fail_waiters(struct world *w)
{
	struct stream *st = source(w)->stream;
	struct waiter one;

	while (stream_hopeless(st) && waiters_pop(&st->waiters, UINT64_MAX, &one))
		publisher_refused(w, world_publisher(&one.message_id), world_number(&one.message_id));
}

/* It says again and again what can't be true: it has lost what it had. */
static void
doubt(struct world *w, unsigned n, const struct flow_ack *a)
{
	struct node *o = source(w);
	struct flow *f = stream_flow(o->stream, n + 1);

	/* Late and doubled answers come in a crowd: each question counts once. */
	if (!o->asked[n])
		return;
	o->asked[n] = false;
	world_tell(w, "target %u says what can't be true: %llu is processed, not %llu", n,
	    (unsigned long long)f->processed, (unsigned long long)a->processed);
	if (++o->doubts[n] < DOUBTS_MAX)
		return;
	o->doubts[n] = 0;
	if (w->node[n].lost == 0)
		world_fail(w, "target %u is refused, and has lost nothing", n);
	if (f->processed == 0)
		world_fail(w, "target %u is refused, and nothing was said to be processed there", n);
	flow_refused(f, world_clock(w), &w->rng);
	w->node[n].refused = true;
	w->sums.refusals++;
	source_fail_waiters(w);
}

/* It was a target that is none any more, and says that it knows; or it is at the end. */
static void
on_closed(struct world *w, struct flow *f, uint64_t revision)
{
	const struct stream *st = source(w)->stream;

	if (f->untold) {
		/* To what it was told before, perhaps: it is asked again. */
		if (revision == source(w)->row.revision)
			change_told(w, node_of(f));
		return;
	}
	if (f->state != FLOW_GONE && revision == 0 && st->state == STREAM_CLOSING &&
	    f->recorded_seq >= st->close_seq)
		f->state = FLOW_CLOSED;
}

static void
on_refused(struct world *w, struct flow *f)
{
	if (f->state == FLOW_OPEN || f->state >= FLOW_CLOSED)
		return;
	flow_refused(f, world_clock(w), &w->rng);
	source_fail_waiters(w);
}

void
source_frame(struct world *w, const struct frame *f)
{
	struct stream *st = source(w)->stream;
	struct flow *flow = st != NULL ? stream_flow(st, f->from + 1) : NULL;
	const struct flow_ack a = {
	    .stored = f->ack.stored,
	    .processed = f->ack.processed,
	    .window_bytes = f->ack.window_bytes,
	    .ranges = f->ack.ranges,
	    .range_count = f->ack.range_count,
	    .failed_from = f->ack.failed_from,
	    .failed = f->ack.failed,
	    .failed_count = f->ack.failed_count,
	};

	if (flow == NULL)
		return; /* a late one */
	if (f->kind == FRAME_UNKNOWN) {
		if (flow->state == FLOW_OPEN)
			flow_reopen(flow, world_clock(w));
		return;
	}
	if (f->kind == FRAME_CLOSED) {
		on_closed(w, flow, f->seq);
		return;
	}
	if (f->kind == FRAME_REFUSED) {
		on_refused(w, flow);
		return;
	}
	if (f->kind == FRAME_OPENED && flow->state == FLOW_GONE)
		return;
	if (stream_contradicts(st, flow, &a)) {
		doubt(w, f->from, &a);
		return;
	}
	if (f->kind == FRAME_OPENED)
		member_heard(w, f->from, f->replica);
	if (f->kind == FRAME_OPENED && flow->state != FLOW_OPEN) {
		if (flow->state >= FLOW_CLOSED)
			return;
		/* An old answer may contradict what is known since. */
		if (flow_opened(flow, &a, st->durable_seq, world_clock(w)) != 0) {
			doubt(w, f->from, &a);
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
	const struct dsg_stream *s = dsg_find(group_of(w, 0)->dsg, &w->id);

	if (s != NULL)
		stream_fixed(o->stream, s->described);
}

/* When there is nothing more to be published, the stream is closed. */
static void
finish(struct world *w)
{
	struct node *o = source(w);
	struct stream *st = o->stream;

	if (st->state == STREAM_OPEN && w->published >= w->goal && publisher_done(w)) {
		if (w->changes)
			change_now(w);
		MUST(stream_close(st) == 0);
		/* When all is done a target may still lose it. */
		if (world_chance(w, LOSE_OF_1000))
			world_push(w, w->now + world_below(w, LOSE_US), WORLD_LOSE,
			    1 + world_below(w, w->targets), 0, NULL);
	}
	if (st->state != STREAM_CLOSING || o->closed_put)
		return;
	if (!o->close_put)
		o->close_put = source_put_row(o, STREAM_CLOSING);
	source_record(w);
	if (stream_finished(st) && o->close_put)
		o->closed_put = source_put_row(o, STREAM_CLOSED);
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
	if (unrecorded(w))
		source_record(w);
	answer(w);
	node_arm(w, 0, stream_parked_until(o->stream));
	give(w);
	retain_turn(w);
	finish(w);
	for (size_t i = 0; i < o->stream->flow_count; i++)
		pump(w, &o->stream->flows[i]);
	for (size_t i = 0; i < o->stream->flow_count; i++)
		node_arm(w, 0, stream_deadline(o->stream, &o->stream->flows[i]));
}
