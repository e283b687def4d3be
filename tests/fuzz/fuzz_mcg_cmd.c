/* Any bytes are a command of the control group, which is written as it was read, or an error. */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "consensusd/core/mcg_cmd.h"

enum { MAX_BYTES = 4 << 20 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mcg_cmd c;
	struct buf out;

	if (mcg_cmd_decode(data, size, &c) != 0)
		return 0;
	FUZZ_CHECK(mcg_cmd_name(c.type)[0] != '?');
	buf_init(&out, MAX_BYTES);
	FUZZ_CHECK(mcg_cmd_encode(&c, &out) == 0);
	FUZZ_CHECK(buf_left(&out) == size && memcmp(buf_head(&out), data, size) == 0);
	buf_fini(&out);
	return 0;
}
