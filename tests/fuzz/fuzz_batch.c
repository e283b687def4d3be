/* Any bytes are a batch's body that can be walked to its end, or an error. */
#include "tests/fuzz/fuzz.h"

#include "common/base/be.h"
#include "common/base/err.h"
#include "consensusd/core/batch.h"

/* The input: count (u16), first_seq (u64), body. */
enum { PREFIX_BYTES = 10 };

static void
walk(const struct batch *b)
{
	struct batch_iter it;
	struct batch_record rec;
	size_t at = 0;
	uint32_t n = 0;

	batch_iter_init(&it, b);
	while (batch_next(&it, &rec) != 0) {
		FUZZ_CHECK(rec.record_offset == at);
		FUZZ_CHECK(rec.seq == b->first_seq + n++);
		at += BATCH_RECORD_HDR_BYTES + rec.sealed_len;
	}
	FUZZ_CHECK(at == b->body_len);
	FUZZ_CHECK(n == b->count && rec.seq == batch_last_seq(b));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct batch *b;
	int err;

	if (size < PREFIX_BYTES)
		return 0;
	b = batch_new(size - PREFIX_BYTES);
	if (b == NULL)
		return 0;
	b->count = be_load16(data);
	b->first_seq = be_load64(data + 2);
	memcpy(b->body, data + PREFIX_BYTES, size - PREFIX_BYTES);
	err = batch_check(b);
	FUZZ_CHECK(
	    err == 0 || err == ERR_SHORT || err == ERR_LEFTOVER || err == ERR_LIMIT || err == ERR_FORMAT);
	if (err == 0)
		walk(b);
	batch_unref(b);
	return 0;
}
