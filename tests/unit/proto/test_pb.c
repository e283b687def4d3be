#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "proto/ipc.pb.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

#define CHUNK mesh_v1_Chunk_fields
#define LINK mesh_ipc_Link_fields

static void
test_round_trip(void **state)
{
	mesh_ipc_Link in = {.peer = 0x1122334455667788u, .peer_name = "beta", .rtt_us = 250, .dialled = true};
	mesh_ipc_Link out;
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	assert_int_equal(pb_pack(&b, LINK, &in), 0);
	memset(&out, 0xa5, sizeof(out));
	assert_int_equal(pb_unpack(buf_head(&b), buf_left(&b), LINK, &out), 0);
	assert_true(out.peer == in.peer);
	assert_string_equal(out.peer_name, "beta");
	assert_int_equal(out.rtt_us, 250);
	assert_true(out.dialled);
	/* Absent fields have their defaults whatever was there before. */
	assert_int_equal(out.loss_ppm, 0);
	assert_string_equal(out.address, "");
	buf_fini(&b);
}

static void
test_empty_message(void **state)
{
	mesh_ipc_Link out;

	(void)state;
	memset(&out, 0xa5, sizeof(out));
	assert_int_equal(pb_unpack(NULL, 0, LINK, &out), 0);
	assert_true(out.peer == 0);
}

static void
test_pack_limit_leaves_the_buffer_as_it_was(void **state)
{
	mesh_ipc_Link in = {.peer = 1, .peer_name = "a-name-that-takes-room"};
	uint8_t mem[16];
	struct buf b;

	(void)state;
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_u32(&b, 7), 0);
	assert_int_equal(pb_pack(&b, LINK, &in), ERR_LIMIT);
	assert_int_equal(buf_left(&b), 4);
}

static void
test_pack_out_of_memory(void **state)
{
	mesh_ipc_Link in = {.peer = 1};
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	mem_fail_at(1);
	assert_int_equal(pb_pack(&b, LINK, &in), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(buf_left(&b), 0);
	buf_fini(&b);
}

static bool
refuse(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	(void)stream;
	(void)field;
	(void)arg;
	return false;
}

static void
test_pack_callback_refuses(void **state)
{
	mesh_v1_Chunk in = {.seq = 3, .payload.funcs.encode = refuse};
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	assert_int_equal(pb_pack(&b, CHUNK, &in), ERR_FORMAT);
	assert_int_equal(buf_left(&b), 0);
	buf_fini(&b);
}

static void
test_slice_borrows_from_the_input(void **state)
{
	static const uint8_t text[] = "hello payload";
	struct pb_slice payload = {text, sizeof(text)}, got;
	mesh_v1_Chunk in = {.seq = 9}, out;
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	pb_slice_encode(&in.payload, &payload);
	assert_int_equal(pb_pack(&b, CHUNK, &in), 0);
	memset(&out, 0, sizeof(out));
	pb_slice_decode(&out.payload, &got);
	assert_int_equal(pb_unpack(buf_head(&b), buf_left(&b), CHUNK, &out), 0);
	assert_int_equal(got.len, sizeof(text));
	assert_memory_equal(got.data, text, sizeof(text));
	assert_true(got.data >= buf_head(&b) && got.data + got.len <= buf_head(&b) + buf_left(&b));
	assert_int_equal(out.seq, 9);
	buf_fini(&b);
}

static void
test_slice_absent_empty_and_repeated(void **state)
{
	static const uint8_t twice[] = {0x32, 1, 'a', 0x32, 2, 'b', 'c'}; /* field 6, last one wins */
	static const uint8_t empty[] = {0x32, 0};
	struct pb_slice got;
	mesh_v1_Chunk out = {0};

	(void)state;
	pb_slice_decode(&out.payload, &got);
	assert_int_equal(pb_unpack("", 0, CHUNK, &out), 0);
	assert_int_equal(got.len, 0);
	assert_non_null(got.data);
	assert_int_equal(pb_unpack(empty, sizeof(empty), CHUNK, &out), 0);
	assert_int_equal(got.len, 0);
	assert_int_equal(pb_unpack(twice, sizeof(twice), CHUNK, &out), 0);
	assert_int_equal(got.len, 2);
	assert_memory_equal(got.data, "bc", 2);
}

static void
test_scalar_in_a_bytes_field_is_refused(void **state)
{
	static const uint8_t varint[] = {0x30, 5};                     /* field 6, wire type 0 */
	static const uint8_t fixed[] = {0x31, 1, 2, 3, 4, 5, 6, 7, 8}; /* field 6, wire type 1 */
	struct pb_slice got;
	mesh_v1_Chunk out = {0};

	(void)state;
	pb_slice_decode(&out.payload, &got);
	assert_int_equal(pb_unpack(varint, sizeof(varint), CHUNK, &out), ERR_FORMAT);
	assert_int_equal(pb_unpack(fixed, sizeof(fixed), CHUNK, &out), ERR_FORMAT);
}

static void
test_lists(void **state)
{
	struct pb_slice items[3] = {
	    {(const uint8_t *)"\x0a\x01k", 3}, {(const uint8_t *)"", 0}, {(const uint8_t *)"\x12\x01v", 3}};
	struct pb_list list = {items, 3};
	struct pb_slice got[3];
	struct pb_raw_list raw = {.items = got, .max = 3};
	mesh_v1_Chunk in = {0}, out = {0};
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	pb_list_encode(&in.headers, &list);
	assert_int_equal(pb_pack(&b, CHUNK, &in), 0);
	pb_raw_list_decode(&out.headers, &raw);
	assert_int_equal(pb_unpack(buf_head(&b), buf_left(&b), CHUNK, &out), 0);
	assert_int_equal(raw.count, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(got[i].len, items[i].len);
		assert_memory_equal(got[i].data, items[i].data, items[i].len);
	}
	/* One more than the limit. */
	raw.max = 2;
	pb_raw_list_decode(&out.headers, &raw);
	assert_int_equal(pb_unpack(buf_head(&b), buf_left(&b), CHUNK, &out), ERR_FORMAT);
	buf_fini(&b);
}

static void
test_bad_input(void **state)
{
	static const uint8_t bad[][12] = {
	    {0x00},                               /* tag 0 */
	    {0x0a, 0x05, 'x'},                    /* longer than the input */
	    {0x0a},                               /* no length */
	    {0x10, 0x80, 0x80},                   /* varint without end */
	    {0x0f},                               /* wire type 7 */
	    {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, /* 4 GiB */
	};
	static const size_t len[] = {1, 3, 1, 3, 1, 6};
	mesh_v1_Chunk out = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(len) / sizeof(len[0]); i++)
		assert_int_equal(pb_unpack(bad[i], len[i], CHUNK, &out), ERR_FORMAT);
}

static void
test_string_too_long(void **state)
{
	uint8_t in[2 + 40];
	mesh_v1_Chunk out = {0};

	(void)state;
	memset(in, 'A', sizeof(in));
	in[0] = 0x0a; /* stream_id: 26 characters */
	in[1] = 40;
	assert_int_equal(pb_unpack(in, sizeof(in), CHUNK, &out), ERR_FORMAT);
	in[1] = 26;
	assert_int_equal(pb_unpack(in, 28, CHUNK, &out), 0);
	assert_int_equal(strlen(out.stream_id), 26);
}

static void
test_unknown_fields_are_skipped(void **state)
{
	uint8_t in[3 + 100 + 2] = {0xfa, 0x07, 100}; /* field 127, 100 bytes */
	mesh_v1_Chunk out = {0};

	(void)state;
	in[103] = 0x10; /* seq */
	in[104] = 42;
	assert_int_equal(pb_unpack(in, sizeof(in), CHUNK, &out), 0);
	assert_int_equal(out.seq, 42);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_empty_message),
	    cmocka_unit_test(test_pack_limit_leaves_the_buffer_as_it_was),
	    cmocka_unit_test(test_pack_out_of_memory),
	    cmocka_unit_test(test_pack_callback_refuses),
	    cmocka_unit_test(test_slice_borrows_from_the_input),
	    cmocka_unit_test(test_slice_absent_empty_and_repeated),
	    cmocka_unit_test(test_scalar_in_a_bytes_field_is_refused),
	    cmocka_unit_test(test_lists),
	    cmocka_unit_test(test_bad_input),
	    cmocka_unit_test(test_string_too_long),
	    cmocka_unit_test(test_unknown_fields_are_skipped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
