/* WebSocket frames from the network; the first byte says whether masked ones are expected. */
#include "common/base/err.h"
#include "common/base/frame.h"
#include "tests/fuzz/fuzz.h"
#include "transportd/core/wsframe.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	bool masked = len != 0 && (data[0] & 1) != 0;
	struct wsframe f;
	int err;

	if (len == 0)
		return 0;
	data++;
	len--;
	while (len != 0) {
		err = wsframe_decode(data, len, masked, FRAME_MESSAGE_MAX_BYTES, &f);
		FUZZ_CHECK(err == 0 || err == ERR_SHORT || err == ERR_FORMAT || err == ERR_LIMIT);
		if (err != 0)
			return 0;
		FUZZ_CHECK(f.header_len >= 2 && f.header_len <= WSFRAME_HEADER_MAX && f.header_len <= len);
		FUZZ_CHECK(f.payload_len <= FRAME_MESSAGE_MAX_BYTES && f.masked == masked);
		FUZZ_CHECK(f.opcode < WSFRAME_CLOSE || (f.fin && f.payload_len <= WSFRAME_CONTROL_MAX));
		if (f.payload_len > len - f.header_len)
			return 0;
		data += f.header_len + f.payload_len;
		len -= f.header_len + f.payload_len;
	}
	return 0;
}
