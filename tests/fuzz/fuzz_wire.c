/* Protobuf without a schema: walking any bytes, as one message and as a descriptor set. */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "gatewayd/core/descriptor_index.h"
#include "gatewayd/core/wire.h"

static int
name_seen(void *arg, const char *name, size_t len)
{
	size_t *sum = arg;

	for (size_t i = 0; i < len; i++)
		*sum += (uint8_t)name[i];
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct descriptor_file file = {data, size};
	struct wire_field f;
	struct buf b;
	size_t sum = 0;
	int rc;

	buf_view(&b, data, size);
	while ((rc = wire_next(&b, &f)) == 1)
		if (f.type == WIRE_BYTES && f.len > 0)
			FUZZ_CHECK(f.data >= data && f.data + f.len <= data + size);
	FUZZ_CHECK(rc == 0 || rc == ERR_FORMAT);
	rc = descriptor_services(data, size, name_seen, &sum);
	FUZZ_CHECK(rc == 0 || rc == ERR_FORMAT);
	rc = descriptor_imports(&file, name_seen, &sum);
	FUZZ_CHECK(rc == 0 || rc == ERR_FORMAT);
	rc = descriptor_by_symbol(data, size, "a.b.c", 5, &file);
	FUZZ_CHECK(rc == 0 || rc == 1 || rc == ERR_FORMAT);
	return 0;
}
