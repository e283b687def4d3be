/* retain: what source_retain.c does, and what publishers are told about what was given up. */
#include "tests/streamsim/world.h"

enum { AGAIN_US = 50 * WORLD_MS };

void
retain_turn(struct world *w)
{
	struct node *o = &w->node[0];
	struct stream *st = o->stream;
	struct rows_put p = {.kind = ORDER_SKIPPED, .skipped = true, .target = w->targets};

	if (w->policy.overflow != POLICY_DROP || o->closed_put)
		return;
	st->now_ms = world_wall_ms(w);
	p.seq = stream_overflow(st);
	node_arm(w, 0, (struct mono){w->now + AGAIN_US});
	if (p.seq <= st->skipped_seq)
		return;
	for (unsigned i = 0; i < w->targets; i++) {
		const struct flow *f = stream_flow(st, i + 2);
		uint64_t have = f != NULL && f->state != FLOW_GONE ? f->stored : UINT64_MAX;

		p.have[i] = have > st->skipped_seq ? have : st->skipped_seq;
	}
	if (node_put(o, &p, st))
		stream_give_up(st, p.seq);
}

void
retain_durable(struct world *w, uint64_t seq)
{
	struct stream *st = w->node[0].stream;
	struct waiter one;

	w->sums.given_up++;
	while (waiters_pop(&st->waiters, seq, &one))
		publisher_lost(w, world_publisher(&one.message_id), world_number(&one.message_id), one.seq);
	source_commit(w);
}

/* What the tables know of one that was given up before a restart. */
static enum stream_fate
fate(const struct world *w, uint64_t seq)
{
	const struct node *o = &w->node[0];
	struct stream_record r = {.missed_count = 0};

	for (unsigned i = 0; i < w->targets; i++) {
		if (rows_gap(&o->rows, i, seq) != NULL)
			r.missed[r.missed_count++] = i + 2;
		else if ((o->rows.dead[seq] & 1u << i) != 0)
			r.failed[r.failed_count++] = i + 2;
	}
	return stream_fate(o->stream, seq, &r);
}

bool
retain_answer(struct world *w, const struct waiter *one)
{
	const struct stream *st = w->node[0].stream;
	unsigned p = world_publisher(&one->message_id);
	uint32_t number = world_number(&one->message_id);
	uint64_t seq = one->seq;
	enum stream_fate f;

	if (seq > stream_answered(st))
		return false;
	if (!stream_is_lost(st, seq) && !stream_is_unsure(st, seq)) {
		letters_result(w, one);
		return true;
	}
	f = stream_is_lost(st, seq) ? STREAM_FATE_LOST : fate(w, seq);
	if (f == STREAM_FATE_LOST)
		publisher_lost(w, p, number, seq);
	else if (f == STREAM_FATE_FAILED)
		publisher_failed(w, p, number, seq);
	else if (f == STREAM_FATE_REACHED)
		publisher_answer(w, p, number, seq);
	else if (f == STREAM_FATE_UNKNOWN)
		publisher_unknown(w, p, number);
	else
		w->sums.unsaid++; /* it asks again */
	return true;
}
