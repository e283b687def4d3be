/* The state of a data stream group: what each seq is, and what is bounded. */
#include "tests/unit/consensusd/dsg_user.h"

/* --- commands --- */

static void
test_batches_are_taken_in_order(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);

	(void)state;
	expect_batch(d, batch_of(one, 3, 2, 1), false);
	expect_batch(d, batch_of(one, 3, 1, 10), true);
	assert_int_equal(t.described, 1);
	assert_int_equal(t.last.described, 10);
	expect_batch(d, batch_of(one, 3, 1, 10), false);
	expect_batch(d, batch_of(one, 3, 10, 2), false);
	expect_batch(d, batch_of(one, 3, 12, 1), false);
	expect_batch(d, batch_of(two, 3, 1, 1), false);
	expect_batch(d, batch_of(one, 3, 11, 5), true);
	assert_int_equal(dsg_find(d, &one)->described, 15);
	assert_int_equal(t.described, 2);
	assert_null(dsg_find(d, &two));
	dsg_free(d);
}

static void
test_epochs_only_rise(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	struct dsg_open o = open_of(one, 4, 0);

	(void)state;
	expect_batch(d, batch_of(one, 2, 1, 1), false);
	expect_mark(d, EPOCH, one, 0, 2, false);
	expect_mark(d, EPOCH, two, 0, 9, false);
	expect_mark(d, EPOCH, one, 0, 3, true); /* again: nothing */
	assert_int_equal(t.described, 0);
	expect_mark(d, EPOCH, one, 0, 5, true);
	assert_int_equal(t.described, 1);
	assert_int_equal(t.last.epoch, 5);
	expect_batch(d, batch_of(one, 4, 1, 1), false);
	expect_open(d, &o, true); /* changes nothing */
	assert_int_equal(dsg_find(d, &one)->epoch, 5);
	expect_batch(d, batch_of(one, 4, 1, 1), false);
	expect_batch(d, batch_of(one, 6, 1, 1), true);
	assert_int_equal(dsg_find(d, &one)->epoch, 6);
	expect_batch(d, batch_of(one, 5, 2, 1), false);
	dsg_free(d);
}

static void
test_committed_is_what_all_have(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	const struct dsg_stream *s = dsg_find(d, &one);

	(void)state;
	expect_batch(d, batch_of(one, 3, 1, 10), true);
	expect_mark(d, PROCESSED, one, 7, 11, false);
	expect_mark(d, PROCESSED, one, 9, 1, false);
	expect_mark(d, PROCESSED, two, 7, 1, false);
	expect_mark(d, PROCESSED, one, 7, 8, true);
	assert_int_equal(s->committed, 0);
	expect_mark(d, PROCESSED, one, 8, 5, true);
	assert_int_equal(s->committed, 5);
	expect_mark(d, PROCESSED, one, 7, 2, true); /* late: nothing */
	assert_int_equal(s->processed[0], 8);
	assert_int_equal(s->committed, 5);
	expect_mark(d, SKIP, one, 0, 11, false);
	expect_mark(d, SKIP, two, 0, 1, false);
	expect_mark(d, SKIP, one, 0, 7, true);
	assert_int_equal(t.described, 2);
	assert_int_equal(t.last.skipped, 7);
	assert_int_equal(s->committed, 7);
	expect_mark(d, SKIP, one, 0, 6, true);
	assert_int_equal(s->skipped, 7);
	expect_mark(d, PROCESSED, one, 8, 10, true);
	assert_int_equal(s->committed, 8);
	assert_int_equal(t.described, 2);
	dsg_free(d);
}

static void
test_reopening_keeps_what_was_processed(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	const struct dsg_stream *s = dsg_find(d, &one);
	struct dsg_open o = open_of(one, 3, 10);

	(void)state;
	expect_batch(d, batch_of(one, 3, 1, 10), true);
	expect_mark(d, PROCESSED, one, 7, 9, true);
	expect_mark(d, PROCESSED, one, 8, 4, true);
	o.targets[0] = 9;
	o.targets[1] = 7;
	o.processed[0] = 6;
	o.processed[1] = 2;
	expect_open(d, &o, true);
	assert_int_equal(t.opened, 2);
	assert_int_equal(s->target_count, 2);
	assert_int_equal(s->targets[0], 9);
	assert_int_equal(s->processed[0], 6);
	assert_int_equal(s->processed[1], 9);
	assert_int_equal(s->committed, 6); /* who held it back is none any more */
	o.processed[1] = 10;
	o.targets[0] = 5;
	o.processed[0] = 0;
	expect_open(d, &o, true);
	assert_int_equal(s->processed[1], 10);
	assert_int_equal(s->committed, 6); /* does not go back */
	o.processed[1] = 11;
	expect_open(d, &o, false);
	dsg_free(d);
}

/* The log was ahead of an outbox that crashed: what was described and never left the source is made anew. */
static void
test_reopening_goes_back(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	const struct dsg_stream *s = dsg_find(d, &one);
	struct dsg_open o = open_of(one, 3, 10);
	struct dsg_batch other = batch_of(one, 3, 11, 4);

	(void)state;
	expect_batch(d, batch_of(one, 3, 1, 10), true);
	expect_batch(d, batch_of(one, 3, 11, 4), true);
	expect_batch(d, batch_of(one, 3, 15, 1), true);
	expect_mark(d, PROCESSED, one, 7, 9, true);
	o.described = 8; /* a target has more */
	expect_open(d, &o, false);
	assert_int_equal(s->described, 15);
	o.described = 10;
	expect_open(d, &o, true);
	assert_int_equal(s->described, 10);
	memset(other.digest, 1, sizeof(other.digest));
	assert_int_equal(dsg_check(d, &other), DSG_CHECK_NOT_YET);
	expect_batch(d, other, true);
	assert_int_equal(dsg_check(d, &other), DSG_CHECK_SAME);
	dsg_free(d);
}

/* The epoch that began with what is made anew was lost with it; that of what stays was not. */
static void
test_an_epoch_is_taken_back(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	const struct dsg_stream *s = dsg_find(d, &one);
	struct dsg_open o = open_of(one, 0, 14);

	(void)state;
	expect_batch(d, batch_of(one, 4, 1, 10), true);
	expect_batch(d, batch_of(one, 5, 11, 4), true);
	expect_open(d, &o, true);
	assert_int_equal(s->epoch, 5);
	o.described = 10;
	expect_open(d, &o, true);
	assert_int_equal(s->epoch, 4);
	expect_batch(d, batch_of(one, 3, 11, 1), false);
	expect_batch(d, batch_of(one, 4, 11, 1), true);
	dsg_free(d);
}

/* Targets have what lies between from a group before this one. */
static void
test_reopening_goes_on(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	const struct dsg_stream *s = dsg_find(d, &one);
	struct dsg_open o = open_of(one, 3, 100);
	struct dsg_batch early = batch_of(one, 3, 1, 10), between = batch_of(one, 3, 50, 10);

	(void)state;
	expect_batch(d, early, true);
	expect_open(d, &o, true);
	assert_int_equal(s->described, 100);
	assert_int_equal(dsg_check(d, &early), DSG_CHECK_OLD);
	assert_int_equal(dsg_check(d, &between), DSG_CHECK_OLD);
	expect_batch(d, batch_of(one, 3, 101, 4), true);
	dsg_free(d);
}

static void
test_a_stream_from_elsewhere(void **state)
{
	struct told t;
	struct dsg *d = watched(&t);
	struct dsg_open o = open_of(two, 1, 100);

	(void)state;
	o.processed[0] = 101;
	expect_open(d, &o, false);
	assert_int_equal(dsg_count(d), 0);
	o.processed[0] = 90;
	o.processed[1] = 80;
	expect_open(d, &o, true);
	assert_int_equal(dsg_find(d, &two)->committed, 80);
	expect_batch(d, batch_of(two, 1, 1, 1), false);
	expect_batch(d, batch_of(two, 1, 101, 1), true);
	assert_int_equal(
	    dsg_check(d, &(struct dsg_batch){.stream = two, .first_seq = 95, .count = 2}), DSG_CHECK_OLD);
	dsg_free(d);
}

static void
test_closing_forgets(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	struct dsg_open o = open_of(one, 1, 0);

	(void)state;
	expect_batch(d, batch_of(one, 3, 1, 10), true);
	expect_mark(d, CLOSE, two, 0, 0, true);
	expect_mark(d, CLOSE, one, 0, 0, true);
	assert_int_equal(t.closed, 1);
	assert_int_equal(ulid_compare(&t.gone, &one), 0);
	assert_int_equal(dsg_count(d), 0);
	expect_mark(d, CLOSE, one, 0, 0, true); /* again: nothing */
	expect_open(d, &o, true);
	assert_int_equal(dsg_find(d, &one)->described, 0);
	assert_int_equal(dsg_find(d, &one)->epoch, 1);
	dsg_free(d);
}

/* Closed, opened and described in the same entry: the watch hears of it in order, once for each change. */
static void
test_all_in_one_entry(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	struct dsg_open o = open_of(one, 1, 0);
	struct dsg_batch x;
	struct buf b;

	(void)state;
	buf_init(&b, ENTRY_MAX_BYTES);
	for (uint64_t i = 0; i < 300; i++) {
		x = batch_of(one, 3, 1 + i * 4, 4);
		assert_int_equal(dsg_put_batch(&b, &x), 0);
	}
	apply(d, &b);
	assert_int_equal(t.described, 1);
	assert_int_equal(t.last.described, 1200);
	x = batch_of(one, 3, 1201, 4);
	assert_int_equal(dsg_put_batch(&b, &x), 0);
	assert_int_equal(dsg_put_close(&b, &one), 0);
	assert_int_equal(dsg_put_batch(&b, &x), 0);
	assert_int_equal(dsg_put_open(&b, &o), 0);
	x = batch_of(one, 1, 1, 7);
	assert_int_equal(dsg_put_batch(&b, &x), 0);
	o.stream = two;
	assert_int_equal(dsg_put_open(&b, &o), 0);
	assert_int_equal(dsg_put_close(&b, &two), 0);
	assert_int_equal(dsg_put_open(&b, &o), 0);
	x.stream = two;
	assert_int_equal(dsg_put_batch(&b, &x), 0);
	apply(d, &b);
	assert_int_equal(dsg_counters(d)->rejected, 1);
	assert_int_equal(t.closed, 2);
	assert_int_equal(t.opened, 4);
	assert_int_equal(t.described, 3);
	assert_int_equal(dsg_find(d, &one)->described, 7);
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_SAME);
	buf_fini(&b);
	dsg_free(d);
}

static void
test_what_cannot_be_read(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	struct dsg_batch x = batch_of(one, 3, 1, 1);
	struct buf b;

	(void)state;
	buf_init(&b, ENTRY_MAX_BYTES);
	assert_int_equal(dsg_put_batch(&b, &x), 0);
	for (size_t len = 1; len < buf_left(&b); len++)
		assert_int_equal(dsg_apply(d, buf_head(&b), len), 0);
	assert_int_equal(dsg_counters(d)->rejected, buf_left(&b) - 1);
	assert_int_equal(buf_put_u8(&b, 99), 0); /* one good command, and then what is none */
	apply(d, &b);
	assert_int_equal(dsg_find(d, &one)->described, 0);
	assert_int_equal(dsg_apply(d, NULL, 0), 0);
	assert_int_equal(dsg_counters(d)->applied, 1);
	buf_fini(&b);
	dsg_free(d);
}

static void
test_what_is_not_written(void **state)
{
	struct dsg_open o = open_of(one, 1, 0);
	struct dsg_batch x = batch_of(one, 1, 0, 1); /* seqs begin with 1 */
	uint8_t room[30];
	struct buf b;

	(void)state;
	buf_init_fixed(&b, room, sizeof(room));
	assert_int_equal(dsg_put_batch(&b, &x), ERR_LIMIT);
	assert_int_equal(dsg_put_open(&b, &o), ERR_LIMIT);
	assert_int_equal(buf_left(&b), 0);
	buf_init(&b, ENTRY_MAX_BYTES);
	assert_int_equal(dsg_put_batch(&b, &x), ERR_FORMAT);
	x = batch_of(one, 1, 1, 0);
	assert_int_equal(dsg_put_batch(&b, &x), ERR_FORMAT);
	x = batch_of(one, 1, INT64_MAX, 2);
	assert_int_equal(dsg_put_batch(&b, &x), ERR_FORMAT);
	o.targets[1] = o.targets[0];
	assert_int_equal(dsg_put_open(&b, &o), ERR_FORMAT);
	o.target_count = STREAM_TARGETS_MAX + 1;
	assert_int_equal(dsg_put_open(&b, &o), ERR_LIMIT);
	o.target_count = 0;
	assert_int_equal(dsg_put_open(&b, &o), ERR_FORMAT);
	assert_int_equal(dsg_put_close(&b, &(struct ulid){{0}}), ERR_FORMAT);
	assert_int_equal(dsg_put_skip(&b, &one, UINT64_MAX), ERR_FORMAT);
	assert_int_equal(dsg_put_processed(&b, &one, 0, 1), ERR_FORMAT);
	assert_int_equal(buf_left(&b), 0);
	buf_fini(&b);
}

/* --- check --- */

static void
test_check(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	struct dsg_batch x = batch_of(one, 3, 11, 10), y = x;

	(void)state;
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_NOT_YET);
	expect_batch(d, batch_of(one, 3, 1, 10), true);
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_NOT_YET);
	expect_batch(d, x, true);
	expect_batch(d, batch_of(one, 3, 21, 10), true);
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_SAME);
	y.digest[31] ^= 1;
	assert_int_equal(dsg_check(d, &y), DSG_CHECK_OTHER);
	y = x;
	y.signature[63] ^= 1;
	assert_int_equal(dsg_check(d, &y), DSG_CHECK_OTHER);
	y = x;
	y.epoch++;
	assert_int_equal(dsg_check(d, &y), DSG_CHECK_OTHER);
	y = x;
	y.count = 9;
	assert_int_equal(dsg_check(d, &y), DSG_CHECK_OTHER);
	y.count = 0;
	assert_int_equal(dsg_check(d, &y), DSG_CHECK_OTHER);
	y.count = UINT32_MAX;
	assert_int_equal(dsg_check(d, &y), DSG_CHECK_OTHER);
	y = x;
	y.first_seq = 12;
	assert_int_equal(dsg_check(d, &y), DSG_CHECK_OTHER);
	y.stream = two;
	assert_int_equal(dsg_check(d, &y), DSG_CHECK_NOT_YET);
	/* Half of a batch is not committed yet: it is kept. */
	expect_mark(d, SKIP, one, 0, 15, true);
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_SAME);
	y = batch_of(one, 3, 1, 10);
	assert_int_equal(dsg_check(d, &y), DSG_CHECK_OLD);
	y.count = 11; /* beyond what is not kept any more */
	assert_int_equal(dsg_check(d, &y), DSG_CHECK_OTHER);
	expect_mark(d, SKIP, one, 0, 30, true);
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_OLD);
	dsg_free(d);
}

static void
test_descriptors_are_bounded(void **state)
{
	struct told t;
	struct dsg *d = with_stream(&t);
	size_t empty = dsg_bytes(d), full;
	struct dsg_batch x;

	(void)state;
	for (uint64_t i = 0; i < DSG_DESCRIPTORS_MAX; i++)
		expect_batch(d, batch_of(one, 3, 1 + 2 * i, 2), true);
	full = dsg_bytes(d);
	x = batch_of(one, 3, 1, 2);
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_SAME);
	expect_batch(d, batch_of(one, 3, 1 + 2 * DSG_DESCRIPTORS_MAX, 2), true);
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_OLD);
	x = batch_of(one, 3, 3, 2);
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_SAME);
	assert_int_equal(dsg_bytes(d), full);
	expect_mark(d, SKIP, one, 0, 2 * DSG_DESCRIPTORS_MAX + 2, true);
	assert_int_equal(dsg_bytes(d), empty);
	dsg_free(d);
}

/* Streams as full as one may be, until all together are. */
static void
test_descriptors_of_all_are_bounded(void **state)
{
	enum { STREAMS = DSG_DESCRIPTORS_TOTAL_MAX / DSG_DESCRIPTORS_MAX };
	struct dsg *d = dsg_new(NULL);
	struct dsg_open o = open_of(one, 1, 0);
	struct dsg_batch x;
	struct buf b;

	(void)state;
	buf_init(&b, ENTRY_MAX_BYTES);
	for (size_t i = 0; i < STREAMS; i++) {
		o.stream.b[14] = (uint8_t)i;
		assert_int_equal(dsg_put_open(&b, &o), 0);
		for (uint64_t seq = 1; seq <= DSG_DESCRIPTORS_MAX; seq++) {
			x = batch_of(o.stream, 1, seq, 1);
			assert_int_equal(dsg_put_batch(&b, &x), 0);
		}
		apply(d, &b);
	}
	assert_int_equal(dsg_counters(d)->rejected, 0);
	o = open_of(two, 1, 0);
	expect_open(d, &o, true);
	x = batch_of(two, 1, 1, 1);
	expect_batch(d, x, true);
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_OLD);
	/* Room comes back. */
	expect_mark(d, CLOSE, one, 0, 0, true);
	x = batch_of(two, 1, 2, 1);
	expect_batch(d, x, true);
	assert_int_equal(dsg_check(d, &x), DSG_CHECK_SAME);
	buf_fini(&b);
	dsg_free(d);
}

static void
test_streams_are_bounded(void **state)
{
	struct dsg *d = dsg_new(NULL);
	struct dsg_open o = open_of(one, 1, 0);

	(void)state;
	for (size_t i = 0; i <= DSG_STREAMS_MAX; i++) {
		o.stream.b[14] = (uint8_t)(i / 256);
		o.stream.b[15] = (uint8_t)i;
		expect_open(d, &o, i < DSG_STREAMS_MAX);
	}
	o.stream = one;
	expect_open(d, &o, true); /* which is there */
	assert_int_equal(dsg_count(d), DSG_STREAMS_MAX);
	for (size_t i = 1; i < dsg_count(d); i++)
		assert_true(ulid_compare(&dsg_at(d, i - 1)->id, &dsg_at(d, i)->id) < 0);
	dsg_free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_batches_are_taken_in_order),
	    cmocka_unit_test(test_epochs_only_rise),
	    cmocka_unit_test(test_committed_is_what_all_have),
	    cmocka_unit_test(test_reopening_keeps_what_was_processed),
	    cmocka_unit_test(test_reopening_goes_back),
	    cmocka_unit_test(test_an_epoch_is_taken_back),
	    cmocka_unit_test(test_reopening_goes_on),
	    cmocka_unit_test(test_a_stream_from_elsewhere),
	    cmocka_unit_test(test_closing_forgets),
	    cmocka_unit_test(test_all_in_one_entry),
	    cmocka_unit_test(test_what_cannot_be_read),
	    cmocka_unit_test(test_what_is_not_written),
	    cmocka_unit_test(test_check),
	    cmocka_unit_test(test_descriptors_are_bounded),
	    cmocka_unit_test(test_descriptors_of_all_are_bounded),
	    cmocka_unit_test(test_streams_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
