/*
 * make_batch: batches for tests of the cores: count messages of size bytes each, content by seq.
 */
#ifndef TESTS_UNIT_CONSENSUSD_MAKE_BATCH_H
#define TESTS_UNIT_CONSENSUSD_MAKE_BATCH_H

#include "common/base/be.h"
#include "consensusd/core/batch.h"
#include "tests/unit/unit.h"

static inline struct ulid
make_id(uint64_t n)
{
	struct ulid id = {{0}};

	be_store64(id.b + 8, n);
	return id;
}

static inline struct batch *
make_batch(uint64_t first_seq, uint32_t count, uint32_t size)
{
	struct batch *b = batch_new(count * (BATCH_RECORD_HDR_BYTES + (size_t)size));

	assert_non_null(b);
	b->stream_id = make_id(1);
	b->first_seq = first_seq;
	b->count = count;
	b->epoch = 1;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *p = b->body + i * (BATCH_RECORD_HDR_BYTES + (size_t)size);
		struct ulid id = make_id(first_seq + i);

		memcpy(p, id.b, ULID_BYTES);
		be_store32(p + ULID_BYTES, size);
		memset(p + BATCH_RECORD_HDR_BYTES, (int)((first_seq + i) & 0xff), size);
	}
	return b;
}

#endif
