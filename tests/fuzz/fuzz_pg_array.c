/* Any two byte strings are the arrays of a batch, or an error; a batch gives those very arrays again. */
#include "tests/fuzz/fuzz.h"

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "consensusd/core/batch.h"
#include "consensusd/pg_array.h"

/* The input: length of the ids (u16), ids, payloads. */
enum { PREFIX_BYTES = 2, LOWER_BOUND_AT = 16 };

/* Equal but for the lower bound of the index, which we don't keep. */
static void
check_same(const struct buf *again, const uint8_t *from, size_t len)
{
	const uint8_t *p = buf_head(again);

	FUZZ_CHECK(buf_left(again) == len);
	FUZZ_CHECK(memcmp(p, from, LOWER_BOUND_AT) == 0);
	FUZZ_CHECK(memcmp(p + LOWER_BOUND_AT + 4, from + LOWER_BOUND_AT + 4, len - LOWER_BOUND_AT - 4) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct batch *b;
	struct buf again;
	size_t ids_len;

	if (size < PREFIX_BYTES)
		return 0;
	ids_len = be_load16(data);
	data += PREFIX_BYTES;
	size -= PREFIX_BYTES;
	if (ids_len > size || pg_array_get_batch(data, ids_len, data + ids_len, size - ids_len, &b) != 0)
		return 0;
	b->first_seq = 1;
	FUZZ_CHECK(batch_check(b) == 0);
	buf_init(&again, 2 * BATCH_BODY_MAX_BYTES);
	FUZZ_CHECK(pg_array_put_ids(&again, b) == 0);
	check_same(&again, data, ids_len);
	buf_reset(&again);
	FUZZ_CHECK(pg_array_put_payloads(&again, b) == 0);
	check_same(&again, data + ids_len, size - ids_len);
	buf_fini(&again);
	batch_unref(b);
	return 0;
}
