/* Any text is a file of keys or an error with its line. */
#include "tests/fuzz/fuzz.h"

#include "common/base/err.h"
#include "consensusd/keyring_file.h"

enum { KEYS_MAX = 8 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t keys[KEYS_MAX][CRYPTO_KEY_BYTES];
	size_t count;
	unsigned line, lines = 1;
	int err = keyring_file_parse((const char *)data, size, keys, KEYS_MAX, &count, &line);

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	FUZZ_CHECK(line <= lines && count <= KEYS_MAX);
	FUZZ_CHECK(err == ERR_FORMAT || err == ERR_LIMIT || err == ERR_EXISTS ||
		   (err == ERR_SHORT && count == 0) || (err == 0 && count > 0));
	return 0;
}
