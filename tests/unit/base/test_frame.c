/* The hop header: vectors of mesh-wire(7), every reason to reject, and random bytes. */
#include "tests/unit/unit.h"

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

/* A data frame with two nodes to visit, an end-to-end header "e2e" and the payload "payload". */
static const uint8_t vector[] = {
    0x01, 0x13, 0x03, 0x01, 0x18, 0x02, 0x02, 0x00,   /* version ... reserved */
    0x01, 0x02, 0x00, 0x03, 0x00, 0x00, 0x00, 0x07,   /* lane, lengths */
    0xca, 0xfe, 0xf0, 0x0d, 0xbe, 0xef, 0x00, 0x07,   /* path, flow */
    0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,   /* source */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0b,   /* next node */
    0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0c,   /* destination */
    'e', '2', 'e', 'p', 'a', 'y', 'l', 'o', 'a', 'd', /* opaque */
};

static struct frame
sample(void)
{
	return (struct frame){
	    .type = FRAME_DATA,
	    .class = FRAME_CLASS_CLIENT,
	    .flags = FRAME_FLAG_MARKED,
	    .ttl = FRAME_TTL_DEFAULT,
	    .hop_count = 2,
	    .visit_count = 2,
	    .lane_id = 0x0102,
	    .path_id = 0xcafef00d,
	    .flow = 0xbeef0007,
	    .src = 0x1122334455667788,
	    .visit = {0xb, 0x800000000000000c},
	    .e2e = (const uint8_t *)"e2e",
	    .payload = (const uint8_t *)"payload",
	    .e2e_len = 3,
	    .payload_len = 7,
	};
}

static void
assert_frame_equal(const struct frame *a, const struct frame *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->class, b->class);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->ttl, b->ttl);
	assert_int_equal(a->hop_count, b->hop_count);
	assert_int_equal(a->visit_count, b->visit_count);
	assert_int_equal(a->lane_id, b->lane_id);
	assert_int_equal(a->path_id, b->path_id);
	assert_int_equal(a->flow, b->flow);
	assert_true(a->src == b->src);
	for (unsigned i = 0; i < a->visit_count; i++)
		assert_true(a->visit[i] == b->visit[i]);
	assert_int_equal(a->e2e_len, b->e2e_len);
	assert_int_equal(a->payload_len, b->payload_len);
	assert_memory_equal(a->e2e, b->e2e, a->e2e_len);
	assert_memory_equal(a->payload, b->payload, a->payload_len);
}

static void
test_encode_vector(void **state)
{
	struct frame f = sample();
	struct buf b;

	(void)state;
	buf_init(&b, FRAME_MAX_BYTES);
	assert_int_equal(frame_size(&f), sizeof(vector));
	assert_int_equal(frame_encode(&f, &b), 0);
	assert_int_equal(buf_left(&b), sizeof(vector));
	assert_memory_equal(buf_head(&b), vector, sizeof(vector));
	assert_true(frame_dst(&f) == 0x800000000000000c);
	buf_fini(&b);
}

static void
test_decode_vector(void **state)
{
	struct frame want = sample(), f;
	struct buf b;

	(void)state;
	buf_view(&b, vector, sizeof(vector));
	assert_int_equal(frame_decode(&b, &f), 0);
	assert_int_equal(buf_end(&b), 0);
	assert_frame_equal(&f, &want);
	assert_ptr_equal(f.e2e, vector + 48);
	assert_ptr_equal(f.payload, vector + 51);
}

static void
test_decode_short_at_every_length(void **state)
{
	struct frame f;
	struct buf b;

	(void)state;
	for (size_t len = 0; len < sizeof(vector); len++) {
		buf_view(&b, vector, len);
		assert_int_equal(frame_decode(&b, &f), ERR_SHORT);
		assert_int_equal(buf_left(&b), len);
	}
}

/* One byte of the vector changed, and what decoding must say. */
static void
test_decode_rejects(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		int err;
	} rows[] = {
	    {0, 0, ERR_VERSION}, {0, 2, ERR_VERSION}, {1, 0, ERR_UNKNOWN}, {1, 9, ERR_UNKNOWN},
	    {1, 18, ERR_UNKNOWN}, {1, 255, ERR_UNKNOWN},
	    {1, FRAME_HEARTBEAT, ERR_FORMAT}, /* link-local with nodes to visit */
	    {2, FRAME_CLASS_COUNT, ERR_FORMAT}, {3, 0x08, ERR_FORMAT}, {3, 0x81, ERR_FORMAT},
	    {6, FRAME_VISIT_MAX + 1, ERR_LIMIT}, {6, 255, ERR_LIMIT}, {6, 3, ERR_SHORT}, {7, 1, ERR_FORMAT},
	    {10, 3, ERR_LIMIT},                           /* e2e_len 0x303 */
	    {10, 2, ERR_LIMIT},                           /* e2e_len 0x203 = 515 */
	    {12, 0x80, ERR_LIMIT}, {14, 0x3c, ERR_LIMIT}, /* payload_len 15367 */
	    {14, 0x3b, ERR_SHORT}, {39, 0, ERR_FORMAT},   /* visit[0] is 0 */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint8_t bytes[sizeof(vector)];
		struct frame f;
		struct buf b;

		memcpy(bytes, vector, sizeof(bytes));
		bytes[rows[i].at] = rows[i].value;
		buf_view(&b, bytes, sizeof(bytes));
		assert_int_equal(frame_decode(&b, &f), rows[i].err);
		assert_int_equal(buf_left(&b), sizeof(bytes));
	}
}

static void
test_decode_rejects_source_zero(void **state)
{
	uint8_t bytes[sizeof(vector)];
	struct frame f;
	struct buf b;

	(void)state;
	memcpy(bytes, vector, sizeof(bytes));
	memset(bytes + 24, 0, 8);
	buf_view(&b, bytes, sizeof(bytes));
	assert_int_equal(frame_decode(&b, &f), ERR_FORMAT);
}

static void
test_encode_refuses_what_decode_would(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 65536);
#define REFUSED(change)                                                                                      \
	do {                                                                                                 \
		struct frame f = sample();                                                                   \
		change;                                                                                      \
		assert_int_equal(frame_encode(&f, &b), ERR_RANGE);                                           \
		assert_int_equal(buf_left(&b), 0);                                                           \
	} while (0)
	REFUSED(f.type = 0);
	REFUSED(f.type = FRAME_HELLO);
	REFUSED(f.class = FRAME_CLASS_COUNT);
	REFUSED(f.flags = 0x10);
	REFUSED(f.src = 0);
	REFUSED(f.visit[1] = 0);
	REFUSED(f.visit_count = FRAME_VISIT_MAX + 1);
	REFUSED(f.e2e_len = FRAME_E2E_MAX_BYTES + 1);
	REFUSED(f.payload_len = FRAME_PAYLOAD_MAX_BYTES + 1);
#undef REFUSED
	buf_fini(&b);
}

static void
test_largest_frame_fits_a_message(void **state)
{
	static uint8_t payload[FRAME_PAYLOAD_MAX_BYTES], e2e[FRAME_E2E_MAX_BYTES];
	struct frame f = sample(), back;
	struct buf b;

	(void)state;
	f.visit_count = FRAME_VISIT_MAX;
	for (unsigned i = 0; i < FRAME_VISIT_MAX; i++)
		f.visit[i] = i + 1;
	f.e2e = e2e;
	f.e2e_len = sizeof(e2e);
	f.payload = payload;
	f.payload_len = sizeof(payload);
	buf_init(&b, FRAME_MAX_BYTES);
	assert_int_equal(frame_encode(&f, &b), 0);
	assert_int_equal(buf_left(&b), FRAME_MAX_BYTES);
	assert_true(FRAME_MAX_BYTES <= FRAME_MESSAGE_MAX_BYTES);
	assert_int_equal(frame_decode(&b, &back), 0);
	assert_int_equal(buf_end(&b), 0);
	assert_frame_equal(&f, &back);
	buf_fini(&b);
	buf_init(&b, FRAME_MAX_BYTES - 1);
	assert_int_equal(frame_encode(&f, &b), ERR_LIMIT);
	buf_fini(&b);
}

static struct frame
random_frame(struct rng *r, const uint8_t *bytes)
{
	static const uint8_t types[] = {
#define X(name, value, text) FRAME_##name,
	    FRAME_TYPE_LIST(X)
#undef X
	};
	struct frame f = {0};

	f.type = types[rng_below(r, COUNT(types))];
	f.class = (uint8_t)rng_below(r, FRAME_CLASS_COUNT);
	f.flags = (uint8_t)rng_below(r, FRAME_FLAG_KNOWN + 1);
	f.ttl = (uint8_t)rng_u64(r);
	f.hop_count = (uint8_t)rng_u64(r);
	f.visit_count = frame_is_link_local(f.type) ? 0 : (uint8_t)rng_below(r, FRAME_VISIT_MAX + 1);
	f.lane_id = (uint16_t)rng_u64(r);
	f.path_id = (uint32_t)rng_u64(r);
	f.src = rng_u64(r) | 1;
	for (unsigned i = 0; i < f.visit_count; i++)
		f.visit[i] = rng_u64(r) | 1;
	f.e2e = f.payload = bytes;
	f.e2e_len = (uint16_t)rng_below(r, FRAME_E2E_MAX_BYTES + 1);
	f.payload_len = (uint32_t)rng_below(r, FRAME_PAYLOAD_MAX_BYTES + 1);
	return f;
}

/* Several frames in one message, as on a link: each comes out as it went in. */
static void
test_random_round_trips(void **state)
{
	static uint8_t bytes[FRAME_PAYLOAD_MAX_BYTES];
	struct frame in[8], out;
	struct rng r;
	struct buf b;

	(void)state;
	rng_seed(&r, 2024);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)rng_u64(&r);
	buf_init(&b, COUNT(in) * FRAME_MAX_BYTES);
	for (int round = 0; round < 200; round++) {
		size_t count = 1 + rng_below(&r, COUNT(in));

		for (size_t i = 0; i < count; i++) {
			in[i] = random_frame(&r, bytes);
			assert_int_equal(frame_encode(&in[i], &b), 0);
		}
		for (size_t i = 0; i < count; i++) {
			assert_int_equal(frame_decode(&b, &out), 0);
			assert_frame_equal(&in[i], &out);
		}
		assert_int_equal(buf_end(&b), 0);
		buf_reset(&b);
	}
	buf_fini(&b);
}

/* Damaged frames: an error that consumes nothing, or a frame that encodes to the same bytes. */
static void
test_damage_is_rejected_or_exact(void **state)
{
	struct rng r;

	(void)state;
	rng_seed(&r, 31);
	for (int i = 0; i < 200000; i++) {
		uint8_t bytes[sizeof(vector)];
		struct buf b, again;
		struct frame f;

		memcpy(bytes, vector, sizeof(bytes));
		for (uint64_t n = 1 + rng_below(&r, 3); n > 0; n--)
			bytes[rng_below(&r, 48)] = (uint8_t)rng_u64(&r);
		buf_view(&b, bytes, sizeof(bytes));
		if (frame_decode(&b, &f) != 0) {
			assert_int_equal(buf_left(&b), sizeof(bytes));
			continue;
		}
		buf_init(&again, FRAME_MAX_BYTES);
		assert_int_equal(frame_encode(&f, &again), 0);
		assert_int_equal(buf_left(&again) + buf_left(&b), sizeof(bytes));
		assert_memory_equal(buf_head(&again), bytes, buf_left(&again));
		buf_fini(&again);
	}
}

static void
test_failing_memory(void **state)
{
	struct frame f = sample();
	struct buf b;

	(void)state;
	buf_init(&b, FRAME_MAX_BYTES);
	mem_fail_at(1);
	assert_int_equal(frame_encode(&f, &b), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(buf_left(&b), 0);
	assert_int_equal(frame_encode(&f, &b), 0);
	buf_fini(&b);
}

static void
test_names(void **state)
{
	struct frame f = {0};

	(void)state;
	assert_string_equal(frame_type_name(FRAME_DATA_ACK), "data-ack");
	assert_string_equal(frame_type_name(18), "?");
	assert_string_equal(frame_class_name(FRAME_CLASS_DB), "db");
	assert_string_equal(frame_class_name(200), "?");
	assert_true(frame_is_link_local(FRAME_GOAWAY));
	assert_false(frame_is_link_local(FRAME_LINK_STATE));
	assert_true(frame_dst(&f) == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_encode_vector),
	    cmocka_unit_test(test_decode_vector),
	    cmocka_unit_test(test_decode_short_at_every_length),
	    cmocka_unit_test(test_decode_rejects),
	    cmocka_unit_test(test_decode_rejects_source_zero),
	    cmocka_unit_test(test_encode_refuses_what_decode_would),
	    cmocka_unit_test(test_largest_frame_fits_a_message),
	    cmocka_unit_test(test_random_round_trips),
	    cmocka_unit_test(test_damage_is_rejected_or_exact),
	    cmocka_unit_test(test_failing_memory),
	    cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
