/* The grpc-timeout header and status messages: total, and what is encoded has only allowed bytes. */
#include "tests/fuzz/fuzz.h"

#include "gatewayd/core/grpc_status.h"
#include "gatewayd/core/grpc_timeout.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[2048], out[GRPC_MESSAGE_ENCODED_SIZE];
	int64_t us = -1;
	size_t n;

	if (grpc_timeout_parse((const char *)data, size, &us) == 0)
		FUZZ_CHECK(us >= 0 && size >= 2 && size <= 9);
	else
		FUZZ_CHECK(us == -1);
	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	n = grpc_status_encode(out, text);
	FUZZ_CHECK(n < sizeof(out) && strlen(out) == n);
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK(out[i] >= 0x20 && out[i] <= 0x7E);
	return 0;
}
