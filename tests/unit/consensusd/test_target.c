/* A target: fragments in any order, duplicates, bounds, acks, delivery. */
#include "tests/unit/consensusd/give_next.h"
#include "tests/unit/consensusd/make_batch.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/target.h"

enum { PIECE = 1000 };

static const struct target_conf conf = {
    .window_bytes = 100000, .backlog_bytes = 200000, .reassembly_us = TARGET_REASSEMBLY_US};
static struct budget budget;
static struct target *target;

static struct mono
at_us(int64_t us)
{
	return (struct mono){1000000 + us};
}

static int
setup(void **state)
{
	static const uint8_t key[32];
	struct ulid id = make_id(1);

	(void)state;
	budget = (struct budget){.max_bytes = 1 << 24};
	target = target_new(&id, "t", 5, key, &conf, &budget);
	assert_non_null(target);
	target->state = TARGET_OPEN;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	target_free(target);
	assert_int_equal(budget.used_bytes, 0);
	return 0;
}

static struct fragment
piece(const struct batch *b, uint32_t i)
{
	size_t offset = (size_t)i * PIECE, left = b->body_len - offset;

	return (struct fragment){
	    .first_seq = b->first_seq,
	    .epoch = b->epoch,
	    .count = b->count,
	    .batch_bytes = (uint32_t)b->body_len,
	    .index = i,
	    .total = (uint32_t)((b->body_len + PIECE - 1) / PIECE),
	    .key_id = b->key_id,
	    .nonce = b->nonce,
	    .signature = i == 0 ? b->signature : NULL,
	    .payload = b->body + offset,
	    .payload_len = left < PIECE ? left : PIECE,
	    .offset = offset,
	};
}

/* Hands in the whole batch; returns what target_complete() says, 1 if it never was whole. */
static int
receive(uint64_t first, uint32_t count, uint32_t size)
{
	struct batch *b = make_batch(first, count, size), *whole = NULL;
	uint32_t total = piece(b, 0).total;
	int r = 1;

	for (uint32_t i = total; i > 0; i--) {
		struct fragment f = piece(b, i - 1);

		assert_int_equal(target_fragment(target, &f, at_us(0), &whole), 0);
		assert_true(whole == NULL || i == 1);
	}
	if (whole != NULL) {
		assert_memory_equal(whole->body, b->body, b->body_len);
		r = target_complete(target, whole, at_us(0));
	}
	batch_unref(b);
	return r;
}

static void
store_all(void)
{
	while (target_next(target) != NULL)
		give_next(target, at_us(0));
	target_stored(target, target->expected_seq - 1, at_us(0));
}

static void
test_order(void **state)
{
	struct target_ack a;

	(void)state;
	assert_int_equal(receive(11, 10, 200), 0);
	assert_null(target_next(target));
	assert_true(target_ack_due(target, at_us(0), &a));
	assert_int_equal(a.stored, 0);
	assert_int_equal(a.range_count, 2);
	assert_int_equal(a.ranges[0], 11);
	assert_int_equal(a.ranges[1], 20);
	/* Once more: it waits already. */
	assert_int_equal(receive(11, 10, 200), 1);
	assert_int_equal(target->duplicates, 3);
	assert_int_equal(receive(1, 10, 200), 0);
	assert_int_equal(target_next(target)->first_seq, 1);
	give_next(target, at_us(0));
	assert_int_equal(target_next(target)->first_seq, 11);
	give_next(target, at_us(0));
	assert_int_equal(target->expected_seq, 21);
	/* Had it all. */
	assert_int_equal(receive(1, 10, 200), 1);
	target_ack_fill(target, &a);
	assert_int_equal(a.ranges[0], 1);
	assert_int_equal(a.ranges[1], 20);
	target_stored(target, 20, at_us(0));
	target_ack_fill(target, &a);
	assert_int_equal(a.stored, 20);
	assert_int_equal(a.range_count, 0);
}

/* Epochs only grow along the stream, whatever order batches come in. */
static void
test_epochs(void **state)
{
	struct batch *b = make_batch(5, 2, 10);

	(void)state;
	b->epoch = 2;
	assert_int_equal(target_complete(target, b, at_us(0)), 0);
	/* An earlier one may be older, and what waits far behind may be, too, for now. */
	assert_int_equal(target_complete(target, make_batch(3, 2, 10), at_us(0)), 0);
	assert_int_equal(target_complete(target, make_batch(7, 2, 10), at_us(0)), 0);
	assert_int_equal(target_complete(target, make_batch(1, 2, 10), at_us(0)), 0);
	store_all();
	assert_int_equal(target->epoch, 2);
	assert_int_equal(target->expected_seq, 7);
	assert_int_equal(target->reorder_count, 0);
	assert_int_equal(target_complete(target, make_batch(7, 2, 10), at_us(0)), ERR_STATE);
	b = make_batch(7, 2, 10);
	b->epoch = 3;
	assert_int_equal(target_complete(target, b, at_us(0)), 0);
	store_all();
	assert_int_equal(target->epoch, 3);
	assert_int_equal(target->expected_seq, 9);
}

/* An epoch is remembered with the rows of the one before, not while those wait: after a crash they come
 * again. */
static void
test_epoch_kept(void **state)
{
	struct batch *b = make_batch(11, 10, 20);

	(void)state;
	target->early = true;
	target_attend(target, true);
	b->epoch = 2;
	assert_int_equal(receive(1, 10, 20), 0);
	assert_int_equal(target_complete(target, b, at_us(0)), 0);
	assert_int_equal(target_take(target, at_us(0)), 0);
	assert_int_equal(target_take(target, at_us(0)), 0);
	assert_int_equal(target->epoch, 2);
	assert_int_equal(target->kept_epoch, 0);
	target_hold_end(target);
	assert_int_equal(target_due(target, at_us(0))->first_seq, 1);
	target_kept(target);
	assert_int_equal(target->kept_epoch, 1);
	assert_int_equal(target_due(target, at_us(0))->first_seq, 11);
	target_kept(target);
	assert_int_equal(target->kept_epoch, 2);
}

/* What the source gave up is passed over, behind what is here. */
static void
test_skip(void **state)
{
	struct batch_record rec;
	uint64_t first, last;

	(void)state;
	assert_int_equal(receive(1, 4, 10), 0);
	assert_int_equal(receive(9, 4, 10), 0);
	assert_int_equal(receive(21, 4, 10), 0);
	store_all();
	assert_false(target_skip(target, 4));
	assert_true(target_skip(target, 12));
	assert_int_equal(target->expected_seq, 13);
	assert_int_equal(target->reorder_count, 1);
	assert_int_equal(target->stored_seq, 4);
	assert_true(target_skip(target, 20));
	/* Not before the store has it, nor before what is here is done. */
	assert_false(target_pass_gap(target));
	store_all();
	assert_int_equal(target->stored_seq, 24);
	assert_false(target_pass_gap(target));
	cursor_seek(&target->cursor, 5);
	target->delivered_seq = 4;
	assert_int_equal(target_ack(target, 4), 0);
	assert_true(target_pass_gap(target));
	assert_int_equal(target->passed_count, 16);
	assert_true(target_put_processed(target, UINT64_MAX, &first, &last));
	assert_int_equal(last, 20);
	assert_int_equal(target_deliver(target, &rec), CURSOR_RECORD);
	assert_int_equal(rec.seq, 21);
	assert_false(target_pass_over(target, 20));
	assert_false(target_pass_over(target, 25));
}

static void
test_overlap(void **state)
{
	(void)state;
	assert_int_equal(receive(1, 10, 20), 0);
	store_all();
	assert_int_equal(receive(5, 10, 20), 1); /* begins below what is expected: an old one, as it seems */
	assert_int_equal(receive(21, 10, 20), 0);
	assert_int_equal(receive(15, 10, 20), ERR_GAP);
	assert_int_equal(receive(25, 10, 20), ERR_GAP);
	assert_int_equal(receive(11, 10, 20), 0);
	store_all();
	assert_int_equal(target->stored_seq, 30);
}

/* Fragments that contradict each other, or themselves. */
static void
test_bad_fragments(void **state)
{
	struct batch *b = make_batch(1, 10, 200), *whole;
	struct fragment f = piece(b, 1);

	(void)state;
	f.offset = b->body_len;
	assert_int_equal(target_fragment(target, &f, at_us(0), &whole), ERR_FORMAT);
	f = piece(b, 1);
	f.index = f.total;
	assert_int_equal(target_fragment(target, &f, at_us(0), &whole), ERR_FORMAT);
	f = piece(b, 1);
	f.total = 1;
	f.index = 0;
	assert_int_equal(target_fragment(target, &f, at_us(0), &whole), ERR_FORMAT);
	/* Another nonce is another batch: it begins anew. */
	f = piece(b, 1);
	assert_int_equal(target_fragment(target, &f, at_us(0), &whole), 0);
	b->nonce[0] ^= 1;
	f = piece(b, 0);
	assert_int_equal(target_fragment(target, &f, at_us(0), &whole), 0);
	assert_int_equal(target->reassembly->count, 1);
	assert_int_equal(target->reassembly->partials[0].got, 1);
	batch_unref(b);
	assert_int_equal(receive(1, 10, 200), 0);
}

/* Far too much ahead of what is expected: bounded, and what is needed first stays. */
static void
test_bounds(void **state)
{
	struct batch *b, *whole;
	struct target_ack a;

	(void)state;
	for (uint64_t i = 2; i < 400; i++) {
		b = make_batch(i * 10, 10, 300);
		struct fragment f = piece(b, 0);

		assert_int_equal(target_fragment(target, &f, at_us(0), &whole), 0);
		batch_unref(b);
	}
	assert_true(target->reassembly->count <= REASSEMBLY_MAX);
	assert_true(budget.used_bytes <= 2 * conf.window_bytes);
	assert_true(target->dropped > 0);
	/* Its memory is needed for the one that is expected. */
	assert_int_equal(receive(1, 19, 300), 0);
	store_all();
	/* Stored and not processed above the mark: nothing is taken, and the source is told so. */
	while (target->ledger.total_bytes <= conf.backlog_bytes)
		if (receive(target->expected_seq, 10, 3000) == 0)
			store_all();
	assert_int_equal(receive(target->expected_seq, 10, 3000), 1);
	target_ack_fill(target, &a);
	assert_int_equal(a.window_bytes, 0);
	target->cursor.next_seq = target->expected_seq;
	target->delivered_seq = target->stored_seq;
	assert_int_equal(target_ack(target, target->stored_seq), 0);
	target->put_seq = target->acked_seq;
	target_processed(target, target->acked_seq);
	target_ack_fill(target, &a);
	assert_int_equal(a.window_bytes, conf.window_bytes);
}

static void
test_reorder_bound(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= REORDER_MAX; i++)
		assert_int_equal(receive(10 * i, 1, 10), 0);
	assert_int_equal(receive(10 * (REORDER_MAX + 1), 1, 10), ERR_FULL);
	assert_int_equal(receive(5, 1, 10), 0);
	assert_int_equal(target->reorder_count, REORDER_MAX);
	assert_int_equal(target->reorder[0]->first_seq, 5);
	assert_int_equal(target->reorder[REORDER_MAX - 1]->first_seq, 10 * (REORDER_MAX - 1));
}

static void
test_ack_times(void **state)
{
	struct target_ack a;

	(void)state;
	assert_false(target_ack_due(target, at_us(0), &a));
	assert_int_equal(receive(1, 10, 20), 0);
	store_all();
	/* Only "stored": that can wait for more. */
	assert_false(target_ack_due(target, at_us(TARGET_ACK_DELAY_US - 1), &a));
	assert_true(target_ack_due(target, at_us(TARGET_ACK_DELAY_US), &a));
	assert_false(target_ack_due(target, at_us(TARGET_ACK_DELAY_US), &a));
	assert_int_equal(a.stored, 10);
	/* "Processed" can't. */
	target->delivered_seq = 10;
	assert_int_equal(target_ack(target, 4), 0);
	target->put_seq = 4;
	target_processed(target, 4);
	assert_true(target_ack_due(target, at_us(0), &a));
	assert_int_equal(a.processed, 4);
}

static void
deliver(uint64_t first, uint64_t last)
{
	struct batch_record rec;

	for (uint64_t seq = first; seq <= last; seq++) {
		assert_int_equal(target_deliver(target, &rec), CURSOR_RECORD);
		assert_int_equal(rec.seq, seq);
		assert_int_equal(rec.sealed[0], seq & 0xff);
	}
}

static void
test_delivery(void **state)
{
	struct batch_record rec;
	uint64_t first, last;

	(void)state;
	assert_int_equal(receive(1, 10, 20), 0);
	give_next(target, at_us(0));
	/* Stored before delivered. */
	assert_int_equal(target_deliver(target, &rec), CURSOR_IDLE);
	target_stored(target, 10, at_us(0));
	deliver(1, 10);
	assert_int_equal(target_deliver(target, &rec), CURSOR_IDLE);
	assert_int_equal(target_ack(target, 11), ERR_RANGE);
	assert_false(target_put_processed(target, UINT64_MAX, &first, &last));
	assert_int_equal(target_ack(target, 6), 0);
	assert_int_equal(target_ack(target, 3), 0);
	assert_true(target_put_processed(target, UINT64_MAX, &first, &last));
	assert_int_equal(first, 1);
	assert_int_equal(last, 6);
	assert_false(target_put_processed(target, UINT64_MAX, &first, &last));
	/* Another subscriber: what was not acknowledged again; not in memory any more: read. */
	target_resume(target, 0);
	assert_int_equal(target_deliver(target, &rec), CURSOR_READ);
	assert_int_equal(target_deliver(target, &rec), CURSOR_IDLE);
	struct batch *b = make_batch(1, 10, 20);

	cursor_read(&target->cursor, b);
	cursor_read(&target->cursor, NULL);
	batch_unref(b);
	deliver(7, 10);
	/* One that has done all of it, and claims more. */
	target_resume(target, 99);
	assert_int_equal(target->acked_seq, 10);
}

/* A subscriber gets what is taken before it is stored; what it has acknowledged before the row is due needs
 * none. */
static void
test_early(void **state)
{
	struct target_ack a;
	uint64_t first, last;

	(void)state;
	target->early = true;
	target_attend(target, true);
	assert_int_equal(receive(1, 10, 20), 0);
	assert_int_equal(receive(11, 10, 20), 0);
	assert_int_equal(target_take(target, at_us(0)), 0);
	assert_int_equal(target_take(target, at_us(0)), 0);
	assert_null(target_due(target, at_us(TARGET_HOLD_US - 1)));
	deliver(1, 20);
	target_ack_fill(target, &a);
	assert_int_equal(a.stored, 0);
	assert_int_equal(a.ranges[1], 20); /* it need not come again */
	assert_int_equal(target_ack(target, 15), 0);
	assert_true(target_put_processed(target, UINT64_MAX, &first, &last));
	assert_int_equal(last, 10); /* the source could not send half of a batch */
	assert_false(target_put_processed(target, UINT64_MAX, &first, &last));
	assert_null(target_due(target, at_us(TARGET_HOLD_US)));
	assert_int_equal(target->spared, 1);
	assert_int_equal(target->kept_seq, 10);
	target_processed(target, 10);
	assert_int_equal(target->stored_seq, 10);
	/* Memory is short: what the store has not is kept. */
	target_trim(target);
	target_hold_end(target);
	assert_int_equal(target_due(target, at_us(TARGET_HOLD_US))->first_seq, 11);
	target_kept(target);
	assert_true(target_put_processed(target, UINT64_MAX, &first, &last));
	assert_int_equal(last, 15);
	assert_null(target_due(target, at_us(TARGET_HOLD_US)));
	target_hold_end(target);
	assert_true(mono_is_never(target->hold_at));
	target_stored(target, 20, at_us(0));
	assert_int_equal(target->held_bytes, 0);
	assert_int_equal(budget.used_bytes, 0);
}

/* Rows are due after a time, when they are many, and when nobody is there. */
static void
test_hold(void **state)
{
	struct mono later = at_us(2 * TARGET_HOLD_US - 1);
	uint64_t seq = 21;

	(void)state;
	target->early = true;
	target_attend(target, true);
	assert_int_equal(receive(1, 10, 20), 0);
	assert_int_equal(target_take(target, at_us(0)), 0);
	assert_int_equal(receive(11, 10, 20), 0);
	assert_int_equal(target_take(target, at_us(TARGET_HOLD_US - 1)), 0);
	/* Each waits so long at least, and twice at most. */
	assert_int_equal(target_due(target, at_us(TARGET_HOLD_US))->first_seq, 1);
	target_kept(target);
	assert_null(target_due(target, at_us(TARGET_HOLD_US)));
	assert_null(target_due(target, later));
	assert_int_equal(target_due(target, at_us(2 * TARGET_HOLD_US))->first_seq, 11);
	target_kept(target);
	/* More than half of the window. */
	for (; target->held_bytes <= conf.window_bytes / 2; seq += 10) {
		assert_null(target_due(target, later));
		assert_int_equal(receive(seq, 10, 200), 0);
		assert_int_equal(target_take(target, later), 0);
	}
	assert_int_equal(receive(seq, 10, 200), 0);
	assert_int_equal(target_take(target, later), ERR_FULL);
	assert_int_equal(target_due(target, later)->first_seq, 21);
	target_kept(target);
	assert_null(target_due(target, later));
	assert_int_equal(target_take(target, later), 0);
	/* Nobody is there any more. */
	target_attend(target, false);
	while (target_due(target, later) != NULL)
		target_kept(target);
	assert_int_equal(target->kept_seq, seq + 9);
	assert_true(mono_is_never(target->hold_at));
}

/* After a crash a subscriber may have what this node has not: it does not get it again. */
static void
test_resume_beyond(void **state)
{
	struct batch_record rec;

	(void)state;
	target->early = true;
	target_load(target, 10, 10);
	target_resume(target, 10 + TARGET_UNSTORED_MAX + 1); /* never delivered */
	assert_int_equal(target->acked_seq, 10);
	target_resume(target, 25);
	target_attend(target, true);
	assert_int_equal(target->acked_seq, 10);
	assert_int_equal(receive(11, 10, 20), 0);
	assert_int_equal(target_take(target, at_us(0)), 0);
	assert_int_equal(target->acked_seq, 20);
	assert_int_equal(target_deliver(target, &rec), CURSOR_IDLE);
	assert_int_equal(receive(21, 10, 20), 0);
	assert_int_equal(target_take(target, at_us(0)), 0);
	assert_int_equal(target->acked_seq, 25);
	deliver(26, 30);
	/* What is here counts at once. */
	target_resume(target, 28);
	assert_int_equal(target->acked_seq, 28);
	deliver(29, 30);
}

static void
test_load(void **state)
{
	struct batch_record rec;

	(void)state;
	target_load(target, 50, 40);
	assert_int_equal(target->expected_seq, 51);
	assert_int_equal(target_deliver(target, &rec), CURSOR_READ);
	cursor_read(&target->cursor, NULL);
	assert_int_equal(target_ack(target, 41), ERR_RANGE);
	assert_int_equal(receive(51, 5, 20), 0);
	/* The inbox was cleared of what is processed. */
	target_load(target, 0, 60);
	assert_int_equal(target->stored_seq, 60);
}

static void
test_close(void **state)
{
	(void)state;
	assert_int_equal(receive(1, 10, 20), 0);
	store_all();
	assert_int_equal(target_close(target, 10), ERR_RANGE);
	deliver(1, 10);
	assert_int_equal(target_ack(target, 10), 0);
	target->put_seq = 10;
	target_processed(target, 10);
	assert_int_equal(target_close(target, 9), ERR_RANGE);
	assert_int_equal(target_close(target, 10), 0);
	assert_int_equal(target->state, TARGET_CLOSING);
}

enum { SHUFFLE_BATCHES = 8, SHUFFLE_PIECES = 13, SHUFFLE_ROUNDS = 200 };

struct shuffled {
	unsigned batch, piece;
};

/* Fisher and Yates. */
static void
shuffle(struct shuffled *all, size_t count, struct rng *rng)
{
	for (size_t i = count; i > 1; i--) {
		size_t k = rng_below(rng, (uint32_t)i);
		struct shuffled kept = all[i - 1];

		all[i - 1] = all[k];
		all[k] = kept;
	}
}

/* Hands over what waits in order; the seq up to which it is whole. */
static void
take_in_order(struct batch *const *sent)
{
	const struct batch *b;

	while ((b = target_next(target)) != NULL) {
		const struct batch *as_sent = sent[(b->first_seq - 1) / 10];

		assert_int_equal(b->first_seq, as_sent->first_seq);
		assert_memory_equal(b->body, as_sent->body, as_sent->body_len);
		give_next(target, at_us(0));
	}
	target_stored(target, target->expected_seq - 1, at_us(0));
}

/* Striped: the fragments of several batches come over several lanes, in any order, some of them twice. */
static void
test_any_order_within_the_window(void **state)
{
	struct shuffled all[SHUFFLE_BATCHES * SHUFFLE_PIECES];
	struct batch *sent[SHUFFLE_BATCHES], *whole;
	struct rng rng;

	for (unsigned round = 0; round < SHUFFLE_ROUNDS; round++) {
		teardown(state);
		setup(state);
		rng_seed(&rng, round);
		for (unsigned i = 0; i < SHUFFLE_BATCHES * SHUFFLE_PIECES; i++)
			all[i] = (struct shuffled){i / SHUFFLE_PIECES, i % SHUFFLE_PIECES};
		for (unsigned i = 0; i < SHUFFLE_BATCHES; i++) {
			sent[i] = make_batch(1 + 10 * i, 10, 1200);
			assert_int_equal(piece(sent[i], 0).total, SHUFFLE_PIECES);
		}
		shuffle(all, SHUFFLE_BATCHES * SHUFFLE_PIECES, &rng);
		for (unsigned i = 0; i < SHUFFLE_BATCHES * SHUFFLE_PIECES; i++) {
			struct fragment f = piece(sent[all[i].batch], all[i].piece);

			for (unsigned again = 0; again < 1 + rng_below(&rng, 2); again++) {
				assert_int_equal(target_fragment(target, &f, at_us(0), &whole), 0);
				if (whole != NULL)
					assert_int_equal(target_complete(target, whole, at_us(0)), 0);
			}
			assert_true(budget.used_bytes <= 2 * conf.window_bytes);
			take_in_order(sent);
		}
		assert_int_equal(target->stored_seq, 10 * SHUFFLE_BATCHES);
		assert_int_equal(target->dropped, 0);
		assert_int_equal(target->reassembly == NULL ? 0 : target->reassembly->count, 0);
		for (unsigned i = 0; i < SHUFFLE_BATCHES; i++)
			batch_unref(sent[i]);
	}
}

static const struct mono past_all = {1000000 + 4LL * TARGET_REASSEMBLY_US};

static void
give_piece(const struct batch *b, uint32_t i, int64_t us)
{
	struct fragment f = piece(b, i);
	struct batch *whole;

	assert_int_equal(target_fragment(target, &f, at_us(us), &whole), 0);
	assert_null(whole);
}

/* Half a batch holds memory for so long as its fragments come, and is asked for again then. */
static void
test_half_batch_expires(void **state)
{
	const int64_t most = TARGET_REASSEMBLY_US;
	struct batch *a = make_batch(1, 10, 500), *b = make_batch(11, 10, 500);
	struct target_ack ack;

	(void)state;
	assert_true(mono_is_never(target_expiry(target)));
	assert_int_equal(target_expire(target, past_all), 0);
	give_piece(a, 0, 0);
	give_piece(b, 0, most / 2);
	assert_int_equal(target_expiry(target).us, at_us(most).us);
	/* One that is here already says that the source is there, too. */
	give_piece(a, 0, most - 1);
	assert_int_equal(target_expire(target, at_us(most)), 0);
	assert_int_equal(target_expiry(target).us, at_us(most + most / 2).us);
	assert_int_equal(target_expire(target, at_us(most + most / 2)), 1);
	assert_int_equal(budget.used_bytes, a->body_len);
	assert_true(target_ack_due(target, at_us(most + most / 2), &ack));
	assert_int_equal(ack.range_count, 0);
	assert_int_equal(target_expire(target, at_us(2 * most - 2)), 0);
	assert_int_equal(target_expire(target, at_us(2 * most - 1)), 1);
	assert_int_equal(budget.used_bytes, 0);
	assert_null(target->reassembly);
	assert_int_equal(target->dropped, 2);
	/* It comes again, whole. */
	assert_int_equal(receive(1, 10, 500), 0);
	store_all();
	assert_int_equal(target->stored_seq, 10);
	batch_unref(a);
	batch_unref(b);
}

/* Whole batches wait for one that does not come, and once more with each piece of it that does. */
static void
test_reorder_expires(void **state)
{
	const int64_t most = TARGET_REASSEMBLY_US;
	struct batch *a = make_batch(1, 10, 500);
	struct target_ack ack;

	(void)state;
	assert_int_equal(receive(11, 10, 20), 0);
	assert_int_equal(receive(31, 10, 20), 0);
	assert_int_equal(target_expire(target, at_us(0)), 0);
	assert_int_equal(target_expiry(target).us, at_us(most).us);
	give_piece(a, 0, most / 2);
	assert_int_equal(target_expire(target, at_us(most)), 0);
	give_piece(a, 1, most);
	assert_int_equal(target_expire(target, at_us(2 * most - 1)), 0);
	assert_int_equal(target_expire(target, at_us(2 * most)), 3);
	assert_int_equal(target->reorder_count, 0);
	assert_int_equal(budget.used_bytes, 0);
	assert_true(target_ack_due(target, at_us(2 * most), &ack));
	assert_int_equal(ack.range_count, 0);
	/* What comes again waits as long as before. */
	assert_int_equal(receive(11, 10, 20), 0);
	assert_int_equal(target_expire(target, at_us(3 * most)), 0);
	assert_int_equal(target_expire(target, at_us(4 * most - 1)), 0);
	assert_int_equal(receive(1, 10, 20), 0);
	store_all();
	assert_int_equal(target->stored_seq, 20);
	assert_int_equal(target_expire(target, past_all), 0);
	assert_true(mono_is_never(target_expiry(target)));
	batch_unref(a);
}

/* Behind another gap the time is that of this gap; and what this node can't take itself does not run out. */
static void
test_reorder_waits_anew(void **state)
{
	const int64_t most = TARGET_REASSEMBLY_US;

	(void)state;
	assert_int_equal(receive(11, 10, 20), 0);
	assert_int_equal(receive(31, 10, 20), 0);
	assert_int_equal(target_expire(target, at_us(0)), 0);
	assert_int_equal(receive(1, 10, 20), 0);
	store_all();
	assert_int_equal(target->reorder_count, 1);
	assert_int_equal(target_expire(target, at_us(most - 1)), 0);
	assert_int_equal(target_expiry(target).us, at_us(2 * most - 1).us);
	target_wait(target, at_us(2 * most - 2));
	assert_int_equal(target_expire(target, at_us(3 * most - 3)), 0);
	assert_int_equal(target_expire(target, at_us(3 * most - 2)), 1);
	assert_int_equal(receive(21, 10, 20), 0);
	assert_int_equal(receive(31, 10, 20), 0);
	store_all();
	assert_int_equal(target->stored_seq, 40);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_order),
	    TEST(test_epochs),
	    TEST(test_epoch_kept),
	    TEST(test_skip),
	    TEST(test_overlap),
	    TEST(test_bad_fragments),
	    TEST(test_bounds),
	    TEST(test_reorder_bound),
	    TEST(test_ack_times),
	    TEST(test_delivery),
	    TEST(test_early),
	    TEST(test_hold),
	    TEST(test_resume_beyond),
	    TEST(test_load),
	    TEST(test_close),
	    TEST(test_half_batch_expires),
	    TEST(test_reorder_expires),
	    TEST(test_reorder_waits_anew),
	    TEST(test_any_order_within_the_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
