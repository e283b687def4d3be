/*
 * fake_store_ids: the table of message ids in fake_store.h, which includes this; fake_store_message.h reads
 * it.
 */
#ifndef TESTS_UNIT_CONSENSUSD_FAKE_STORE_IDS_H
#define TESTS_UNIT_CONSENSUSD_FAKE_STORE_IDS_H

#include "tests/unit/consensusd/fake_store.h"

static bool
fake_has_ids(const struct fake_db *d, const struct ulid *stream)
{
	for (size_t i = 0; i < d->ids_count; i++)
		if (ulid_compare(&d->ids[i]->stream_id, stream) == 0)
			return true;
	return false;
}

/* NULL: of all streams. */
static void
fake_ids_clear(struct fake_db *d, const struct ulid *stream, uint64_t upto)
{
	size_t n = 0;

	for (size_t i = 0; i < d->ids_count; i++) {
		struct batch *b = d->ids[i];

		if ((stream == NULL || ulid_compare(&b->stream_id, stream) == 0) && batch_last_seq(b) <= upto)
			batch_unref(b);
		else
			d->ids[n++] = b;
	}
	d->ids_count = n;
}

#endif
