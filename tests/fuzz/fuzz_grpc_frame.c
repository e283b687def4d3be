/* A request body in pieces: the same messages however it is cut, and never more memory than the limit. */
#include "tests/fuzz/fuzz.h"

#include "common/base/err.h"
#include "gatewayd/core/grpc_frame.h"

enum { LIMIT = 600 };

struct result {
	size_t count, bytes;
	uint32_t hash;
	int end;
};

static void
message_note(struct result *r, const struct grpc_message *m)
{
	FUZZ_CHECK(m->len <= LIMIT);
	r->count++;
	r->bytes += m->len;
	r->hash = r->hash * 31 + m->compressed;
	for (size_t i = 0; i < m->len; i++)
		r->hash = r->hash * 31 + m->data[i];
}

/* Feeds the body in pieces of step bytes. */
static struct result
feed(const uint8_t *data, size_t size, size_t step)
{
	struct result r = {0};
	struct grpc_frame f;

	grpc_frame_init(&f, LIMIT);
	for (size_t at = 0; at < size && r.end == 0; at += step) {
		size_t n = step < size - at ? step : size - at;
		struct grpc_message m;
		struct buf b;

		buf_view(&b, data + at, n);
		while ((r.end = grpc_frame_feed(&f, &b, &m)) == 1)
			message_note(&r, &m);
		FUZZ_CHECK(r.end != 0 || buf_left(&b) == 0);
		FUZZ_CHECK(grpc_frame_memory(&f) <= LIMIT + GRPC_PREFIX_BYTES);
	}
	FUZZ_CHECK(r.end == 0 || r.end == ERR_LIMIT || r.end == ERR_FORMAT);
	grpc_frame_fini(&f);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t steps[] = {1, 3, 7, 64};
	struct result whole = feed(data, size, size + 1);

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct result cut = feed(data, size, steps[i]);

		FUZZ_CHECK(cut.count == whole.count && cut.bytes == whole.bytes && cut.hash == whole.hash);
		FUZZ_CHECK(cut.end == whole.end);
	}
	return 0;
}
