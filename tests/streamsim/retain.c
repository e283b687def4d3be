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
	uint64_t missed[ROWS_TARGETS_MAX];
	size_t count = 0;

	for (unsigned i = 0; i < w->targets; i++)
		if (rows_gap(&o->rows, i, seq) != NULL)
			missed[count++] = i + 2;
	return stream_fate(o->stream, seq, missed, count);
}

bool
retain_answer(struct world *w, unsigned p, uint32_t number, uint64_t seq)
{
	const struct stream *st = w->node[0].stream;
	enum stream_fate f = STREAM_FATE_REACHED;

	if (seq > stream_answered(st))
		return false;
	if (stream_is_lost(st, seq))
		f = STREAM_FATE_LOST;
	else if (stream_is_unsure(st, seq))
		f = fate(w, seq);
	if (f == STREAM_FATE_LOST)
		publisher_lost(w, p, number, seq);
	else if (f == STREAM_FATE_REACHED)
		publisher_answer(w, p, number, seq);
	else if (f == STREAM_FATE_UNKNOWN)
		publisher_unknown(w, p, number);
	else
		w->sums.unsaid++; /* it asks again */
	return true;
}
