/*
 * sim_source: node 0 of the simulation: what source.c does, and a publisher that never gives up.
 */
#ifndef TESTS_UNIT_CONSENSUSD_SIM_SOURCE_H
#define TESTS_UNIT_CONSENSUSD_SIM_SOURCE_H

#include "tests/unit/consensusd/sim.h"

static struct batch *
sim_seal(const struct stream *st)
{
	const struct pending *p = st->pending;
	size_t len = pending_bytes(p) + p->count * BATCH_RECORD_HDR_BYTES, at = 0;
	struct batch *b = batch_new(len);

	if (b == NULL)
		return NULL;
	b->stream_id = st->id;
	b->first_seq = st->next_seq - p->count;
	b->count = p->count;
	b->epoch = st->epoch;
	for (uint32_t i = 0; i < p->count; i++) {
		memcpy(b->body + at, p->messages[i].message_id.b, ULID_BYTES);
		be_store32(b->body + at + ULID_BYTES, p->messages[i].payload_len);
		memcpy(
		    b->body + at + BATCH_RECORD_HDR_BYTES, pending_payload(p, i), p->messages[i].payload_len);
		at += BATCH_RECORD_HDR_BYTES + p->messages[i].payload_len;
	}
	return b;
}

static bool
sim_put(struct sim_node *n, const struct db_put *p, void *noun)
{
	int64_t ticket;

	if (order_reserve(&n->order) != 0)
		return false;
	ticket = db_put(&n->db, p);
	if (ticket < 0)
		return false;
	if (!p->clear)
		order_add(&n->order, (uint64_t)ticket, p->kind, noun, p->seq);
	return true;
}

static void
sim_give(struct sim_node *n)
{
	struct stream *st = n->stream;
	struct batch *b;

	if (stream_sealable(st)) {
		b = sim_seal(st);
		if (b == NULL)
			return;
		stream_sealed(st, &n->pool, b);
	}
	if (st->sealed == NULL)
		return;
	b = st->sealed;
	if (sim_put(n, &(struct db_put){.kind = ORDER_OUTBOX, .batch = b, .seq = batch_last_seq(b)}, st))
		stream_given(st);
}

static void
sim_pump(struct sim *s, size_t i)
{
	struct sim_node *n = &s->nodes[0];
	struct flow *f = &n->stream->flows[i];
	struct stream_order o;

	for (;;) {
		switch (stream_poll(n->stream, f, sim_now(s), &s->rng, &o)) {
		case STREAM_IDLE:
			return;
		case STREAM_SEND:
			sim_send_batch(s, i + 1, o.batch);
			break;
		case STREAM_READ:
			sim_push(s, (struct sim_event){.us = s->now_us + sim_between(s, 200, 3000),
					.what = SIM_READ,
					.peer = i,
					.seq = o.from_seq,
					.max = o.max_bytes});
			return;
		case STREAM_ASK:
			sim_send(s, 0, i + 1, (struct sim_event){.type = SIM_OPEN});
			break;
		case STREAM_END:
			/* The record of it is durable: this target can be forgotten. */
			SIM_CHECK(s, n->db.marks[i] == n->stream->close_seq);
			sim_send(
			    s, 0, i + 1, (struct sim_event){.type = SIM_CLOSE, .seq = n->stream->close_seq});
			break;
		case STREAM_SKIP:
			SIM_CHECK(s, !"nothing is given up here");
			break;
		case STREAM_BROKEN:
			SIM_CHECK(s, !"broken");
		}
	}
}

static void
sim_record(struct sim *s)
{
	struct sim_node *n = &s->nodes[0];
	struct stream *st = n->stream;

	for (size_t i = 0; i < st->flow_count; i++) {
		struct flow *f = &st->flows[i];

		if (f->processed > n->recorded_put[i] &&
		    sim_put(n, &(struct db_put){.kind = ORDER_RECORDED, .seq = f->processed, .target = i}, f))
			n->recorded_put[i] = f->processed;
	}
	(void)sim_put(n, &(struct db_put){.clear = true, .seq = st->committed_seq}, NULL);
}

static void
sim_commit(struct sim *s)
{
	struct sim_node *n = &s->nodes[0];
	struct waiter w;
	bool end;

	if (stream_commit(n->stream)) {
		while (waiters_pop(&n->stream->waiters, n->stream->committed_seq, &w)) {
			SIM_CHECK(s, w.call == n->life && w.seq <= n->stream->committed_seq);
			if (w.seq > s->confirmed)
				s->confirmed = w.seq;
		}
		end = s->confirmed == s->conf.messages;
		if (end || sim_chance(s, 20))
			sim_record(s);
	}
	for (size_t i = 0; i < s->conf.targets; i++)
		SIM_CHECK(s, s->nodes[1 + i].db.marks[0] >= n->stream->flows[i].processed);
}

/* Puts a row that ends the stream, when it is time. */
static void
sim_finish(struct sim *s)
{
	struct sim_node *n = &s->nodes[0];
	struct stream *st = n->stream;

	if (s->confirmed == s->conf.messages && st->state == STREAM_OPEN && stream_close(st) == 0)
		n->db.close_seq = st->close_seq; /* with the row below: only its value is noted here */
	if (st->state == STREAM_CLOSING && !n->close_put)
		n->close_put =
		    sim_put(n, &(struct db_put){.kind = ORDER_STREAM_ROW, .seq = STREAM_CLOSING}, st);
	if (st->state == STREAM_CLOSING)
		sim_record(s);
	if (stream_finished(st) && n->close_put && !n->closed_put)
		n->closed_put =
		    sim_put(n, &(struct db_put){.kind = ORDER_STREAM_ROW, .seq = STREAM_CLOSED}, st);
}

static void
sim_timer(struct sim *s, size_t node, struct mono when)
{
	int64_t us;

	if (mono_is_never(when))
		return;
	us = when.us - 1000000;
	sim_push(s,
	    (struct sim_event){.us = us > s->now_us ? us : s->now_us + 1, .what = SIM_TIMER, .node = node});
}

static void
sim_source_step(struct sim *s)
{
	struct sim_node *n = &s->nodes[0];
	struct mono next = MONO_NEVER;

	if (n->stream == NULL)
		return;
	if (!order_busy(&n->order) || n->flushed)
		sim_give(n);
	n->flushed = false;
	for (size_t i = 0; i < s->conf.targets; i++)
		sim_pump(s, i);
	sim_finish(s);
	for (size_t i = 0; i < s->conf.targets; i++)
		next = mono_min(next, stream_deadline(n->stream, &n->stream->flows[i]));
	sim_timer(s, 0, next);
}

/* What may have been published before names its seq and its id. */
static int
sim_publish_one(struct sim *s, uint64_t seq)
{
	static uint8_t payload[1 << 20];
	struct sim_node *n = &s->nodes[0];
	bool again = seq <= s->published;
	struct publish p = {.seq = again || seq % 3 == 0 ? seq : 0,
	    .named = again || seq % 2 == 0,
	    .message_id = sim_message_id(seq),
	    .payload = payload,
	    .payload_len = sim_size(s, seq)};
	const struct waiter w = {.seq = seq, .call = n->life, .message_id = p.message_id};
	uint64_t got;
	int r;

	memset(payload, (int)(seq & 0xff), p.payload_len);
	r = stream_publish(n->stream, &n->pool, &n->ids, &p, &got);
	if (r == ERR_AGAIN) {
		sim_give(n);
		r = stream_publish(n->stream, &n->pool, &n->ids, &p, &got);
	}
	if (r < 0) {
		SIM_CHECK(s, r == ERR_AGAIN || r == ERR_NOMEM);
		return r;
	}
	SIM_CHECK(s, got == seq);
	if (seq > s->published)
		s->published = seq;
	if (got > n->stream->committed_seq)
		return waiters_add(&n->stream->waiters, &w);
	if (got > s->confirmed)
		s->confirmed = got;
	return 0;
}

static void
sim_publish(struct sim *s)
{
	struct sim_node *n = &s->nodes[0];
	int64_t count = sim_between(s, 1, 8);

	if (n->up && n->stream != NULL && n->stream->state == STREAM_OPEN && !stream_held(n->stream, false) &&
	    !budget_over(&n->budget)) {
		/* Without memory the call ends with an error, and the publisher tries again: so here. */
		while (count-- > 0 && s->next <= s->conf.messages && sim_publish_one(s, s->next) == 0)
			s->next++;
		sim_source_step(s);
	}
	if (s->confirmed < s->conf.messages)
		sim_push(
		    s, (struct sim_event){.us = s->now_us + sim_between(s, 100, 1500), .what = SIM_PUBLISH});
}

/* --- what happens to the source --- */

static void
sim_source_done(void *arg, const struct order_entry *e)
{
	struct sim *s = arg;

	if (e->kind == ORDER_STREAM_ROW && e->seq == STREAM_CLOSED)
		s->nodes[0].done = true;
}

static void
sim_source_frame(struct sim *s, const struct sim_event *e)
{
	struct stream *st = s->nodes[0].stream;
	struct flow *f = &st->flows[e->peer - 1];
	const struct flow_ack a = {
	    .stored = e->ack.stored,
	    .processed = e->ack.processed,
	    .window_bytes = e->ack.window_bytes,
	    .ranges = e->ack.ranges,
	    .range_count = e->ack.range_count,
	};

	switch (e->type) {
	case SIM_ACK:
		SIM_CHECK(s, flow_acked(f, &a, st->durable_seq, sim_now(s)) == 0);
		sim_commit(s);
		break;
	case SIM_OPENED:
		if (f->state == FLOW_OPEN) {
			SIM_CHECK(s, flow_acked(f, &a, st->durable_seq, sim_now(s)) == 0);
			sim_commit(s);
		}
		/* An old answer may contradict what is known since; a first one never does. */
		if (f->state == FLOW_OPENING && flow_opened(f, &a, st->durable_seq, sim_now(s)) == 0)
			sim_commit(s);
		break;
	case SIM_UNKNOWN:
		if (f->state == FLOW_OPEN)
			flow_reopen(f, sim_now(s));
		break;
	case SIM_CLOSED:
		if (st->state == STREAM_CLOSING && f->recorded_seq >= st->close_seq)
			f->state = FLOW_CLOSED;
		break;
	default:
		SIM_CHECK(s, !"a frame for targets");
	}
}

static void
sim_source_read(struct sim *s, const struct sim_event *e)
{
	struct sim_node *n = &s->nodes[0];
	struct flow *f = &n->stream->flows[e->peer];
	size_t bytes = 0;

	s->result.reads++;
	for (size_t i = n->db.first; i < n->db.first + n->db.count && !sim_chance(s, 2); i++) {
		struct batch *b = n->db.batches[i];

		if (batch_last_seq(b) < e->seq)
			continue;
		if (bytes > 0 && bytes + b->body_len > e->max)
			break;
		bytes += b->body_len;
		if (stream_read(n->stream, f, b, sim_now(s)))
			sim_send_batch(s, e->peer + 1, b);
	}
	(void)stream_read(n->stream, f, NULL, sim_now(s));
}

/* Starts, or starts again from what is durable.  False: no memory. */
static bool
sim_source_start(struct sim *s)
{
	struct sim_node *n = &s->nodes[0];
	uint64_t targets[SIM_TARGETS_MAX];

	for (size_t i = 0; i < s->conf.targets; i++)
		targets[i] = i + 1;
	n->stream = stream_new(&s->id, "t", targets, s->conf.targets, &s->stream_conf, &n->budget);
	if (n->stream == NULL)
		return false;
	n->stream->epoch = 1;
	n->close_put = n->closed_put = false;
	s->next = s->confirmed + 1;
	if (!n->db.row) {
		if (!sim_put(
			n, &(struct db_put){.kind = ORDER_STREAM_ROW, .seq = STREAM_OPENING}, n->stream)) {
			stream_free(n->stream, &n->pool);
			n->stream = NULL;
			return false;
		}
		return true;
	}
	stream_load(n->stream, n->db.last_seq);
	n->stream->state = STREAM_OPEN;
	for (size_t i = 0; i < s->conf.targets; i++) {
		stream_load_processed(n->stream, i + 1, n->db.marks[i]);
		n->recorded_put[i] = n->db.marks[i];
	}
	if (n->db.row_state == STREAM_CLOSING) {
		n->stream->state = STREAM_CLOSING;
		n->stream->close_seq = n->db.close_seq;
		n->close_put = true;
	}
	return true;
}

#endif
