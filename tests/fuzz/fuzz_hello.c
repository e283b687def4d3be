/* Payloads of link-local frames and reports: hello, goaway, heartbeat, unreachable.  The first byte chooses.
 */
#include "common/base/buf.h"
#include "common/base/id.h"
#include "tests/fuzz/fuzz.h"
#include "transportd/core/forward.h"
#include "transportd/core/goaway.h"
#include "transportd/core/heartbeat.h"
#include "transportd/core/hello.h"
#include "transportd/core/limits.h"

/* What was decoded encodes to the same bytes, but for extensions, which are dropped. */
static void
check_hello(const uint8_t *data, size_t len)
{
	uint8_t mem[HELLO_MAX_BYTES];
	struct hello h;
	struct buf out;

	if (hello_decode(data, len, &h) != 0)
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(hello_encode(&h, &out) == 0 && buf_left(&out) <= len);
	FUZZ_CHECK(memcmp(mem, data, buf_left(&out)) == 0);
	FUZZ_CHECK(h.node_id != 0 && node_name_valid(h.name));
}

static void
check_goaway(const uint8_t *data, size_t len)
{
	char reason[GOAWAY_REASON_SIZE];
	uint8_t mem[300];
	uint16_t code;
	struct buf out;

	if (goaway_decode(data, len, &code, reason) != 0)
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(goaway_encode(code, reason, &out) == 0 && buf_left(&out) == len);
	FUZZ_CHECK(memcmp(mem, data, len) == 0);
	FUZZ_CHECK(goaway_label(code)[0] != '\0' && goaway_text(code)[0] != '\0');
}

static void
check_beat(const uint8_t *data, size_t len)
{
	uint8_t mem[HEARTBEAT_PAYLOAD_BYTES];
	struct beat b;
	struct buf out;

	if (beat_decode(data, len, &b) != 0)
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(beat_encode(&b, &out) == 0 && buf_left(&out) == len && memcmp(mem, data, len) == 0);
}

static void
check_unreach(const uint8_t *data, size_t len)
{
	uint8_t mem[UNREACH_PAYLOAD_BYTES];
	struct unreach u;
	struct buf out;

	if (unreach_decode(data, len, &u) != 0)
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(unreach_encode(&u, &out) == 0 && buf_left(&out) == len && memcmp(mem, data, len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const checks[])(const uint8_t *, size_t) = {
	    check_hello, check_goaway, check_beat, check_unreach};

	if (len != 0)
		checks[data[0] % 4](data + 1, len - 1);
	return 0;
}
