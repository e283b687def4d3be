/* failed: what sink_failed.c does with messages that their application can't process. */
#include "tests/streamsim/world.h"

void
failed_load(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	o->retry.count = 0;
	o->letters_put = o->rows.letter_count;
	for (size_t i = 0; i < o->rows.attempt_count; i++) {
		const struct rows_failed *f = &o->rows.attempts[i];
		struct retry_item *item = retry_fail(&o->retry, f->seq, f->attempts, "");

		if (item == NULL)
			continue;
		item->saved = true;
		item->at = world_clock(w);
	}
}

bool
failed_waits(struct world *w, unsigned n)
{
	struct retry *r = &w->node[n].retry;
	uint64_t seq = w->node[n].target->cursor.next_seq;
	const struct retry_item *item = retry_find(r, seq);

	return retry_full(r, seq) || (item != NULL && !item->dead && mono_before(world_clock(w), item->at));
}

bool
failed_given_up(struct world *w, unsigned n, uint64_t seq)
{
	const struct retry_item *item = retry_find(&w->node[n].retry, seq);

	return item != NULL && item->dead;
}

void
failed_pass(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];
	uint64_t upto = retry_pass(&o->retry, o->target->acked_seq);

	if (upto > o->target->acked_seq)
		target_pass(o->target, upto);
}

bool
failed_nack(struct world *w, unsigned n, uint64_t seq, bool dead)
{
	struct node *o = &w->node[n];
	struct retry_item *item = retry_fail(&o->retry, seq, 1, "");
	const struct policy *p = &w->policy;

	w->sums.nacks++;
	if (item != NULL && (dead || (p->max_attempts != 0 && item->attempts >= p->max_attempts))) {
		item->dead = true;
		failed_pass(w, n);
		return true;
	}
	if (target_nack(o->target, seq) != 0)
		world_fail(w, "node %u does not take %llu back", n, (unsigned long long)seq);
	if (item != NULL) {
		item->at = mono_add_ms(world_clock(w), retry_delay_ms(p->retry_ms, item->attempts, &w->rng));
		o->app.messages[seq].retry_at = item->at.us;
	}
	return false;
}

/* --- the tables --- */

uint64_t
failed_limit(struct world *w, unsigned n)
{
	const struct node *o = &w->node[n];
	uint64_t held = o->letters_put - o->letters_seen;
	uint64_t room = held < w->letters_max ? w->letters_max - held : 0;

	for (size_t i = 0; i < o->retry.count; i++) {
		if (!o->retry.items[i].dead || room-- > 0)
			continue;
		w->sums.kept_out++;
		return o->retry.items[i].seq - 1;
	}
	return UINT64_MAX;
}

void
failed_letters(struct world *w, unsigned n, struct rows_put *p)
{
	const struct retry *r = &w->node[n].retry;

	for (size_t i = 0; i < r->count && r->items[i].seq <= p->seq; i++)
		if (r->items[i].dead)
			p->letters[p->letter_count++] = r->items[i].seq;
}

void
failed_put(struct world *w, unsigned n, const struct rows_put *p)
{
	struct node *o = &w->node[n];

	for (size_t i = 0; i < p->letter_count; i++)
		target_failed(o->target, p->letters[i]);
	o->letters_put += p->letter_count;
	w->sums.letters += p->letter_count;
	retry_cut(&o->retry, p->seq);
}

void
failed_save(struct world *w, unsigned n)
{
	struct node *o = &w->node[n];

	for (size_t i = 0; i < o->retry.count; i++) {
		struct retry_item *item = &o->retry.items[i];

		if (item->saved || item->dead)
			continue;
		if (!node_put(o,
			&(struct rows_put){.kind = ORDER_LETTER, .failed = {item->seq, item->attempts}},
			NULL))
			return;
		item->saved = true;
	}
}
