/* PROBE payloads and what a lane makes of them: {length u8, milliseconds since the last u8, payload}, one
 * after the other.  A length of 255 stands for a frame of full size, with zeros behind the rest of the input.
 */
#include "common/base/buf.h"
#include "common/base/err.h"
#include "tests/fuzz/fuzz.h"
#include "transportd/core/pace.h"

enum { FULL = 255 };

static void
check_same(const struct probe *p, const uint8_t *data, size_t len)
{
	uint8_t mem[PROBE_FRAME_BYTES];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(probe_encode(p, &out) == 0);
	FUZZ_CHECK(buf_left(&out) == len && memcmp(mem, data, len) == 0);
}

static void
check_report(struct pace *pace, const struct probe *report, struct mono now)
{
	int err = pace_probed(pace, 1, report, now);

	FUZZ_CHECK(err == 0 || err == ERR_RANGE);
	FUZZ_CHECK(err != 0 || (report->kind == PROBE_REPORT && report->train == 1));
	FUZZ_CHECK(pace_bandwidth_kbps(pace) <= UINT64_C(8000000000));
	/* What a peer claims of its reception opens nothing. */
	FUZZ_CHECK(pace_limit(pace, now) == PACE_INITIAL_BYTES);
}

static void
one(struct pace *pace, struct probe_rx *rx, const uint8_t *data, size_t len, struct mono now)
{
	struct probe p, report;
	int err = probe_decode(data, len, &p);

	FUZZ_CHECK(
	    err == 0 || err == ERR_SHORT || err == ERR_LEFTOVER || err == ERR_FORMAT || err == ERR_LIMIT);
	if (err != 0)
		return;
	check_same(&p, data, len);
	check_report(pace, &p, now);
	if (!probe_received(rx, &p, now, &report))
		return;
	FUZZ_CHECK(p.kind == PROBE_TRAIN && report.train == p.train && report.received == p.count);
	check_report(pace, &report, now);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t full[PROBE_FRAME_BYTES + 1] = {0};
	struct probe_rx rx = {0};
	struct mono now = {0};
	struct pace pace;
	size_t n;

	pace_init(&pace, now);
	for (; len >= 2; data += n, len -= n) {
		n = data[0];
		now = mono_add_ms(now, data[1]);
		data += 2;
		len -= 2;
		if (n == FULL) {
			n = len < sizeof(full) ? len : sizeof(full);
			memcpy(full, data, n);
			one(&pace, &rx, full, sizeof(full) - (n & 1), now);
		} else {
			n = n < len ? n : len;
			one(&pace, &rx, data, n, now);
		}
	}
	return 0;
}
