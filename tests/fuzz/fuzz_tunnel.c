/* A proxy's answer to CONNECT, whole and in two pieces: the same comes out. */
#include "tests/fuzz/fuzz.h"
#include "transportd/core/limits.h"
#include "transportd/core/tunnel.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct tunnel whole, pieces;
	size_t cut = len != 0 ? data[0] % len : 0, used, n;

	tunnel_init(&whole);
	used = tunnel_feed(&whole, data, len);
	FUZZ_CHECK(used <= len && used <= TUNNEL_ANSWER_MAX_BYTES + 1);
	FUZZ_CHECK(used == len || whole.state >= TUNNEL_OPEN);
	tunnel_init(&pieces);
	n = tunnel_feed(&pieces, data, cut);
	if (n == cut)
		n += tunnel_feed(&pieces, data + cut, len - cut);
	FUZZ_CHECK(n == used && pieces.state == whole.state && pieces.status == whole.status);
	FUZZ_CHECK(whole.status < 1000);
	return 0;
}
