/* Any bytes are a command of a data stream group, which is written as it was read, or an error. */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "consensusd/core/dsg_impl.h"

enum { MAX_BYTES = 4096 };

static int
put(struct buf *out, const struct dsg_cmd *c)
{
	switch (c->type) {
	case DSG_OPEN:
		return dsg_put_open(out, &c->u.open);
	case DSG_BATCH:
		return dsg_put_batch(out, &c->u.batch);
	case DSG_EPOCH:
		return dsg_put_epoch(out, &c->stream, c->u.epoch);
	case DSG_PROCESSED:
		return dsg_put_processed(out, &c->stream, c->u.processed.node, c->u.processed.seq);
	case DSG_SKIP:
		return dsg_put_skip(out, &c->stream, c->u.skip);
	case DSG_CLOSE:
		return dsg_put_close(out, &c->stream);
	default:
		return -1;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dsg_cmd c;
	struct buf in, out;

	buf_view(&in, data, size);
	if (dsg_cmd_get(&in, &c) != 0)
		return 0;
	buf_init(&out, MAX_BYTES);
	FUZZ_CHECK(put(&out, &c) == 0);
	FUZZ_CHECK(buf_left(&out) == in.rpos && memcmp(buf_head(&out), data, in.rpos) == 0);
	buf_fini(&out);
	return 0;
}
