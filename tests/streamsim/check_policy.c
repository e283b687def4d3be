/* check_policy: what must hold of messages that are given up, fail or are not wanted: each message of a
 * stream is applied at a target, or in one gap that its tables have, or a dead letter, and never two of
 * these. */
#include "tests/streamsim/world.h"

static size_t
needed(const struct world *w, uint64_t seq)
{
	size_t all = 0;

	for (unsigned n = 1; n <= w->targets; n++)
		all += check_gets(w, n, seq);
	return w->policy.ack == POLICY_ACK_QUORUM && w->policy.quorum < all ? w->policy.quorum : all;
}

/* At the source: what its tables have of targets then decides what may be told for ever. */
static void
given_up(struct world *w, const struct rows_put *p)
{
	const struct rows *r = &w->node[0].rows;

	if (p->seq > r->last_seq || p->seq <= r->skipped_seq)
		world_fail(w, "the source gives up %llu: it has %llu, and gave up %llu before",
		    (unsigned long long)p->seq, (unsigned long long)r->last_seq,
		    (unsigned long long)r->skipped_seq);
	for (uint64_t seq = r->skipped_seq + 1; seq <= p->seq; seq++) {
		size_t have = 0;

		for (unsigned i = 0; i < w->targets; i++)
			have += check_gets(w, i + 1, seq) && r->marks[i] >= seq;
		w->truth[seq].kept = have >= needed(w, seq);
	}
}

void
check_skipped(struct world *w, unsigned n, const struct rows_put *p)
{
	const struct rows *r = &w->node[n].rows;

	if (n == 0) {
		given_up(w, p);
		return;
	}
	w->sums.gaps++;
	if (p->first != r->last_seq + 1 || p->seq < p->first)
		world_fail(w, "node %u has up to %llu, and a gap from %llu to %llu", n,
		    (unsigned long long)r->last_seq, (unsigned long long)p->first,
		    (unsigned long long)p->seq);
	if (p->seq > w->node[0].rows.skipped_seq)
		world_fail(w, "node %u passes over %llu, and the source may forget that it gave that up", n,
		    (unsigned long long)p->seq);
	if (rows_find(&w->node[0].rows, p->seq + 1) == NULL && p->seq + 1 <= w->node[0].rows.last_seq &&
	    p->seq + 1 > check_released(w))
		world_fail(w, "the source has nothing behind what it gave up");
}

static bool
in_letters(const struct rows_put *p, uint64_t seq)
{
	for (size_t i = 0; i < p->letter_count; i++)
		if (p->letters[i] == seq)
			return true;
	return false;
}

/* What was delivered early and forgotten in a crash may have been given up by its source meanwhile. */
static bool
once(const struct world *w, bool gap, bool dead, bool done)
{
	return gap + dead + done == 1 || (gap && done && !dead && w->early);
}

/* Whether the batch that it is in, as far as the group has described it, has nothing behind it. */
static bool
ends_batch(const struct world *w, uint64_t seq)
{
	for (uint64_t s = seq; s > 0; s--)
		if (w->truth[s].count != 0)
			return s + w->truth[s].count - 1 <= seq;
	return true;
}

void
check_letters(struct world *w, unsigned n, const struct rows_put *p)
{
	const struct node *o = &w->node[n];

	if (!ends_batch(w, p->seq) && rows_find(&o->rows, p->seq) == NULL &&
	    rows_gap(&o->rows, 0, p->seq) == NULL)
		world_fail(w, "node %u has processed up to %llu, and the rest of that batch is nowhere", n,
		    (unsigned long long)p->seq);
	for (uint64_t seq = o->rows.marks[0] + 1; seq <= p->seq; seq++) {
		const struct app_message *m = &o->app.messages[seq];
		bool gap = rows_gap(&o->rows, 0, seq) != NULL, dead = in_letters(p, seq);
		bool done = w->policy.handler == POLICY_DISCARD ? seq <= o->rows.last_seq && !gap : m->done;

		if (!once(w, gap, dead, done))
			world_fail(w, "node %u has processed %llu:%s%s%s", n, (unsigned long long)seq,
			    gap ? " it was given up" : "", dead ? " it is a dead letter" : "",
			    done ? " it was applied" : "");
		if (dead && rows_find(&o->rows, seq) == NULL)
			world_fail(
			    w, "node %u: %llu is a dead letter without text", n, (unsigned long long)seq);
		if (dead)
			w->truth[seq].dead |= (uint8_t)(1u << (n - 1));
		if (dead && !m->asked &&
		    (w->policy.max_attempts == 0 || m->attempts < w->policy.max_attempts))
			world_fail(w, "node %u: %llu is a dead letter after %u attempts", n,
			    (unsigned long long)seq, m->attempts);
	}
}

void
check_passed(struct world *w, unsigned n, uint64_t seq)
{
	struct node *o = &w->node[n];
	struct app *a = &o->app;
	uint64_t told = o->target->passed_count, gaps = 0, had = 0;

	/* What was given to the tables as processed is looked at when it is durable. */
	for (uint64_t s = a->pending > o->target->put_seq ? a->pending + 1 : o->target->put_seq + 1; s < seq;
	     s++)
		if (rows_gap(&o->rows, 0, s) == NULL && !failed_given_up(w, n, s) &&
		    !rows_has_letter(&o->rows, s) && !a->messages[s].done)
			world_fail(w, "application %u has %llu and gets %llu", n,
			    (unsigned long long)a->pending, (unsigned long long)seq);
	for (uint64_t s = a->counted + 1; s < seq; s++)
		if (rows_gap(&o->rows, 0, s) != NULL) {
			gaps++;
			had += a->messages[s].done;
		}
	/* A node that begins again has forgotten what it passed over: the tables have it. */
	if (told > gaps || (told < gaps - had && a->counted_life == o->life))
		world_fail(w, "application %u is told of %llu that are missing before %llu, not of %llu", n,
		    (unsigned long long)told, (unsigned long long)seq, (unsigned long long)gaps);
	if (seq > a->counted)
		a->counted = seq;
	a->counted_life = o->life;
	o->target->passed_count = 0;
}

bool
check_once(const struct world *w, unsigned n, uint64_t seq)
{
	const struct node *o = &w->node[n];
	bool gap = rows_gap(&o->rows, 0, seq) != NULL, dead = rows_has_letter(&o->rows, seq);

	return once(w, gap, dead, w->policy.handler == POLICY_DISCARD ? !gap : o->app.messages[seq].done);
}

void
check_each_once(struct world *w, unsigned n)
{
	const struct node *o = &w->node[n];

	for (uint64_t seq = 1; seq <= o->rows.marks[0]; seq++) {
		bool gap = rows_gap(&o->rows, 0, seq) != NULL, dead = rows_has_letter(&o->rows, seq);
		bool done = w->policy.handler == POLICY_DISCARD ? !gap : o->app.messages[seq].done;

		if (!once(w, gap, dead, done))
			world_fail(w, "node %u: in the end %llu is%s%s%s", n, (unsigned long long)seq,
			    gap ? " given up" : "", dead ? " a dead letter" : "",
			    done ? " applied" : " not applied");
	}
}
