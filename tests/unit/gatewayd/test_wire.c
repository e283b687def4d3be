/* Protobuf's wire format by hand: what nanopb writes is read, what is written nanopb reads. */
#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "gatewayd/core/wire.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

static void
test_reads_what_nanopb_writes(void **state)
{
	mesh_v1_NodeInfo n = mesh_v1_NodeInfo_init_zero;
	const uint8_t *p;
	uint64_t v;
	struct buf b;
	size_t len;

	(void)state;
	strcpy(n.node_id, "0123456789ABC");
	n.incarnation = UINT64_MAX;
	n.port = -1;
	n.hops = 3;
	buf_init(&b, 1000);
	assert_int_equal(pb_pack(&b, mesh_v1_NodeInfo_fields, &n), 0);
	assert_int_equal(
	    wire_find_bytes(buf_head(&b), buf_left(&b), mesh_v1_NodeInfo_node_id_tag, &p, &len), 1);
	assert_int_equal(len, 13);
	assert_memory_equal(p, "0123456789ABC", 13);
	assert_int_equal(
	    wire_find_varint(buf_head(&b), buf_left(&b), mesh_v1_NodeInfo_incarnation_tag, &v), 1);
	assert_true(v == UINT64_MAX);
	assert_int_equal(wire_find_varint(buf_head(&b), buf_left(&b), mesh_v1_NodeInfo_port_tag, &v), 1);
	assert_true((int64_t)v == -1);
	assert_int_equal(wire_find_varint(buf_head(&b), buf_left(&b), mesh_v1_NodeInfo_lsa_seq_tag, &v), 0);
	assert_int_equal(
	    wire_find_bytes(buf_head(&b), buf_left(&b), mesh_v1_NodeInfo_status_tag, &p, &len), 0);
	buf_fini(&b);
}

static void
test_nanopb_reads_what_is_written(void **state)
{
	mesh_v1_DaemonStatus d = mesh_v1_DaemonStatus_init_zero;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(wire_put_str(&b, mesh_v1_DaemonStatus_name_tag, "routerd"), 0);
	assert_int_equal(wire_put_str(&b, mesh_v1_DaemonStatus_state_tag, ""), 0);
	assert_int_equal(wire_put_varint(&b, mesh_v1_DaemonStatus_pid_tag, 123456), 0);
	assert_int_equal(wire_put_varint(&b, mesh_v1_DaemonStatus_uptime_ms_tag, 0), 0);
	assert_int_equal(pb_unpack(buf_head(&b), buf_left(&b), mesh_v1_DaemonStatus_fields, &d), 0);
	assert_string_equal(d.name, "routerd");
	assert_int_equal(d.pid, 123456);
	assert_int_equal(d.uptime_ms, 0);
	buf_fini(&b);
}

static void
test_last_one_wins(void **state)
{
	static const uint8_t raw[] = {0x08, 1, 0x12, 1, 'a', 0x08, 2, 0x12, 2, 'b', 'c'};
	const uint8_t *p;
	uint64_t v;
	size_t len;

	(void)state;
	assert_int_equal(wire_find_varint(raw, sizeof(raw), 1, &v), 1);
	assert_int_equal(v, 2);
	assert_int_equal(wire_find_bytes(raw, sizeof(raw), 2, &p, &len), 1);
	assert_int_equal(len, 2);
}

static void
test_bad_input(void **state)
{
	static const struct {
		uint8_t raw[16];
		size_t len;
	} rows[] = {
	    {{0x08}, 1},                                                                 /* no value */
	    {{0x80}, 1},                                                                 /* half a tag */
	    {{0x00, 1}, 2},                                                              /* field 0 */
	    {{0x0B}, 1},                                                                 /* a group */
	    {{0x0C}, 1},                                                                 /* its end */
	    {{0x0F, 1}, 2},                                                              /* type 7 */
	    {{0x0A, 2, 1}, 3},                                                           /* too short */
	    {{0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}, 11},       /* huge */
	    {{0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2}, 11},       /* 65 bits */
	    {{0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}, 12}, /* 11 bytes */
	    {{0x0D, 1, 2, 3}, 4},                                                        /* fixed32 */
	    {{0x09, 1, 2, 3, 4, 5, 6, 7}, 8},                                            /* fixed64 */
	    {{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}, 6}, /* tag over 32 bits */
	};
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(wire_find_varint(rows[i].raw, rows[i].len, 15, &v), ERR_FORMAT);
}

static void
test_fixed_fields(void **state)
{
	static const uint8_t raw[] = {0x0D, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8};
	struct wire_field f;
	struct buf b;

	(void)state;
	buf_view(&b, raw, sizeof(raw));
	assert_int_equal(wire_next(&b, &f), 1);
	assert_true(f.number == 1 && f.type == WIRE_I32 && f.value == 0x04030201);
	assert_int_equal(wire_next(&b, &f), 1);
	assert_true(f.number == 2 && f.type == WIRE_I64 && f.value == 0x0807060504030201);
	assert_int_equal(wire_next(&b, &f), 0);
}

static void
test_limits(void **state)
{
	uint8_t mem[4];
	struct buf b;

	(void)state;
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(wire_put_bytes(&b, 1, "abc", 3), ERR_LIMIT);
	buf_reset(&b);
	assert_int_equal(wire_put_bytes(&b, 1, "ab", 2), 0);
	assert_int_equal(wire_put_varint(&b, 1, 1), ERR_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_reads_what_nanopb_writes),
	    cmocka_unit_test(test_nanopb_reads_what_is_written),
	    cmocka_unit_test(test_last_one_wins),
	    cmocka_unit_test(test_bad_input),
	    cmocka_unit_test(test_fixed_fields),
	    cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
