/* The payload of LINK_STATE frames. */
#include "tests/unit/routerd/make.h"

#include "common/base/err.h"
#include "common/base/rng.h"
#include "routerd/core/linkstate.h"

static struct {
	unsigned count;
	size_t len[64];
	uint8_t data[64][FRAME_PAYLOAD_MAX_BYTES];
} sent;
static struct linkstate_writer writer;

static void
emit(void *arg, const uint8_t *payload, size_t len)
{
	(void)arg;
	assert_true(sent.count < 64 && len <= FRAME_PAYLOAD_MAX_BYTES);
	memcpy(sent.data[sent.count], payload, len);
	sent.len[sent.count++] = len;
}

static int
setup(void **state)
{
	(void)state;
	sent.count = 0;
	linkstate_writer_init(&writer, emit, NULL);
	return 0;
}

static void
test_messages_share_a_payload(void **state)
{
	const struct linkstate_ask ask = {1, 2, 3, 4};
	const struct lsa_id need[] = {{7, 1, 1}, {8, 1, 1}};
	uint8_t ids[2 * LINKSTATE_ID_BYTES];
	struct linkstate_msg m;
	struct lsa_id id;
	struct buf in;

	(void)state;
	linkstate_put_id(ids, &(struct lsa_id){5, 6, 7});
	linkstate_put_id(ids + LINKSTATE_ID_BYTES, &(struct lsa_id){8, 9, 10});
	linkstate_write_ack(&writer, ids, 2);
	linkstate_write_ask(&writer, &ask);
	linkstate_write_digest(&writer, 0, 1, 100, ids, 2);
	linkstate_write_request(&writer, need, 2);
	linkstate_write_update(&writer, 1234, (const uint8_t *)"LSA", 3);
	linkstate_flush(&writer);
	linkstate_flush(&writer);
	assert_int_equal(sent.count, 1);

	buf_view(&in, sent.data[0], sent.len[0]);
	assert_int_equal(linkstate_open(&in), 0);
	assert_int_equal(linkstate_next(&in, &m), 1);
	assert_int_equal(m.kind, LINKSTATE_ACK);
	assert_int_equal(m.count, 2);
	linkstate_id(&m, 1, &id);
	assert_true(id.node == 8 && id.incarnation == 9 && id.seq == 10);
	assert_int_equal(linkstate_next(&in, &m), 1);
	assert_int_equal(m.kind, LINKSTATE_ASK);
	assert_true(m.ask.flags == 1 && m.ask.first == 2 && m.ask.count == 3 && m.ask.sum == 4);
	assert_int_equal(linkstate_next(&in, &m), 1);
	assert_int_equal(m.kind, LINKSTATE_DIGEST);
	assert_true(m.first == 1 && m.last == 100 && m.count == 2);
	assert_int_equal(linkstate_next(&in, &m), 1);
	assert_int_equal(m.kind, LINKSTATE_REQUEST);
	assert_true(m.count == 2 && linkstate_node(&m, 1) == 8);
	assert_int_equal(linkstate_next(&in, &m), 1);
	assert_int_equal(m.kind, LINKSTATE_UPDATE);
	assert_int_equal(m.age_ms, 1234);
	assert_memory_equal(m.data, "LSA", 3);
	assert_int_equal(linkstate_next(&in, &m), 0);
}

static void
test_full_payload_is_handed_on(void **state)
{
	static uint8_t lsa[LSA_MAX_BYTES];
	struct linkstate_msg m;
	unsigned count = 0;
	struct buf in;

	(void)state;
	linkstate_write_update(&writer, 0, lsa, sizeof(lsa));
	assert_int_equal(sent.count, 0);
	linkstate_write_update(&writer, 0, lsa, sizeof(lsa));
	assert_int_equal(sent.count, 1);
	for (int i = 0; i < 100; i++)
		linkstate_write_update(&writer, 0, lsa, 300);
	linkstate_flush(&writer);
	assert_int_equal(writer.frames, sent.count);
	for (unsigned i = 0; i < sent.count; i++) {
		buf_view(&in, sent.data[i], sent.len[i]);
		assert_int_equal(linkstate_open(&in), 0);
		while (linkstate_next(&in, &m) == 1)
			count++;
		assert_int_equal(buf_end(&in), 0);
	}
	assert_int_equal(count, 102);
}

static void
test_many_acks(void **state)
{
	static uint8_t ids[ACKS_MAX * LINKSTATE_ID_BYTES];
	struct linkstate_msg m;
	size_t count = 0;
	struct buf in;

	(void)state;
	linkstate_write_ack(&writer, ids, ACKS_MAX);
	linkstate_flush(&writer);
	for (unsigned i = 0; i < sent.count; i++) {
		buf_view(&in, sent.data[i], sent.len[i]);
		assert_int_equal(linkstate_open(&in), 0);
		while (linkstate_next(&in, &m) == 1)
			count += m.count;
	}
	assert_int_equal(count, ACKS_MAX);
}

static int
parse(const void *data, size_t len)
{
	struct linkstate_msg m;
	struct buf in;
	int more;

	buf_view(&in, data, len);
	if ((more = linkstate_open(&in)) != 0)
		return more;
	while ((more = linkstate_next(&in, &m)) > 0)
		continue;
	return more;
}

static void
test_bad_payloads(void **state)
{
	uint8_t digest[1 + 3 + 17 + 2 * LINKSTATE_ID_BYTES] = {
	    1, LINKSTATE_DIGEST, 0, 17 + 2 * LINKSTATE_ID_BYTES};

	(void)state;
	assert_int_equal(parse("", 0), ERR_SHORT);
	assert_int_equal(parse("\x02", 1), ERR_VERSION);
	assert_int_equal(parse("\x01", 1), 0);
	assert_int_equal(parse("\x01\x01\x00", 3), ERR_SHORT);
	assert_int_equal(parse("\x01\x01\x00\x05\x00", 5), ERR_SHORT);
	assert_int_equal(parse("\x01\x01\x00\x02\x00\x00", 6), ERR_SHORT); /* update without age */
	assert_int_equal(parse("\x01\x02\x00\x01\x00", 5), ERR_FORMAT);    /* part of an id */
	assert_int_equal(parse("\x01\x05\x00\x07\x00\x00\x00\x00\x00\x00\x00", 11), ERR_FORMAT);
	assert_int_equal(parse("\x01\x63\x00\x02\x00\x00", 6), 0); /* unknown kind */
	/* A digest out of order, then out of its range. */
	be_store64(digest + 5, 10);
	be_store64(digest + 13, 20);
	be_store64(digest + 21, 12);
	be_store64(digest + 45, 12);
	assert_int_equal(parse(digest, sizeof(digest)), ERR_FORMAT);
	be_store64(digest + 45, 13);
	assert_int_equal(parse(digest, sizeof(digest)), 0);
	be_store64(digest + 45, 21);
	assert_int_equal(parse(digest, sizeof(digest)), ERR_FORMAT);
	be_store64(digest + 45, 13);
	be_store64(digest + 21, 9);
	assert_int_equal(parse(digest, sizeof(digest)), ERR_FORMAT);
	be_store64(digest + 21, 12);
	be_store64(digest + 13, 9);
	assert_int_equal(parse(digest, sizeof(digest)), ERR_FORMAT);
}

static void
test_random_bytes(void **state)
{
	uint8_t junk[256];
	struct rng rng;

	(void)state;
	rng_seed(&rng, 3);
	for (int i = 0; i < 20000; i++) {
		size_t len = rng_below(&rng, sizeof(junk));

		for (size_t k = 0; k < len; k++)
			junk[k] = (uint8_t)rng_below(&rng, 8);
		junk[0] = LINKSTATE_VERSION;
		parse(junk, len);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_messages_share_a_payload, setup),
	    cmocka_unit_test_setup(test_full_payload_is_handed_on, setup),
	    cmocka_unit_test_setup(test_many_acks, setup),
	    cmocka_unit_test_setup(test_bad_payloads, setup),
	    cmocka_unit_test_setup(test_random_bytes, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
