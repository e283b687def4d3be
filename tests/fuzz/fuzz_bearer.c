/* Authorization headers and token files: total, and what is accepted is within its limits. */
#include "tests/fuzz/fuzz.h"

#include "gatewayd/core/bearer.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *token;
	struct bearer_file f;
	unsigned line;
	size_t len;

	if (bearer_header((const char *)data, size, &token, &len) == 0) {
		FUZZ_CHECK(len >= BEARER_TOKEN_MIN_BYTES && len <= BEARER_TOKEN_MAX_BYTES);
		FUZZ_CHECK(token >= (const char *)data && token + len == (const char *)data + size);
	}
	if (bearer_file_parse(&f, (const char *)data, size, &line) == 0) {
		for (size_t i = 0; i < f.count; i++) {
			FUZZ_CHECK(bearer_file_get(&f, f.tokens[i].digest) == &f.tokens[i]);
			FUZZ_CHECK(memchr(f.tokens[i].name, '\0', sizeof(f.tokens[i].name)) != NULL);
		}
		bearer_file_fini(&f);
	}
	return 0;
}
