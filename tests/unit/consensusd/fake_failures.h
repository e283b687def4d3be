/*
 * fake_failures: the part of fake_store.h that is about what the delivery log has of dead letters; included
 * by it.
 */
#ifndef TESTS_UNIT_CONSENSUSD_FAKE_FAILURES_H
#define TESTS_UNIT_CONSENSUSD_FAKE_FAILURES_H

#include "tests/unit/consensusd/fake_store.h"

/* Where it is; the count, if it is not there. */
static size_t
fake_failure_find(const struct fake_db *d, const struct ulid *stream, uint64_t node, uint64_t seq)
{
	size_t i = 0;

	while (i < d->failure_count && (d->failures[i].node != node || d->failures[i].seq != seq ||
					   ulid_compare(&d->failures[i].stream, stream) != 0))
		i++;
	return i;
}

static void
fake_failure_add(struct fake_db *d, const struct store_letter *row)
{
	if (fake_failure_find(d, &row->stream_id, row->dst_node, row->seq) < d->failure_count)
		return;
	MUST(d->failure_count < FAKE_FAILURES);
	d->failures[d->failure_count++] = (struct fake_failure){row->stream_id, row->dst_node, row->seq};
}

static void
fake_failure_del(struct fake_db *d, const struct store_letter *row)
{
	size_t i = fake_failure_find(d, &row->stream_id, row->dst_node, row->seq);

	if (i < d->failure_count)
		d->failures[i] = d->failures[--d->failure_count];
}

/* The lowest above seq; 0: there is none. */
static uint64_t
fake_failure_next(const struct fake_db *d, const struct ulid *stream, uint64_t node, uint64_t seq)
{
	uint64_t next = 0;

	for (size_t i = 0; i < d->failure_count; i++) {
		const struct fake_failure *f = &d->failures[i];

		if (f->node == node && ulid_compare(&f->stream, stream) == 0 && f->seq > seq &&
		    (next == 0 || f->seq < next))
			next = f->seq;
	}
	return next;
}

/* Of each stream and target ascending: from the lowest one on. */
static void
fake_load_failures(struct store *s)
{
	const struct fake_db *d = s->db;

	for (size_t i = 0; i < d->failure_count && s->cb.on_load_failure != NULL; i++) {
		const struct fake_failure *f = &d->failures[i];

		if (fake_failure_next(d, &f->stream, f->node, 0) != f->seq)
			continue;
		for (uint64_t seq = f->seq; seq != 0; seq = fake_failure_next(d, &f->stream, f->node, seq))
			s->cb.on_load_failure(s->cb.ctx, &f->stream, f->node, seq);
	}
}

static void
fake_apply_letter(struct fake_db *d, struct fake_letter *l)
{
	const struct store_letter *row = &l->row;
	size_t at = fake_letter_find(&d->letters, &row->stream_id, row->seq);
	struct batch *b;

	switch (row->kind) {
	case STORE_LETTER_ATTEMPT:
		fake_letter_put(&d->attempts, l);
		return;
	case STORE_LETTER_HEARD:
		fake_failure_add(d, row);
		break;
	case STORE_LETTER_ADD:
		fake_failure_add(d, row);
		b = fake_inbox_find(d, &row->stream_id, row->seq);
		MUST(b != NULL);
		fake_letter_take(l, b, ++d->letter_position);
		fake_letter_put(&d->letters, l);
		return;
	case STORE_LETTER_CUT:
		fake_letters_cut(&d->attempts, &row->stream_id, row->seq);
		break;
	case STORE_LETTER_AGAIN:
		if (at < d->letters.count)
			d->letters.all[at]->dead.attempts = row->attempts;
		break;
	case STORE_LETTER_DONE:
		fake_failure_del(d, row);
		fake_letter_del(&d->letters, at);
		break;
	default:
		fake_letter_del(&d->letters, at);
	}
	fake_letter_free(l);
}

#endif
