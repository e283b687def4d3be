/* The descriptor set that is built in: every method is in it, and every symbol is found in its file. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "common/base/err.h"
#include "gatewayd/core/descriptor_index.h"
#include "gatewayd/descriptors.h"
#include "gatewayd/method.h"

static int
find(const char *symbol)
{
	struct descriptor_file f;

	return descriptor_by_symbol(descriptors, descriptors_len, symbol, strlen(symbol), &f);
}

/* The method table and the .proto files must not drift apart. */
static void
test_every_method_is_described(void **state)
{
	(void)state;
	for (size_t i = 0; method_at(i) != NULL; i++) {
		char symbol[128];

		snprintf(symbol, sizeof(symbol), "%s", method_at(i)->path + 1);
		*strchr(symbol, '/') = '.';
		assert_int_equal(find(symbol), 1);
	}
}

struct seen {
	size_t services, methods;
};

static int
service_seen(void *arg, const char *name, size_t len)
{
	struct seen *s = arg;
	char path[128];

	s->services++;
	assert_int_equal(snprintf(path, sizeof(path), "/%.*s/x", (int)len, name), len + 3);
	assert_true(method_service_known(path, strlen(path)));
	return 0;
}

static void
test_every_service_has_methods(void **state)
{
	struct seen s = {0};

	(void)state;
	assert_int_equal(descriptor_services(descriptors, descriptors_len, service_seen, &s), 0);
	assert_int_equal(s.services, 7);
}

static void
test_symbols(void **state)
{
	static const char *const known[] = {"mesh.v1.Chunk", "mesh.v1.Chunk.payload",
	    "mesh.v1.Chunk.HeadersEntry", "mesh.v1.Chunk.HeadersEntry.key", "mesh.v1.MeshService",
	    "mesh.v1.MeshService.PublishClientData", "grpc.health.v1.HealthCheckResponse.ServingStatus",
	    "grpc.health.v1.HealthCheckResponse.SERVING",
	    "grpc.reflection.v1.ServerReflectionRequest.message_request"};
	static const char *const unknown[] = {"", ".", "mesh", "mesh.v1", "mesh.v1.", "mesh.v1.Chun",
	    "mesh.v1.Chunk.", "mesh.v1.Chunk.payload.x", "Chunk", "mesh.v2.Chunk", "mesh.v1.MeshService.Nope",
	    "grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING"};

	(void)state;
	for (size_t i = 0; i < COUNT(known); i++)
		assert_int_equal(find(known[i]), 1);
	for (size_t i = 0; i < COUNT(unknown); i++)
		assert_int_equal(find(unknown[i]), 0);
}

static void
test_files(void **state)
{
	struct descriptor_file f;

	(void)state;
	assert_int_equal(descriptor_by_name(descriptors, descriptors_len, "mesh.proto", 10, &f), 1);
	assert_true(f.len > 1000);
	assert_int_equal(descriptor_by_name(descriptors, descriptors_len, "mesh.prot", 9, &f), 0);
	assert_int_equal(descriptor_by_name(descriptors, descriptors_len, "", 0, &f), 0);
}

/* A cut set gives an error or an answer, never more. */
static void
test_cut_sets(void **state)
{
	struct descriptor_file f;

	(void)state;
	for (size_t n = 0; n < descriptors_len; n++) {
		int rc = descriptor_by_symbol(descriptors, n, "no.such.Symbol", 14, &f);

		assert_true(rc == 0 || rc == ERR_FORMAT);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_method_is_described),
	    cmocka_unit_test(test_every_service_has_methods),
	    cmocka_unit_test(test_symbols),
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_cut_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
