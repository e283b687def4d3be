/* What another node says a stream is: taken only if it is whole, signed, and by the key of its source. */
#include "tests/fuzz/fuzz.h"

#include "common/os/crypto.h"
#include "consensusd/meta.h"
#include "consensusd/store.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int started;
	struct store_stream row;

	if (!started) {
		FUZZ_CHECK(crypto_init() == 0);
		started = 1;
	}
	if (meta_verify(data, size, &row) != 0)
		return 0;
	FUZZ_CHECK(tenant_valid(row.tenant_id));
	FUZZ_CHECK(row.dst_count > 0 && row.dst_count <= STORE_TARGETS_MAX);
	FUZZ_CHECK(row.src_node != 0 && crypto_node_id(row.source_key) == row.src_node);
	FUZZ_CHECK(row.meta == data && row.meta_len == size);
	return 0;
}
