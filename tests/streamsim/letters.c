/* letters: what failed on its way from a target's tables to publishers: what sink_ack.c, source_send.c and
 * source_frames.c do about that, and what must hold. */
#include <string.h>

#include "tests/streamsim/world.h"

enum { READ_US = 3000, READ_SLOW_US = 100 * WORLD_MS };

/* --- at a target --- */

void
letters_heard(struct world *w, unsigned n, uint64_t mark)
{
	struct node *o = &w->node[n];

	target_heard(o->target, mark);
	if (!target_lacks_failures(o->target, mark) || o->letters_asked)
		return;
	o->letters_asked = true;
	o->letters_mark = mark;
	o->letters_upto = o->target->processed_seq;
	world_push(w, w->now + 100 + world_below(w, world_chance(w, 500) ? READ_SLOW_US : READ_US),
	    WORLD_LETTERS, n, 0, NULL);
}

void
letters_read(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	struct frame f = {.kind = FRAME_ACK};

	o->letters_asked = false;
	if (o->target == NULL || o->target->state == TARGET_OPENING)
		return;
	target_ack_fill(o->target, &f.ack);
	f.ack.processed = o->letters_upto;
	f.ack.failed_from = o->letters_mark;
	f.ack.failed_count = 0;
	for (size_t i = 0; i < o->rows.letter_count && f.ack.failed_count < FAILURES_ACK_MAX; i++)
		if (o->rows.letters[i] > o->letters_mark && o->rows.letters[i] <= o->letters_upto)
			f.ack.failed[f.ack.failed_count++] = o->rows.letters[i];
	w->sums.letters_read += f.ack.failed_count;
	net_send(w, n, 0, &f);
	target_ack_soon(o->target, world_clock(w), true);
}

/* --- at the source --- */

void
letters_load(struct world *w, unsigned n)
{
	const struct node *o = &w->node[0];
	struct flow *f = stream_flow(o->stream, n + 1);

	if (f == NULL || f->state == FLOW_GONE)
		return;
	f->failures.cap = w->flow_failures;
	for (uint64_t seq = 1; seq <= o->rows.marks[n - 1]; seq++)
		if ((o->rows.dead[seq] & 1u << (n - 1)) != 0)
			(void)!failures_load(&f->failures, seq);
}

void
letters_record(struct world *w, const struct flow *f, struct rows_put *p)
{
	const struct failures *all = &f->failures;

	for (size_t i = failures_after(all, w->node[0].recorded_put[p->target]); i < all->count; i++) {
		if (p->letter_count == RETRY_ITEMS_MAX) {
			p->seq = all->seqs[i] - 1;
			return;
		}
		p->letters[p->letter_count++] = all->seqs[i];
	}
}

static void
tell_known(struct world *w, const struct waiter *one)
{
	enum stream_outcome o = stream_outcome(w->node[0].stream, one->seq);
	unsigned p = world_publisher(&one->message_id);
	uint32_t number = world_number(&one->message_id);

	w->sums.undecided += o == STREAM_WAITS;
	if (o == STREAM_REACHED)
		publisher_answer(w, p, number, one->seq);
	else
		publisher_failed(w, p, number, one->seq);
}

static void
tell(struct world *w, const struct waiter *one)
{
	const struct stream *st = w->node[0].stream;

	if (stream_is_lost(st, one->seq) || stream_is_unsure(st, one->seq))
		(void)retain_answer(w, one);
	else
		tell_known(w, one);
}

static void
tell_parked(struct world *w)
{
	struct waiter one;

	while (stream_unpark(w->node[0].stream, world_clock(w), &one))
		tell(w, &one);
}

void
letters_result(struct world *w, const struct waiter *one)
{
	if (w->node[0].stream->parked_count == STREAM_PARKED_MAX)
		tell_parked(w);
	if (stream_park(w->node[0].stream, one, world_clock(w)))
		w->sums.parked++;
	else
		tell(w, one);
}

void
letters_results(struct world *w)
{
	tell_parked(w);
	stream_settle(w->node[0].stream);
}

/* --- what must hold --- */

static bool
in_put(const struct rows_put *p, uint64_t seq)
{
	for (size_t i = 0; i < p->letter_count; i++)
		if (p->letters[i] == seq)
			return true;
	return false;
}

/* With the mark goes what failed below it, no less and no more. */
void
letters_check_recorded(struct world *w, const struct rows_put *p)
{
	const struct node *o = &w->node[p->target + 1];

	uint64_t first = w->node[0].rows.marks[p->target] + 1;

	/* Of an earlier stay as a target nothing is told any more. */
	if (first < w->node[0].row.first[p->target])
		first = w->node[0].row.first[p->target];
	for (uint64_t seq = first; seq <= p->seq && o->lost == 0; seq++) {
		bool dead = (w->truth[seq].dead & 1u << p->target) != 0;

		if (dead != in_put(p, seq))
			world_fail(w, "the source records of target %zu that %llu is%s a dead letter",
			    p->target + 1, (unsigned long long)seq, dead ? " not" : "");
	}
}

void
letters_check_told(struct world *w, uint64_t seq, const struct message *m)
{
	if (w->truth[seq].dead == 0)
		world_fail(w, "a publisher is told that %llu failed, which is a dead letter nowhere",
		    (unsigned long long)seq);
	if (w->node[0].rows.dead[seq] == 0)
		world_fail(w, "a publisher is told that %llu failed, and the source may forget that",
		    (unsigned long long)seq);
	if (m->answered)
		world_fail(w, "a publisher is told that %llu failed, and was told that all is well",
		    (unsigned long long)seq);
	if (w->policy.ack == POLICY_ACK_ACCEPTED || w->policy.ack == POLICY_ACK_COMMITTED)
		world_fail(
		    w, "a publisher is told that %llu failed, and asked for less", (unsigned long long)seq);
}
