/* The method table: look-ups, and requests that are valid or not. */
#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "gatewayd/method.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

static const struct method *
find(const char *path)
{
	return method_find(path, strlen(path));
}

static void
test_find(void **state)
{
	static const char *const unknown[] = {"", "/", "//", "mesh.v1.MeshService/PublishClientData",
	    "/mesh.v1.MeshService/PublishClientDat", "/mesh.v1.MeshService/PublishClientDataStreamX",
	    "/mesh.v1.MeshService/publishclientdata", "/mesh.v1.MeshService/"};

	(void)state;
	for (size_t i = 0; method_at(i) != NULL; i++)
		assert_ptr_equal(find(method_at(i)->path), method_at(i));
	for (size_t i = 0; i < COUNT(unknown); i++)
		assert_null(find(unknown[i]));
	assert_null(method_find("/mesh.v1.MeshService/Ack\0", 25));
	assert_true(method_service_known("/mesh.v1.MeshService/x", 22));
	assert_false(method_service_known("/mesh.v1.MeshServic/x", 21));
	assert_false(method_service_known("/mesh.v1.MeshService", 20));
	assert_false(method_service_known("", 0));
}

static void
test_rows_make_sense(void **state)
{
	(void)state;
	for (size_t i = 0; method_at(i) != NULL; i++) {
		const struct method *m = method_at(i);

		assert_non_null(m->ops);
		assert_non_null(m->ops->message);
		assert_true(m->msg_more == 0 || m->client_stream);
		assert_true(!m->endless || m->server_stream);
		/* Only health checks are open to everybody. */
		assert_int_equal(m->auth == METHOD_OPEN, strncmp(m->path, "/grpc.health.", 13) == 0);
		if (m->msg_first != 0)
			assert_true(method_max_bytes(m, true) > 0 || m->request == mesh_v1_Empty_fields);
	}
}

/* What is looked for in field 1 without the message's type is there, and no longer than it may be. */
static void
test_mesh_ids(void **state)
{
	uint8_t data[2 + 27] = {0x0a};
	size_t count = 0;

	(void)state;
	memset(data + 2, 'x', 27);
	for (size_t i = 0; method_at(i) != NULL; i++) {
		const struct method *m = method_at(i);

		/* Who puts the answer together has asked consensusd before, once. */
		assert_true(m->then == NULL || (m->msg_first != 0 && !m->client_stream && !m->server_stream));
		if (!m->mesh_id)
			continue;
		count++;
		data[1] = 26;
		assert_true(method_valid(m, data, 2 + 26));
		data[1] = 27;
		assert_false(method_valid(m, data, 2 + 27));
	}
	assert_int_equal(count, 12);
}

static void
test_requests(void **state)
{
	const struct method *publish = find("/mesh.v1.MeshService/PublishClientData");
	mesh_v1_Chunk c = mesh_v1_Chunk_init_zero;
	struct pb_slice payload = {(const uint8_t *)"abc", 3};
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	strcpy(c.stream_id, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
	pb_slice_encode(&c.payload, &payload);
	assert_int_equal(pb_pack(&b, mesh_v1_Chunk_fields, &c), 0);
	assert_true(method_valid(publish, buf_head(&b), buf_left(&b)));
	assert_true(method_valid(publish, buf_head(&b), 0));
	/* Every cut is either the end of a field or an error, and nothing is read beyond it. */
	for (size_t n = 1; n < buf_left(&b); n++) {
		bool whole = n == 28;

		assert_int_equal(method_valid(publish, buf_head(&b), n), whole);
	}
	/* A string over its limit. */
	b.data[1] = 27;
	assert_false(method_valid(publish, buf_head(&b), 29));
	/* Fields that are not known are skipped. */
	assert_true(method_valid(publish, (const uint8_t *)"\xfa\x01\x01x", 4));
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_find),
	    cmocka_unit_test(test_rows_make_sense),
	    cmocka_unit_test(test_mesh_ids),
	    cmocka_unit_test(test_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
