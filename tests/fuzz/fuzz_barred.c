/*
 * What transportd reads of an end-to-end header, and the list of tenants that it may not relay: no target
 * finds another tenant in a header, or one where transportd finds none.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/err.h"
#include "proto/e2e.pb.h"
#include "proto/pb.h"
#include "transportd/core/barred.h"

static void
check_header(const uint8_t *data, size_t size)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;
	const uint8_t *tenant = NULL;
	size_t len = 0;
	int err = barred_tenant(data, size, &tenant, &len);

	FUZZ_CHECK(
	    err != 0 || (len > 0 && len <= TENANT_ID_MAX && tenant >= data && tenant + len <= data + size));
	if (pb_unpack(data, size, mesh_e2e_Header_fields, &h) != 0)
		return;
	FUZZ_CHECK(err != ERR_NOENT || h.tenant_id[0] == '\0');
	FUZZ_CHECK(err != 0 || (strlen(h.tenant_id) == len && memcmp(h.tenant_id, tenant, len) == 0));
}

static void
check_list(const uint8_t *data, size_t size)
{
	static struct barred b;

	if (barred_decode(&b, data, size) != 0)
		return;
	FUZZ_CHECK(b.count <= BARRED_TENANTS_MAX && (size > 0 || barred_empty(&b)));
	for (size_t i = 0; i < b.count; i++)
		FUZZ_CHECK(barred_has(&b, b.at[i] + 1, b.at[i][0]) == !b.all);
	FUZZ_CHECK(barred_has(&b, (const uint8_t *)"", 0) == b.all);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_header(data, size);
	check_list(data, size);
	return 0;
}
