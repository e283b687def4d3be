/* Metrics texts, two of them in one input: merging loses no sample and adds none. */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "gatewayd/core/exposition.h"

/* Lines that are neither empty nor comments. */
static size_t
samples(const uint8_t *p, size_t len)
{
	size_t n = 0;
	int start = 1;

	for (size_t i = 0; i < len; i++) {
		n += start && p[i] != '\n' && p[i] != '#';
		start = p[i] == '\n';
	}
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *cut = memchr(data, 0, size);
	size_t first = cut != NULL ? (size_t)(cut - data) : size;
	struct exposition_text t[2] = {{data, first}, {data + first, size - first}};
	struct buf out;
	int rc;

	if (cut != NULL)
		t[1] = (struct exposition_text){cut + 1, size - first - 1};
	buf_init(&out, 1 << 20);
	rc = exposition_merge(&out, t, 2);
	if (rc == 0)
		FUZZ_CHECK(samples(buf_head(&out), buf_left(&out)) ==
			   samples(t[0].data, t[0].len) + samples(t[1].data, t[1].len));
	else
		FUZZ_CHECK(rc == ERR_FORMAT || rc == ERR_LIMIT);
	buf_fini(&out);
	return 0;
}
