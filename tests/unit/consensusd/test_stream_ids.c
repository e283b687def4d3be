/* What a stream knows of the ids of its messages. */
#include "tests/unit/consensusd/make_batch.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/idwindow.h"
#include "consensusd/core/pending.h"
#include "consensusd/core/stream.h"

static const struct stream_conf conf = {
    .flow = {.window_bytes = 100000, .rto_min_ms = 100, .rto_max_ms = 1000},
    .batch_messages = 4,
    .batch_bytes = 1000,
    .backlog_bytes = 1000000,
};
static struct budget budget = {.max_bytes = 1 << 24};
static struct pending_pool pool;
static struct idwindows ids;
static struct stream *stream;

static int
publish_id(uint64_t seq, uint64_t id, size_t len, uint64_t *got)
{
	static const uint8_t payload[1];
	const struct publish p = {
	    .seq = seq, .named = id != 0, .message_id = make_id(id), .payload = payload, .payload_len = len};

	return stream_publish(stream, &pool, &ids, &p, got);
}

/* Seals and gives what is pending; true if the batch carries ids by which publishers alone know messages. */
static bool
give(void)
{
	uint32_t count = stream->pending->count;
	bool by_id;

	stream_sealed(stream, &pool, make_batch(stream->next_seq - count, count, 100));
	by_id = stream->sealed->by_id;
	stream_given(stream);
	stream_durable(stream, stream->next_seq - 1);
	return by_id;
}

/* Ids alone are known as long as the window has them, also when nothing else of their messages is here. */
static void
test_ids(void **state)
{
	const uint64_t target = 7;
	struct ulid id = make_id(1);
	uint64_t seq;

	(void)state;
	idwindows_init(&ids, 64, 64, 64, 1);
	stream = stream_new(&id, "t", &target, 1, &conf, &budget);
	assert_non_null(stream);
	stream->state = STREAM_OPEN;
	assert_int_equal(publish_id(0, 501, 1, &seq), PUBLISH_NEW);
	assert_int_equal(publish_id(0, 0, 1, &seq), PUBLISH_NEW);
	assert_int_equal(publish_id(0, 503, 1, &seq), PUBLISH_NEW);
	assert_true(give());
	assert_int_equal(publish_id(4, 504, 1, &seq), PUBLISH_NEW);
	assert_int_equal(publish_id(5, 0, 1, &seq), PUBLISH_NEW);
	assert_false(give());
	/* Those given along with the seq don't push them out, nor do those of others. */
	for (uint64_t i = 6; i <= 200; i++) {
		assert_int_equal(publish_id(i, 1000 + i, 1, &seq), PUBLISH_NEW);
		assert_false(give());
	}
	tail_reset(&stream->tail, stream->next_seq);
	assert_int_equal(publish_id(0, 501, 1, &seq), PUBLISH_KNOWN);
	assert_int_equal(seq, 1);
	assert_int_equal(publish_id(3, 503, 1, &seq), PUBLISH_KNOWN);
	assert_int_equal(publish_id(2, 503, 1, &seq), ERR_EXISTS);
	/* The number is taken by another. */
	assert_int_equal(publish_id(3, 999, 1, &seq), ERR_EXISTS);
	/* Whether this one is, nobody knows any more. */
	assert_int_equal(publish_id(4, 999, 1, &seq), PUBLISH_KNOWN);
	assert_int_equal(stream->ids.count, 2);
	/* As it is loaded in another life. */
	idwindow_fini(&stream->ids);
	id = make_id(501);
	assert_false(stream_find_id(stream, &ids, &id, &seq));
	mem_fail_at(1);
	assert_int_equal(stream_load_id(stream, &ids, &id, 1), ERR_NOMEM);
	assert_int_equal(stream_load_id(stream, &ids, &id, 1), 0);
	assert_int_equal(publish_id(0, 501, 1, &seq), PUBLISH_KNOWN);
	assert_int_equal(seq, 1);
	/* Without memory for its id a message is not taken. */
	idwindow_fini(&stream->ids);
	assert_int_equal(publish_id(0, 0, 1, &seq), PUBLISH_NEW);
	mem_fail_at(1);
	assert_int_equal(publish_id(0, 505, 1, &seq), ERR_NOMEM);
	assert_int_equal(stream->next_seq, 202);
	assert_false(give());
	assert_int_equal(publish_id(0, 505, 1, &seq), PUBLISH_NEW);
	assert_int_equal(seq, 202);
	stream_free(stream, &pool);
	pending_pool_fini(&pool);
	idwindows_fini(&ids);
	assert_int_equal(budget.used_bytes, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
