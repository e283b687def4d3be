/* Any bytes are frames or an error; a frame encodes to the very bytes it came from. */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"

static void
check_again(const struct frame *f, const uint8_t *from, size_t len)
{
	static uint8_t mem[FRAME_MAX_BYTES];
	struct buf again;

	buf_init_fixed(&again, mem, sizeof(mem));
	FUZZ_CHECK(frame_size(f) == len);
	FUZZ_CHECK(frame_encode(f, &again) == 0);
	FUZZ_CHECK(buf_left(&again) == len);
	FUZZ_CHECK(memcmp(buf_head(&again), from, len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame f;
	struct buf in;

	buf_view(&in, data, size);
	while (buf_left(&in) != 0) {
		const uint8_t *from = buf_head(&in);
		size_t left = buf_left(&in);
		int err = frame_decode(&in, &f);

		if (err != 0) {
			FUZZ_CHECK(err == ERR_SHORT || err == ERR_VERSION || err == ERR_UNKNOWN ||
				   err == ERR_FORMAT || err == ERR_LIMIT);
			FUZZ_CHECK(buf_left(&in) == left);
			return 0;
		}
		check_again(&f, from, left - buf_left(&in));
	}
	return 0;
}
