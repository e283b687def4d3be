/* The end-to-end header of any frame is taken or refused; what is taken keeps its promises. */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "consensusd/core/batch.h"
#include "consensusd/e2e.h"

static void
check_batch(const mesh_e2e_Header *h, const struct frame *f)
{
	FUZZ_CHECK(h->count > 0 && h->count <= BATCH_MESSAGES_MAX);
	FUZZ_CHECK(h->seq > 0 && h->seq + h->count - 1 <= INT64_MAX);
	FUZZ_CHECK(h->chunk_seq < h->total_chunks);
	FUZZ_CHECK((size_t)h->chunk_seq * FRAME_PAYLOAD_MAX_BYTES + f->payload_len <= h->batch_bytes);
	FUZZ_CHECK(h->batch_bytes <= BATCH_BODY_MAX_BYTES);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t mem[FRAME_MAX_BYTES];
	mesh_e2e_Header h, again;
	struct buf in, out;
	struct frame f, g;

	buf_view(&in, data, size);
	if (frame_decode(&in, &f) != 0 || e2e_get(&f, &h) != 0)
		return 0;
	FUZZ_CHECK(h.source == f.src && h.destination != 0 && h.stream_id.size == ULID_BYTES);
	if (h.msg_type == mesh_e2e_MsgType_MSG_BATCH)
		check_batch(&h, &f);
	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(e2e_put_frame(&out, &h, f.payload, f.payload_len) == 0);
	FUZZ_CHECK(frame_decode(&out, &g) == 0 && buf_end(&out) == 0);
	FUZZ_CHECK(e2e_get(&g, &again) == 0 && g.type == f.type);
	return 0;
}
