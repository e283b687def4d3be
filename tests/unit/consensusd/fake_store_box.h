/*
 * fake_store_box: the tables outbox and inbox in fake_store.h, which includes this.
 */
#ifndef TESTS_UNIT_CONSENSUSD_FAKE_STORE_BOX_H
#define TESTS_UNIT_CONSENSUSD_FAKE_STORE_BOX_H

#include "tests/unit/consensusd/fake_store.h"

/* What is processed needs no row. */
static uint64_t
fake_offset(const struct fake_db *d, const struct ulid *stream)
{
	uint64_t seq = 0;

	for (size_t i = 0; i < d->offset_count; i++)
		if (ulid_compare(&d->offsets[i].stream_id, stream) == 0)
			seq = max_u64(seq, d->offsets[i].committed_seq);
	return seq;
}

static void
fake_apply_box(struct fake_db *d, enum store_box box, struct batch *b)
{
	struct store_stream *r = fake_row(d, &b->stream_id);
	uint64_t *last = box == STORE_OUTBOX ? &r->outbox_last_seq : &r->inbox_last_seq;

	MUST(b->first_seq > *last && b->first_seq <= max_u64(*last, fake_offset(d, &b->stream_id)) + 1);
	*last = batch_last_seq(b);
	MUST(d->box_counts[box] < FAKE_BATCHES);
	d->boxes[box][d->box_counts[box]++] = batch_ref(b);
	if (b->by_id) {
		MUST(box == STORE_OUTBOX && d->ids_count < FAKE_BATCHES);
		d->ids[d->ids_count++] = batch_ref(b);
	}
}

static void
fake_apply_clear(struct fake_db *d, const struct fake_put *p)
{
	size_t n = 0;

	for (size_t i = 0; i < d->box_counts[p->box]; i++) {
		struct batch *b = d->boxes[p->box][i];

		if (ulid_compare(&b->stream_id, &p->row.stream_id) == 0 && batch_last_seq(b) <= p->seq)
			batch_unref(b);
		else
			d->boxes[p->box][n++] = b;
	}
	d->box_counts[p->box] = n;
}

#endif
