/*
 * A message of frames as a neighbour may send it, relayed over a small table: whatever comes, the
 * frame goes to a living neighbour, with less to live, and stays a frame.
 */
#include "common/base/buf.h"
#include "common/base/frame.h"
#include "tests/fuzz/fuzz.h"
#include "transportd/core/fib.h"
#include "transportd/core/forward.h"

enum { SELF = 1, FROM = 2, NODES = 16 };

static uint32_t links;

static bool
alive(void *arg, uint64_t node)
{
	(void)arg;
	return node < NODES && (links >> node & 1) != 0;
}

static struct fib *
table(void)
{
	struct fib *f = fib_new();

	for (uint64_t dst = 3; dst < NODES; dst++) {
		const struct fib_path paths[] = {
		    {.hop_count = 2, .hops = {dst == 3 ? 4 : 3, dst}},
		    {.hop_count = 3, .hops = {5, FROM, dst}},
		    {.hop_count = 1, .hops = {dst}},
		};

		FUZZ_CHECK(fib_set(f, dst, 15, 1, paths, 3) == 0);
	}
	return f;
}

static void
relay(const struct forward *fw, struct frame *f)
{
	uint8_t mem[FRAME_MAX_BYTES];
	struct forward_way way;
	struct frame again;
	struct buf out;

	if (forward_relay(fw, FROM, f, &way) != FORWARD_SEND)
		return;
	FUZZ_CHECK(alive(NULL, way.next) && way.next != SELF);
	FUZZ_CHECK(!way.repaired || way.next != FROM);
	memmove(f->visit, way.visit, way.visit_count * sizeof(f->visit[0]));
	f->visit_count = way.visit_count;
	FUZZ_CHECK(f->ttl > 1);
	f->ttl--;
	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(frame_encode(f, &out) == 0);
	FUZZ_CHECK(frame_decode(&out, &again) == 0 && buf_left(&out) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fib *fib;
	struct forward fw = {.self = SELF, .alive = alive};
	struct buf in;

	if (len < 2)
		return 0;
	if (fib == NULL)
		fib = table();
	fw.fib = fib;
	links = (uint32_t)(data[0] << 8 | data[1]) & ~(1u << SELF);
	buf_view(&in, data + 2, len - 2);
	while (buf_left(&in) != 0) {
		struct frame f;

		if (frame_decode(&in, &f) != 0)
			return 0;
		relay(&fw, &f);
	}
	return 0;
}
