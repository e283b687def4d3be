/* Any bytes are a parcel that gives those very bytes again, or an error. */
#include "tests/fuzz/fuzz.h"

#include "common/base/mem.h"
#include "consensusd/core/parcel.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ulid stream = {{7}};
	struct batch *b;
	uint8_t *again;

	if (parcel_get(data, size, &stream, &b) != 0)
		return 0;
	FUZZ_CHECK(batch_check(b) == 0 && b->stream_id.b[0] == 7);
	FUZZ_CHECK(PARCEL_HEAD_BYTES + b->body_len == size);
	again = mem_calloc(1, size);
	if (again != NULL) {
		parcel_put(again, b);
		FUZZ_CHECK(memcmp(again + PARCEL_MARK_BYTES, data + PARCEL_MARK_BYTES,
			       size - PARCEL_MARK_BYTES) == 0);
	}
	mem_free(again);
	batch_unref(b);
	return 0;
}
