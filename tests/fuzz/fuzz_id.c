/* Text that parses as an id formats to the same id, in the one canonical spelling. */
#include "tests/fuzz/fuzz.h"

#include "common/base/id.h"

static void
check_nodeid(const char *text)
{
	char canonical[NODEID_TEXT_SIZE];
	uint64_t id, again;

	if (nodeid_parse(text, &id) != 0)
		return;
	nodeid_format(canonical, id);
	FUZZ_CHECK(strlen(canonical) == strlen(text));
	FUZZ_CHECK(nodeid_parse(canonical, &again) == 0 && again == id);
}

static void
check_ulid(const char *text)
{
	char canonical[ULID_TEXT_SIZE];
	struct ulid u, again;

	if (ulid_parse(text, &u) != 0)
		return;
	ulid_format(canonical, &u);
	FUZZ_CHECK(strlen(canonical) == strlen(text));
	FUZZ_CHECK(ulid_parse(canonical, &again) == 0 && ulid_compare(&u, &again) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[128];

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	check_nodeid(text);
	check_ulid(text);
	FUZZ_CHECK(!tenant_valid(text) || strlen(text) <= TENANT_ID_MAX);
	FUZZ_CHECK(!node_name_valid(text) || strlen(text) <= NODE_NAME_MAX);
	return 0;
}
