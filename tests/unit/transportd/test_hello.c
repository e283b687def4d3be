#include "transportd/core/hello.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "tests/unit/unit.h"
#include "transportd/core/goaway.h"
#include "transportd/core/limits.h"

static struct hello
sample(void)
{
	struct hello h = {.node_id = 0x0102030405060708ULL,
	    .incarnation = 42,
	    .name = "node-a",
	    .lane = LANE_BULK,
	    .lanes_max = 6,
	    .window_bytes = 4 << 20,
	    .window_frames = 65536};

	for (unsigned i = 0; i < sizeof(h.public_key); i++) {
		h.public_key[i] = (uint8_t)i;
		h.nonce[i] = (uint8_t)(0xff - i);
	}
	memset(h.mesh_id.b, 7, ULID_BYTES);
	memset(h.local, 8, sizeof(h.local));
	memset(h.remote, 9, sizeof(h.remote));
	return h;
}

static size_t
encode(const struct hello *h, uint8_t *mem, size_t size)
{
	struct buf b;

	buf_init_fixed(&b, mem, size);
	assert_int_equal(hello_encode(h, &b), 0);
	return buf_left(&b);
}

static void
round_trip(void **state)
{
	struct hello h = sample(), got;
	uint8_t mem[HELLO_MAX_BYTES];
	size_t len = encode(&h, mem, sizeof(mem));

	(void)state;
	assert_int_equal(len, 1 + 16 + 8 + 32 + 32 + 8 + 1 + 6 + 2 + 1 + 4 + 4 + 18 + 18);
	assert_int_equal(hello_decode(mem, len, &got), 0);
	assert_memory_equal(&got.mesh_id, &h.mesh_id, sizeof(h.mesh_id));
	assert_int_equal(got.node_id, h.node_id);
	assert_memory_equal(got.public_key, h.public_key, sizeof(h.public_key));
	assert_memory_equal(got.nonce, h.nonce, sizeof(h.nonce));
	assert_int_equal(got.incarnation, 42);
	assert_string_equal(got.name, "node-a");
	assert_int_equal(got.lane, LANE_BULK);
	assert_int_equal(got.lanes_max, 6);
	assert_int_equal(got.window_bytes, 4 << 20);
	assert_int_equal(got.window_frames, 65536);
	assert_memory_equal(got.local, h.local, sizeof(h.local));
	assert_memory_equal(got.remote, h.remote, sizeof(h.remote));
}

static void
every_prefix_is_short(void **state)
{
	struct hello h = sample(), got;
	uint8_t mem[HELLO_MAX_BYTES];
	size_t len = encode(&h, mem, sizeof(mem));

	(void)state;
	for (size_t n = 0; n < len; n++)
		assert_int_equal(hello_decode(mem, n, &got), ERR_SHORT);
}

static void
extensions_are_skipped(void **state)
{
	struct hello h = sample(), got;
	uint8_t mem[HELLO_MAX_BYTES + 64] = {0};
	size_t len = encode(&h, mem, HELLO_MAX_BYTES);
	const uint8_t ext[] = {0, 9, 0, 2, 'x', 'y'};

	(void)state;
	memcpy(mem + len, ext, sizeof(ext));
	assert_int_equal(hello_decode(mem, len + sizeof(ext), &got), 0);
	assert_int_equal(hello_decode(mem, len + sizeof(ext) - 1, &got), ERR_SHORT);
	assert_int_equal(hello_decode(mem, len + 3, &got), ERR_SHORT);
	/* Empty ones: {0, 0} many times. */
	memset(mem + len, 0, (HELLO_TLV_MAX + 1) * 4);
	assert_int_equal(hello_decode(mem, len + HELLO_TLV_MAX * 4, &got), 0);
	assert_int_equal(hello_decode(mem, len + (HELLO_TLV_MAX + 1) * 4, &got), ERR_LIMIT);
	assert_int_equal(hello_decode(mem, HELLO_MAX_BYTES + 1, &got), ERR_LIMIT);
}

static void
bad_fields(void **state)
{
	struct hello h = sample(), got;
	uint8_t mem[HELLO_MAX_BYTES];
	size_t len = encode(&h, mem, sizeof(mem));

	(void)state;
	mem[0] = HELLO_VERSION + 1;
	assert_int_equal(hello_decode(mem, len, &got), ERR_VERSION);
	h.node_id = 0;
	len = encode(&h, mem, sizeof(mem));
	assert_int_equal(hello_decode(mem, len, &got), ERR_FORMAT);
	h = sample();
	strcpy(h.name, "a b");
	len = encode(&h, mem, sizeof(mem));
	assert_int_equal(hello_decode(mem, len, &got), ERR_FORMAT);
	strcpy(h.name, "");
	len = encode(&h, mem, sizeof(mem));
	assert_int_equal(hello_decode(mem, len, &got), ERR_FORMAT);
}

static void
no_room(void **state)
{
	struct hello h = sample();
	uint8_t mem[64];

	(void)state;
	for (size_t n = 0; n < sizeof(mem); n++) {
		struct buf b;

		buf_init_fixed(&b, mem, n);
		assert_int_equal(hello_encode(&h, &b), ERR_LIMIT);
	}
}

static void
statement_binds_everything(void **state)
{
	struct hello_proof p = {.role = HELLO_DIALLER};
	uint8_t a[HELLO_STATEMENT_BYTES], b[HELLO_STATEMENT_BYTES];

	(void)state;
	memset(p.mesh_id.b, 1, sizeof(p.mesh_id.b));
	memset(p.own_hash, 2, sizeof(p.own_hash));
	memset(p.peer_hash, 3, sizeof(p.peer_hash));
	memset(p.exporter, 4, sizeof(p.exporter));
	hello_statement(&p, a);
	assert_int_equal(a[0], 'D');
	assert_int_equal(a[1], 1);
	assert_int_equal(a[17], 2);
	assert_int_equal(a[49], 3);
	assert_int_equal(a[81], 4);
	assert_int_equal(sizeof(a), 113);
	p.role = HELLO_LISTENER;
	hello_statement(&p, b);
	assert_memory_not_equal(a, b, sizeof(a));
}

static void
goaway_round_trip(void **state)
{
	char reason[GOAWAY_REASON_SIZE];
	uint8_t mem[300];
	uint16_t code;
	struct buf b;

	(void)state;
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(goaway_encode(GOAWAY_LIMIT, "no room", &b), 0);
	assert_int_equal(goaway_decode(mem, buf_left(&b), &code, reason), 0);
	assert_int_equal(code, GOAWAY_LIMIT);
	assert_string_equal(reason, "no room");
	for (size_t n = 0; n < buf_left(&b); n++)
		assert_int_equal(goaway_decode(mem, n, &code, reason), ERR_SHORT);
	mem[buf_left(&b)] = 0;
	assert_int_equal(goaway_decode(mem, buf_left(&b) + 1, &code, reason), ERR_LEFTOVER);
	for (uint16_t i = 1; i < GOAWAY_CODE_COUNT; i++)
		assert_string_not_equal(goaway_label(i), "other");
	assert_string_equal(goaway_label(999), "other");
	assert_non_null(goaway_text(999));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(round_trip),
	    cmocka_unit_test(every_prefix_is_short),
	    cmocka_unit_test(extensions_are_skipped),
	    cmocka_unit_test(bad_fields),
	    cmocka_unit_test(no_room),
	    cmocka_unit_test(statement_binds_everything),
	    cmocka_unit_test(goaway_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
