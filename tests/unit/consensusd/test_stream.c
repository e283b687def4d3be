/* A stream at its source: seqs, idempotency, batches, progress, closing; and what order.h promises. */
#include "tests/unit/consensusd/make_batch.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/idwindow.h"
#include "consensusd/core/limits.h"
#include "consensusd/core/order.h"
#include "consensusd/core/pending.h"
#include "consensusd/core/stream.h"
#include "consensusd/core/target.h"

static const struct stream_conf conf = {
    .flow = {.window_bytes = 100000, .rto_min_ms = 100, .rto_max_ms = 1000},
    .batch_messages = 4,
    .batch_bytes = 1000,
    .backlog_bytes = 1000000,
};
static const struct mono now = {1000000};
static struct budget budget;
static struct pending_pool pool;
static struct idwindows ids;
static struct rng rng;
static struct stream *stream;
static uint8_t payload[5000];

static int
setup(void **state)
{
	const uint64_t targets[] = {7, 8};
	struct ulid id = make_id(1);

	(void)state;
	rng_seed(&rng, 1);
	budget = (struct budget){.max_bytes = 1 << 24};
	idwindows_init(&ids, 64, 64, 64, 1);
	stream = stream_new(&id, "t", targets, 2, &conf, &budget);
	assert_non_null(stream);
	stream->state = STREAM_OPEN;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	stream_free(stream, &pool);
	pending_pool_fini(&pool);
	idwindows_fini(&ids);
	assert_int_equal(budget.used_bytes, 0);
	return 0;
}

static int
publish_id(uint64_t seq, uint64_t id, size_t len, uint64_t *got)
{
	const struct publish p = {
	    .seq = seq, .named = id != 0, .message_id = make_id(id), .payload = payload, .payload_len = len};

	return stream_publish(stream, &pool, &ids, &p, got);
}

static int
publish(uint64_t seq, size_t len)
{
	uint64_t got;

	return publish_id(seq, 0, len, &got);
}

/* What the shell does; content does not matter here. */
static void
seal(void)
{
	uint32_t count = stream->pending->count;

	assert_true(stream_sealable(stream));
	stream_sealed(stream, &pool, make_batch(stream->next_seq - count, count, 100));
	assert_false(stream_sealable(stream));
}

static void
publish_batches(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		for (int k = 0; k < 4; k++)
			assert_int_equal(publish(0, 10), PUBLISH_NEW);
		seal();
		stream_given(stream);
	}
	stream_durable(stream, stream->next_seq - 1);
}

static void
open_flow(size_t i)
{
	const struct flow_ack a = {.window_bytes = 100000};

	assert_int_equal(flow_opened(&stream->flows[i], &a, stream->durable_seq, now), 0);
}

static void
test_seqs(void **state)
{
	uint64_t seq;

	(void)state;
	assert_int_equal(publish(2, 1), ERR_GAP);
	assert_int_equal(publish_id(0, 0, 1, &seq), PUBLISH_NEW);
	assert_int_equal(seq, 1);
	assert_int_equal(publish_id(2, 0, 1, &seq), PUBLISH_NEW);
	assert_int_equal(publish_id(1, 0, 1, &seq), PUBLISH_KNOWN);
	assert_int_equal(seq, 1);
	assert_int_equal(stream->next_seq, 3);
	/* Ids: in pending, then sealed, then in the tail. */
	assert_int_equal(publish_id(3, 33, 1, &seq), PUBLISH_NEW);
	assert_int_equal(publish_id(3, 34, 1, &seq), ERR_EXISTS);
	assert_int_equal(publish_id(3, 33, 1, &seq), PUBLISH_KNOWN);
	assert_int_equal(publish_id(0, 33, 1, &seq), PUBLISH_KNOWN);
	assert_int_equal(seq, 3);
	assert_int_equal(publish_id(4, 33, 1, &seq), ERR_EXISTS);
	seal();
	assert_int_equal(publish_id(2, 2, 1, &seq), PUBLISH_KNOWN);
	assert_int_equal(publish_id(2, 99, 1, &seq), ERR_EXISTS);
	stream_given(stream);
	assert_int_equal(publish_id(2, 99, 1, &seq), ERR_EXISTS);
	assert_int_equal(publish_id(2, 2, 1, &seq), PUBLISH_KNOWN);
}

static void
test_batches(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(publish(0, 10), PUBLISH_NEW);
	assert_int_equal(publish(0, 10), ERR_AGAIN);
	seal();
	/* The next one forms while this one is not taken. */
	assert_int_equal(publish(0, 600), PUBLISH_NEW);
	assert_int_equal(publish(0, 600), ERR_AGAIN);
	stream_given(stream);
	seal();
	stream_given(stream);
	/* A message larger than a batch is one. */
	assert_int_equal(publish(0, 5000), PUBLISH_NEW);
	assert_int_equal(publish(0, 1), ERR_AGAIN);
	assert_int_equal(pool.count, 0);
}

static void
test_drop_pending(void **state)
{
	const struct waiter w = {.seq = 5};
	struct waiter out;
	uint64_t seq;

	(void)state;
	publish_batches(1);
	assert_int_equal(publish_id(0, 77, 10, &seq), PUBLISH_NEW);
	assert_int_equal(waiters_add(&stream->waiters, &w), 0);
	stream_drop_pending(stream, &pool, &ids);
	assert_int_equal(stream->next_seq, 5);
	assert_true(waiters_pop_from(&stream->waiters, stream->next_seq, &out));
	assert_false(waiters_pop_from(&stream->waiters, stream->next_seq, &out));
	/* The id was never used. */
	assert_int_equal(publish_id(0, 77, 10, &seq), PUBLISH_NEW);
	assert_int_equal(seq, 5);
}

static void
test_sending(void **state)
{
	struct stream_order o;
	struct flow *f = &stream->flows[0];

	(void)state;
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_ASK);
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_IDLE);
	open_flow(0);
	for (int k = 0; k < 4; k++)
		assert_int_equal(publish(0, 10), PUBLISH_NEW);
	seal();
	stream_given(stream);
	/* Durable before sent. */
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_IDLE);
	stream_durable(stream, 4);
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_SEND);
	assert_int_equal(o.batch->first_seq, 1);
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_IDLE);
	/* Not in memory: read, once at a time. */
	publish_batches(1);
	tail_reset(&stream->tail, 9);
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_READ);
	assert_int_equal(o.from_seq, 5);
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_IDLE);
	struct batch *b = make_batch(5, 4, 100), *other = make_batch(1, 4, 100);

	assert_false(stream_read(stream, f, other, now));
	assert_true(stream_read(stream, f, b, now));
	assert_false(stream_read(stream, f, NULL, now));
	assert_int_equal(f->next_seq, 9);
	batch_unref(b);
	batch_unref(other);
}

static void
test_commit(void **state)
{
	struct waiter w;
	const struct flow_ack a = {.stored = 8, .processed = 6, .window_bytes = 1};

	(void)state;
	publish_batches(2);
	for (uint64_t seq = 1; seq <= 8; seq++) {
		w = (struct waiter){.seq = seq, .call = 100 + seq};
		assert_int_equal(waiters_add(&stream->waiters, &w), 0);
	}
	open_flow(0);
	open_flow(1);
	assert_int_equal(flow_acked(&stream->flows[0], &a, 8, now), 0);
	assert_false(stream_commit(stream));
	assert_int_equal(flow_acked(&stream->flows[1], &a, 8, now), 0);
	assert_true(stream_commit(stream));
	assert_int_equal(stream->committed_seq, 6);
	for (uint64_t seq = 1; seq <= 6; seq++) {
		assert_true(waiters_pop(&stream->waiters, stream->committed_seq, &w));
		assert_int_equal(w.call, 100 + seq);
	}
	assert_false(waiters_pop(&stream->waiters, stream->committed_seq, &w));
	/* Both targets have it: it need not be kept. */
	assert_int_equal(stream->tail.count, 0);
}

/* Each level has a mark of its own; what may leave the outbox is another matter. */
static void
test_answered(void **state)
{
	const struct flow_ack some = {.stored = 8, .processed = 6, .window_bytes = 1};
	const struct flow_ack few = {.stored = 8, .processed = 2, .window_bytes = 1};

	(void)state;
	publish_batches(2);
	open_flow(0);
	open_flow(1);
	assert_int_equal(flow_acked(&stream->flows[0], &some, 8, now), 0);
	assert_false(stream_commit(stream));
	assert_int_equal(stream_answered(stream), 0);
	stream->policy = (struct policy){.ack = POLICY_ACK_QUORUM, .quorum = 1};
	assert_int_equal(stream_answered(stream), 6);
	stream->policy.quorum = 2;
	assert_int_equal(stream_answered(stream), 0);
	assert_int_equal(flow_acked(&stream->flows[1], &few, 8, now), 0);
	assert_int_equal(stream_answered(stream), 2);
	stream->policy = (struct policy){.ack = POLICY_ACK_ACCEPTED};
	assert_int_equal(stream_answered(stream), 8);
	stream->policy.ack = POLICY_ACK_COMMITTED;
	assert_int_equal(stream_answered(stream), 0);
	stream_fixed(stream, 7);
	assert_int_equal(stream_answered(stream), 7);
	stream_fixed(stream, 3);
	assert_int_equal(stream_answered(stream), 7);
	stream_fixed(stream, 100);
	assert_int_equal(stream_answered(stream), 8);
	assert_true(stream_commit(stream));
	assert_int_equal(stream->committed_seq, 2);
	stream->fixed_seq = 0;
	assert_int_equal(stream_answered(stream), 2);
}

static void
test_hopeless(void **state)
{
	(void)state;
	flow_refused(&stream->flows[0], now, &rng);
	assert_true(stream_hopeless(stream));
	stream->policy = (struct policy){.ack = POLICY_ACK_QUORUM, .quorum = 1};
	assert_false(stream_hopeless(stream));
	stream->policy.quorum = 2;
	assert_true(stream_hopeless(stream));
	flow_refused(&stream->flows[1], now, &rng);
	stream->policy.quorum = 1;
	assert_true(stream_hopeless(stream));
	stream->policy.ack = POLICY_ACK_COMMITTED;
	assert_false(stream_hopeless(stream));
	stream->policy.ack = POLICY_ACK_ACCEPTED;
	assert_false(stream_hopeless(stream));
}

static void
test_first_of(void **state)
{
	struct waiter w = {.seq = 4, .call = 7};

	(void)state;
	assert_int_equal(waiters_first_of(&stream->waiters, 7), 0);
	assert_int_equal(waiters_add(&stream->waiters, &w), 0);
	w = (struct waiter){.seq = 5, .call = 8};
	assert_int_equal(waiters_add(&stream->waiters, &w), 0);
	w = (struct waiter){.seq = 2, .call = 8};
	assert_int_equal(waiters_add(&stream->waiters, &w), 0);
	assert_int_equal(waiters_first_of(&stream->waiters, 7), 4);
	assert_int_equal(waiters_first_of(&stream->waiters, 8), 2);
	assert_int_equal(waiters_first_of(&stream->waiters, 9), 0);
}

static void
retain(uint64_t bytes, uint64_t ms, enum policy_overflow overflow)
{
	const struct policy p = {.retention_bytes = bytes, .retention_ms = ms, .overflow = overflow};

	stream_set_policy(stream, &p);
}

/* Batches of 480 bytes are kept up to a size, and up to an age. */
static void
test_overflow(void **state)
{
	struct stream_order order;
	struct flow *f = &stream->flows[0];
	const struct flow_ack some = {.stored = 8, .processed = 4, .window_bytes = 100000};
	const struct flow_ack all = {.stored = 400, .processed = 4, .window_bytes = 100000};

	(void)state;
	retain(20000, 0, POLICY_HOLD);
	stream->now_ms = 1000;
	publish_batches(100);
	assert_int_equal(stream_overflow(stream), 0);
	assert_true(stream_held(stream, false) && stream_overfull(stream));
	retain(20000, 0, POLICY_DROP);
	assert_false(stream_held(stream, false));
	/* So many that what is left fits, in whole batches. */
	assert_true(stream_overflow(stream) >= 200 && stream_overflow(stream) < 400);
	assert_int_equal(stream_overflow(stream) % 4, 0);
	open_flow(0);
	open_flow(1);
	assert_int_equal(stream_poll(stream, f, now, &rng, &order), STREAM_SEND);
	assert_int_equal(flow_acked(f, &some, 400, now), 0);
	/* Nothing is lost, or told, before that is durable. */
	stream_give_up(stream, 300);
	assert_int_equal(stream_overflow(stream), 0);
	assert_int_equal(stream_poll(stream, f, now, &rng, &order), STREAM_SEND);
	assert_false(stream_is_lost(stream, 1));
	stream_skip(stream, 300, now);
	assert_int_equal(stream->skipped_seq, 300);
	assert_true(stream_is_lost(stream, 1) && stream_is_lost(stream, 300) && !stream_is_lost(stream, 301));
	assert_true(stream_commit(stream));
	assert_int_equal(stream->committed_seq, 300);
	assert_true(stream->ledger.total_bytes <= 100 * 480);
	/* The target is told, and gets what is behind. */
	assert_int_equal(stream_poll(stream, f, now, &rng, &order), STREAM_SKIP);
	assert_int_equal(stream_poll(stream, f, now, &rng, &order), STREAM_SEND);
	assert_int_equal(order.batch->first_seq, 301);
	assert_true(stream_deadline(stream, f).us <= now.us + 2000000);
	assert_int_equal(stream_poll(stream, f, mono_add_ms(now, 5000), &rng, &order), STREAM_SKIP);
	assert_int_equal(flow_acked(f, &all, 400, now), 0);
	assert_int_equal(stream_poll(stream, f, mono_add_ms(now, 9000), &rng, &order), STREAM_ASK);
	/* One that says where it is when it was away is told, too. */
	flow_reopen(&stream->flows[1], now);
	open_flow(1);
	assert_int_equal(stream_poll(stream, &stream->flows[1], now, &rng, &order), STREAM_SKIP);
	assert_int_equal(stream->flows[1].next_seq, 301);
}

static void
test_overflow_by_age(void **state)
{
	(void)state;
	retain(0, 10000, POLICY_HOLD);
	stream->now_ms = 1000;
	publish_batches(1);
	stream->now_ms = 5000;
	publish_batches(1);
	stream->now_ms = 11000;
	assert_false(stream_aged(stream));
	stream->now_ms = 11001;
	assert_true(stream_aged(stream));
	retain(0, 10000, POLICY_DROP);
	assert_false(stream_aged(stream));
	assert_int_equal(stream_overflow(stream), 4);
	stream->now_ms = 15001;
	assert_int_equal(stream_overflow(stream), 8);
	stream->durable_seq = 7;
	assert_int_equal(stream_overflow(stream), 4);
	stream->durable_seq = 8;
	/* What was answered is not lost; ranges that are many become fewer. */
	stream->policy.ack = POLICY_ACK_ACCEPTED;
	stream_give_up(stream, 4);
	stream_skip(stream, 4, now);
	assert_false(stream_is_lost(stream, 3));
}

/* From when the store is told to when that is durable nobody gets an answer that would be wrong after a
 * crash. */
static void
test_giving_up(void **state)
{
	const struct flow_ack done = {.stored = 8, .processed = 8, .window_bytes = 100000};

	(void)state;
	retain(20000, 0, POLICY_DROP);
	publish_batches(3);
	open_flow(0);
	open_flow(1);
	stream_give_up(stream, 4);
	for (int i = 0; i < 2; i++)
		assert_int_equal(flow_acked(&stream->flows[i], &done, 12, now), 0);
	assert_true(stream_commit(stream));
	assert_int_equal(stream->committed_seq, 8);
	assert_int_equal(stream_answered(stream), 0);
	stream_skip(stream, 4, now);
	assert_int_equal(stream_answered(stream), 8);
	assert_true(stream_is_lost(stream, 1) && stream_is_lost(stream, 4) && !stream_is_lost(stream, 5));
}

/* A target that lost what it had, when all that is left is to close the stream. */
static void
test_contradicts(void **state)
{
	struct flow *f = &stream->flows[0];
	const struct flow_ack all = {.stored = 4, .processed = 4, .window_bytes = 1}, less = {.stored = 3};

	(void)state;
	publish_batches(1);
	open_flow(0);
	assert_int_equal(flow_acked(f, &all, 4, now), 0);
	assert_false(stream_contradicts(stream, f, &less));
	assert_int_equal(stream_close(stream), 0);
	assert_false(stream_contradicts(stream, f, &less)); /* it is not told yet */
	f->recorded_seq = 4;
	assert_true(stream_contradicts(stream, f, &less));
	assert_false(stream_contradicts(stream, f, &all));
	flow_refused(f, now, &rng);
	assert_false(stream_contradicts(stream, f, &less));
}

static void
test_marks(void **state)
{
	(void)state;
	assert_false(stream_held(stream, false));
	while (!stream_held(stream, false)) {
		assert_int_equal(publish(0, 10), PUBLISH_NEW);
		stream_sealed(stream, &pool, make_batch(stream->next_seq - 1, 1, 5000));
		stream_given(stream);
		stream_durable(stream, stream->next_seq - 1);
	}
	assert_in_range(stream->next_seq, 195, 205);
	assert_false(stream_overfull(stream));
	/* When memory is short, only a window of it is kept. */
	assert_true(budget.used_bytes > 900000);
	stream_trim(stream);
	assert_true(budget.used_bytes <= conf.flow.window_bytes + 6000);
	ledger_cut(&stream->ledger, 30);
	assert_true(stream_held(stream, true));
	ledger_cut(&stream->ledger, 70);
	assert_false(stream_held(stream, true));
}

/* Targets that are there set the pace, before anything has to be read back. */
static void
test_pace(void **state)
{
	size_t mark = budget.max_bytes / 16;

	(void)state;
	open_flow(0);
	while (stream->tail.bytes <= mark) {
		assert_false(stream_held(stream, false));
		assert_int_equal(publish(0, 10), PUBLISH_NEW);
		stream_sealed(stream, &pool, make_batch(stream->next_seq - 1, 1, 5000));
		stream_given(stream);
		stream_durable(stream, stream->next_seq - 1);
		stream->ledger.total_bytes = 0;
	}
	assert_false(stream_held(stream, false)); /* one of them is away: the outbox may grow */
	open_flow(1);
	assert_true(stream_held(stream, false));
	tail_trim(&stream->tail, mark / 2, stream->durable_seq);
	assert_false(stream_held(stream, true));
}

static void
test_closing(void **state)
{
	struct stream_order o;
	const struct flow_ack a = {.stored = 4, .processed = 4, .window_bytes = 1};
	struct flow *f = &stream->flows[0];

	(void)state;
	publish_batches(1);
	assert_int_equal(stream_close(stream), 0);
	assert_int_equal(stream_close(stream), ERR_STATE);
	assert_int_equal(publish(0, 1), ERR_STATE);
	assert_int_equal(publish(3, 1), PUBLISH_KNOWN);
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_ASK);
	open_flow(0);
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_SEND);
	assert_int_equal(flow_acked(f, &a, 4, now), 0);
	/* It must be on record here before the target may forget. */
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_IDLE);
	f->recorded_seq = 4;
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_END);
	assert_int_equal(stream_poll(stream, f, now, &rng, &o), STREAM_IDLE);
	assert_true(stream_deadline(stream, f).us > now.us);
	f->state = FLOW_CLOSED;
	assert_false(stream_finished(stream));
	/* A target that refuses can't hold up the end. */
	flow_refused(&stream->flows[1], now, &rng);
	assert_true(stream_finished(stream));
	assert_true(mono_is_never(stream_deadline(stream, &stream->flows[1])));
}

static void
test_load(void **state)
{
	(void)state;
	stream_load(stream, 100);
	stream_load_processed(stream, 7, 90);
	stream_load_processed(stream, 8, 120);
	stream_load_processed(stream, 9, 500);
	assert_int_equal(stream->next_seq, 121);
	assert_int_equal(stream->durable_seq, 120);
	assert_int_equal(stream->committed_seq, 90);
	assert_int_equal(stream->flows[0].next_seq, 91);
	assert_int_equal(stream->flows[0].recorded_seq, 90);
}

static unsigned done_count;

static void
done(void *arg, const struct order_entry *e)
{
	(void)arg;
	/* The mark is raised before the shell hears of it. */
	assert_true(e->kind != ORDER_OUTBOX || stream->durable_seq >= e->seq);
	done_count++;
}

/* --- targets that come and go --- */

static struct order moves;
static unsigned moved_count;

static void
on_moved(void *arg, struct flow *from, struct flow *to)
{
	order_move(arg, from, to);
	moved_count++;
}

static void
add_target(uint64_t node)
{
	const struct flow *f;

	assert_true(stream_has_places(stream, &node, 1));
	assert_int_equal(stream_reserve(stream, on_moved, &moves), 0);
	f = stream_add(stream, node);
	assert_ptr_equal(f, stream_flow(stream, node));
	assert_int_equal(f->first_seq, stream->next_seq);
	assert_int_equal(f->next_seq, stream->next_seq);
}

static void
test_added(void **state)
{
	struct stream_order o;

	(void)state;
	order_init(&moves);
	moved_count = 0;
	publish_batches(2);
	assert_int_equal(order_reserve(&moves), 0);
	order_add(&moves, 1, ORDER_RECORDED, &stream->flows[1], 3);
	mem_fail_at(1);
	assert_int_equal(stream_reserve(stream, on_moved, &moves), ERR_NOMEM);
	mem_fail_at(0);
	add_target(9);
	assert_int_equal(moved_count, 2);
	order_durable(&moves, 1, now, done, NULL);
	assert_int_equal(stream->flows[1].recorded_seq, 3);
	order_fini(&moves);
	publish_batches(1);
	/* All that it gets, and nothing older. */
	assert_int_equal(stream_poll(stream, &stream->flows[2], now, &rng, &o), STREAM_ASK);
	assert_int_equal(
	    flow_opened(&stream->flows[2], &(struct flow_ack){.stored = 8, .processed = 8, .window_bytes = 9},
		stream->durable_seq, now),
	    0);
	assert_int_equal(stream_poll(stream, &stream->flows[2], now, &rng, &o), STREAM_SEND);
	assert_int_equal(o.batch->first_seq, 9);
	assert_false(stream_commit(stream));
	assert_true(flow_concerns(&stream->flows[2], 9));
	assert_false(flow_concerns(&stream->flows[2], 8));
}

static void
test_removed(void **state)
{
	struct stream_order o;
	uint64_t nodes[STREAM_TARGETS_MAX];

	(void)state;
	publish_batches(2);
	stream_load_processed(stream, 7, 5);
	stream_load_processed(stream, 8, 8);
	assert_int_equal(stream->committed_seq, 5);
	flow_remove(&stream->flows[0], now);
	assert_true(stream_commit(stream));
	assert_int_equal(stream->committed_seq, 8);
	assert_true(flow_concerns(&stream->flows[0], 5));
	assert_false(flow_concerns(&stream->flows[0], 6));
	/* It is told until it knows; until then the stream does not end, and its place is not free. */
	assert_int_equal(stream_poll(stream, &stream->flows[0], now, &rng, &o), STREAM_ASK);
	assert_int_equal(stream_poll(stream, &stream->flows[0], now, &rng, &o), STREAM_IDLE);
	assert_true(mono_before(now, stream_deadline(stream, &stream->flows[0])));
	for (size_t i = 0; i < STREAM_TARGETS_MAX; i++)
		nodes[i] = 100 + i;
	assert_true(stream_has_places(stream, nodes, STREAM_TARGETS_MAX - 2));
	assert_false(stream_has_places(stream, nodes, STREAM_TARGETS_MAX - 1));
	assert_int_equal(stream_close(stream), 0);
	stream->flows[1].state = FLOW_CLOSED;
	assert_false(stream_finished(stream));
	flow_told(&stream->flows[0]);
	assert_true(stream_finished(stream));
	assert_true(mono_is_never(stream_deadline(stream, &stream->flows[0])));
	assert_true(stream_has_places(stream, nodes, STREAM_TARGETS_MAX - 1));
	add_target(9);
	assert_int_equal(stream->flow_count, 2);
	assert_int_equal(stream->flows[0].node, 9);
}

/* What it has in memory, and in the row of another stream that took its place, is not mixed up. */
static void
test_load_first(void **state)
{
	(void)state;
	stream_load(stream, 0);
	stream_load_first(stream, 8, 51);
	assert_int_equal(stream->next_seq, 51);
	assert_int_equal(stream->flows[1].processed, 50);
	assert_int_equal(stream->fixed_seq, 0); /* the group may lack some of it */
	stream_load_processed(stream, 8, 20);   /* of a time before it was removed */
	assert_int_equal(stream->flows[1].processed, 50);
	stream_load_processed(stream, 8, 60);
	assert_int_equal(stream->flows[1].first_seq, 51);
	assert_int_equal(stream->next_seq, 61);
	assert_int_equal(stream->committed_seq, 0);
	stream_load_processed(stream, 7, 55);
	assert_int_equal(stream->committed_seq, 55);
}

/* A restart after a target came in another's place: what was before it is processed, as it was. */
static void
test_load_after_exchange(void **state)
{
	(void)state;
	stream_load_first(stream, 7, 51);
	flow_remove(stream_flow(stream, 8), MONO_ZERO);
	stream_load_processed(stream, 8, 40);
	assert_int_equal(stream->committed_seq, 50);
}

/* n of those that get a message. */
static void
test_quorum_of_changed(void **state)
{
	const struct policy p = {.ack = POLICY_ACK_QUORUM, .quorum = 2};

	(void)state;
	stream_set_policy(stream, &p);
	publish_batches(2);
	add_target(9);
	publish_batches(2);
	stream->flows[0].processed = 4;
	assert_int_equal(stream_answered(stream), 0);
	stream->flows[0].processed = 12;
	stream->flows[2].processed = 12;
	assert_int_equal(stream_answered(stream), 0);
	stream->flows[1].processed = 6;
	assert_int_equal(stream_answered(stream), 6);
	stream->flows[1].processed = 8;
	assert_int_equal(stream_answered(stream), 12);
	/* One that was removed does not count any more, but for what was reached with it. */
	assert_true(stream_commit(stream));
	flow_remove(&stream->flows[0], now);
	publish_batches(1);
	stream->flows[0].processed = stream->flows[2].processed = 16;
	assert_false(stream_commit(stream));
	assert_int_equal(stream_answered(stream), 12);
	assert_false(stream_hopeless(stream));
	flow_refused(&stream->flows[1], now, &rng);
	assert_true(stream_hopeless(stream));
}

/* --- order --- */

static void
test_order(void **state)
{
	struct order o;

	(void)state;
	order_init(&o);
	done_count = 0;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(publish(0, 10), PUBLISH_NEW);
		seal();
		stream_given(stream);
	}
	mem_fail_at(1);
	assert_int_equal(order_reserve(&o), ERR_NOMEM);
	mem_fail_at(0);
	stream->state = STREAM_OPENING;
	assert_int_equal(order_reserve(&o), 0);
	order_add(&o, 1, ORDER_STREAM_ROW, stream, STREAM_OPENING);
	order_add(&o, 2, ORDER_OUTBOX, stream, 1);
	order_add(&o, 2, ORDER_RECORDED, &stream->flows[0], 1);
	order_add(&o, 3, ORDER_OUTBOX, stream, 2);
	assert_true(order_busy(&o));
	order_durable(&o, 0, now, done, NULL);
	assert_int_equal(stream->state, STREAM_OPENING);
	order_durable(&o, 1, now, done, NULL);
	assert_int_equal(stream->state, STREAM_OPEN);
	assert_int_equal(stream->durable_seq, 0);
	order_durable(&o, 2, now, done, NULL);
	assert_int_equal(stream->durable_seq, 1);
	assert_int_equal(stream->flows[0].recorded_seq, 1);
	order_durable(&o, 9, now, done, NULL);
	assert_int_equal(stream->durable_seq, 2);
	assert_int_equal(done_count, 4);
	assert_false(order_busy(&o));
	order_fini(&o);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_seqs),
	    TEST(test_batches),
	    TEST(test_drop_pending),
	    TEST(test_sending),
	    TEST(test_commit),
	    TEST(test_answered),
	    TEST(test_hopeless),
	    TEST(test_first_of),
	    TEST(test_overflow),
	    TEST(test_overflow_by_age),
	    TEST(test_giving_up),
	    TEST(test_contradicts),
	    TEST(test_marks),
	    TEST(test_pace),
	    TEST(test_closing),
	    TEST(test_load),
	    TEST(test_added),
	    TEST(test_removed),
	    TEST(test_load_after_exchange),
	    TEST(test_load_first),
	    TEST(test_quorum_of_changed),
	    TEST(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
