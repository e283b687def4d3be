/* Frames of batches, acks and stream messages: round trips, and every reason to refuse one. */
#include "tests/unit/unit.h"

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "consensusd/core/batch.h"
#include "consensusd/e2e.h"

enum {
	SOURCE = 0x1111,
	DESTINATION = 0x2222,
	PAYLOAD = 20000,
	BODY = 2 * (BATCH_RECORD_HDR_BYTES + PAYLOAD)
};

static const struct e2e_way way = {
    .tenant = "acme", .source = SOURCE, .destination = DESTINATION, .flow = 0x12345678};

static struct batch *
sample(void)
{
	struct batch *b = batch_new(BODY);

	assert_non_null(b);
	memset(b->stream_id.b, 0x51, ULID_BYTES);
	b->first_seq = 77;
	b->count = 2;
	b->epoch = 4;
	memset(b->key_id, 1, sizeof(b->key_id));
	memset(b->nonce, 2, sizeof(b->nonce));
	memset(b->signature, 3, sizeof(b->signature));
	for (size_t at = 0; at < BODY; at += BODY / 2) {
		memset(b->body + at, 0x60, ULID_BYTES);
		be_store32(b->body + at + 16, PAYLOAD);
		memset(b->body + at + 20, (int)at, PAYLOAD);
	}
	assert_int_equal(batch_check(b), 0);
	return b;
}

/* Encodes h, decodes the frame, and gives what e2e_get() says; change: made to the frame before. */
static int
pass(const mesh_e2e_Header *h, const void *payload, size_t len, void (*change)(struct frame *f))
{
	static uint8_t mem[FRAME_MAX_BYTES];
	mesh_e2e_Header got;
	struct frame f;
	struct buf out;
	int err;

	buf_init_fixed(&out, mem, sizeof(mem));
	err = e2e_put_frame(&out, h, payload, len);
	if (err != 0)
		return err;
	assert_int_equal(frame_decode(&out, &f), 0);
	assert_int_equal(buf_end(&out), 0);
	if (change != NULL)
		change(&f);
	return e2e_get(&f, &got);
}

static mesh_e2e_Header
ack(void)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	h.msg_type = mesh_e2e_MsgType_MSG_ACK;
	h.stream_id.size = ULID_BYTES;
	h.source = SOURCE;
	h.destination = DESTINATION;
	h.stored = 10;
	h.ack = 5;
	h.window_bytes = 1 << 20;
	h.ranges_count = 4;
	h.ranges[0] = 12;
	h.ranges[1] = 12;
	h.ranges[2] = 20;
	h.ranges[3] = 30;
	return h;
}

static void
test_fragments_make_the_batch_again(void **state)
{
	static uint8_t mem[4 * FRAME_MAX_BYTES], body[BODY];
	struct batch *b = sample();
	uint32_t count = e2e_fragment_count(b);
	struct buf out;
	size_t at = 0;

	(void)state;
	assert_int_equal(count, 3);
	buf_init_fixed(&out, mem, sizeof(mem));
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(e2e_put_fragment(&out, b, &way, i), 0);
	for (uint32_t i = 0; i < count; i++) {
		mesh_e2e_Header h;
		struct frame f;

		assert_int_equal(frame_decode(&out, &f), 0);
		assert_int_equal(f.type, FRAME_DATA);
		assert_int_equal(f.class, FRAME_CLASS_CLIENT);
		assert_int_equal(f.flow, way.flow);
		assert_int_equal(f.flags, 0);
		assert_int_equal(frame_dst(&f), DESTINATION);
		assert_int_equal(e2e_get(&f, &h), 0);
		assert_int_equal(h.chunk_seq, i);
		assert_int_equal(h.total_chunks, count);
		assert_int_equal(h.batch_bytes, BODY);
		assert_int_equal(h.seq, 77);
		assert_int_equal(h.count, 2);
		assert_int_equal(h.producer_epoch, 4);
		assert_string_equal(h.tenant_id, "acme");
		assert_memory_equal(h.stream_id.bytes, b->stream_id.b, ULID_BYTES);
		assert_memory_equal(h.message_id.bytes, b->body, ULID_BYTES);
		assert_int_equal(h.signature.size, i == 0 ? 64 : 0);
		memcpy(body + at, f.payload, f.payload_len);
		at += f.payload_len;
	}
	assert_int_equal(buf_end(&out), 0);
	assert_int_equal(at, BODY);
	assert_memory_equal(body, b->body, BODY);
	batch_unref(b);
}

static void
test_full_output_is_an_error(void **state)
{
	uint8_t mem[FRAME_MAX_BYTES];
	struct batch *b = sample();
	struct buf out;

	(void)state;
	for (size_t room = 0; room < 300; room += 7) {
		buf_init_fixed(&out, mem, room);
		assert_int_equal(e2e_put_fragment(&out, b, &way, 0), ERR_LIMIT);
		assert_int_equal(buf_left(&out), 0);
	}
	batch_unref(b);
}

/* Acks must not wait behind the data that they make room for. */
static void
test_acks_are_control(void **state)
{
	uint8_t mem[FRAME_MAX_BYTES];
	mesh_e2e_Header h = ack();
	struct frame f;
	struct buf out;

	(void)state;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(e2e_put_frame(&out, &h, NULL, 0), 0);
	assert_int_equal(frame_decode(&out, &f), 0);
	assert_int_equal(f.type, FRAME_DATA_ACK);
	assert_int_equal(f.class, FRAME_CLASS_CONTROL);
}

static void
test_acks_and_stream_messages(void **state)
{
	mesh_e2e_Header h = ack();

	(void)state;
	assert_int_equal(pass(&h, NULL, 0, NULL), 0);
	h.ranges_count = 3;
	assert_int_equal(pass(&h, NULL, 0, NULL), ERR_FORMAT);
	h.ranges_count = 4;
	h.ranges[2] = 12; /* overlaps */
	assert_int_equal(pass(&h, NULL, 0, NULL), ERR_FORMAT);
	h.ranges[2] = 31; /* ends before it begins */
	assert_int_equal(pass(&h, NULL, 0, NULL), ERR_FORMAT);
	h.ranges_count = 0;
	for (uint32_t type = mesh_e2e_MsgType_MSG_OPEN; type <= mesh_e2e_MsgType_MSG_UNKNOWN_STREAM; type++) {
		h.msg_type = type;
		assert_int_equal(pass(&h, "payload", 7, NULL), 0);
	}
	h.msg_type = 0;
	assert_int_equal(pass(&h, NULL, 0, NULL), ERR_UNKNOWN);
	h.msg_type = 1000;
	assert_int_equal(pass(&h, NULL, 0, NULL), ERR_UNKNOWN);
	h.msg_type = mesh_e2e_MsgType_MSG_OPEN;
	h.stream_id.size = 15;
	assert_int_equal(pass(&h, NULL, 0, NULL), ERR_FORMAT);
	h.stream_id.size = ULID_BYTES;
	strcpy(h.tenant_id, "Not Valid");
	assert_int_equal(pass(&h, NULL, 0, NULL), ERR_FORMAT);
}

static void
other_source(struct frame *f)
{
	f->src++;
}

static void
other_type(struct frame *f)
{
	f->type = f->type == FRAME_DATA ? FRAME_STREAM : FRAME_DATA;
}

static void
shorter(struct frame *f)
{
	f->payload_len--;
}

static void
damaged(struct frame *f)
{
	((uint8_t *)(uintptr_t)f->payload)[3] ^= 0x10;
}

static void
header_cut(struct frame *f)
{
	f->e2e_len--;
}

static void
test_frames_are_checked_against_headers(void **state)
{
	mesh_e2e_Header h = ack();

	(void)state;
	assert_int_equal(pass(&h, "payload", 7, NULL), 0);
	assert_int_equal(pass(&h, "payload", 7, other_source), ERR_FORMAT);
	assert_int_equal(pass(&h, "payload", 7, other_type), ERR_FORMAT);
	assert_int_equal(pass(&h, "payload", 7, shorter), ERR_CHECKSUM);
	assert_int_equal(pass(&h, "payload", 7, damaged), ERR_CHECKSUM);
	assert_int_equal(pass(&h, "payload", 7, header_cut), ERR_FORMAT);
	assert_int_equal(pass(&h, NULL, FRAME_PAYLOAD_MAX_BYTES + 1, NULL), ERR_LIMIT);
}

/* A batch of one fragment, whose header is then changed field by field. */
static mesh_e2e_Header
fragment(void)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero;

	h.msg_type = mesh_e2e_MsgType_MSG_BATCH;
	h.stream_id.size = ULID_BYTES;
	strcpy(h.tenant_id, "acme");
	h.seq = 1;
	h.message_id.size = ULID_BYTES;
	h.total_chunks = 1;
	h.key_id.size = 8;
	h.signature.size = 64;
	h.count = 2;
	h.source = SOURCE;
	h.destination = DESTINATION;
	h.batch_bytes = 100;
	h.nonce.size = 24;
	return h;
}

#define REFUSED(change)                                                                                      \
	do {                                                                                                 \
		mesh_e2e_Header h = fragment();                                                              \
		change;                                                                                      \
		assert_int_equal(pass(&h, payload, sizeof(payload), NULL), ERR_FORMAT);                      \
	} while (0)

static void
test_fragments_are_checked(void **state)
{
	static const uint8_t payload[100];
	mesh_e2e_Header good = fragment();

	(void)state;
	assert_int_equal(pass(&good, payload, sizeof(payload), NULL), 0);
	good.destination = 0;
	assert_int_equal(pass(&good, payload, sizeof(payload), NULL), ERR_RANGE);
	REFUSED(h.tenant_id[0] = '\0');
	REFUSED(h.seq = 0);
	REFUSED(h.seq = INT64_MAX);
	REFUSED(h.seq = UINT64_MAX);
	REFUSED(h.message_id.size = 0);
	REFUSED(h.key_id.size = 7);
	REFUSED(h.nonce.size = 23);
	REFUSED(h.signature.size = 0);
	REFUSED(h.signature.size = 63);
	REFUSED(h.count = 0);
	REFUSED(h.count = 6); /* records of 20 bytes in 100 */
	REFUSED(h.count = BATCH_MESSAGES_MAX + 1);
	REFUSED(h.batch_bytes = 99);
	REFUSED(h.batch_bytes = 0);
	REFUSED(h.batch_bytes = BATCH_BODY_MAX_BYTES + 1);
	REFUSED(h.total_chunks = 0);
	REFUSED(h.total_chunks = 2);
	REFUSED(h.chunk_seq = 1);
	REFUSED(h.ranges_count = 2; h.ranges[0] = h.ranges[1] = 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fragments_make_the_batch_again),
	    cmocka_unit_test(test_full_output_is_an_error),
	    cmocka_unit_test(test_acks_are_control),
	    cmocka_unit_test(test_acks_and_stream_messages),
	    cmocka_unit_test(test_frames_are_checked_against_headers),
	    cmocka_unit_test(test_fragments_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
