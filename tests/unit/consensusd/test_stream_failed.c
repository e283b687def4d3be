/* What became of messages at some targets only, as cores: what flows know of dead letters, and what
 * publishers are told of them and of what was given up. */
#include "tests/unit/consensusd/make_batch.h"

#include "common/base/err.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/limits.h"
#include "consensusd/core/pending.h"
#include "consensusd/core/stream.h"

static const struct flow_conf flow_conf = {.window_bytes = 1 << 20, .rto_min_ms = 20, .rto_max_ms = 1000};
static struct budget budget = {.max_bytes = 1 << 30};
static const struct mono now = {1000000};
static struct flow flow;

static void
flow_begin(uint64_t processed)
{
	const struct flow_ack first = {.stored = processed, .processed = processed, .window_bytes = 1};

	flow_init(&flow, 7, processed, &flow_conf, &budget);
	assert_int_equal(flow_opened(&flow, &first, 10000, now), 0);
}

/* An ack that has so many dead letters, from first on, one in two messages. */
static int
ack(uint64_t processed, uint64_t from, uint64_t first, size_t count)
{
	uint64_t failed[FAILURES_ACK_MAX];
	const struct flow_ack x = {.stored = processed,
	    .processed = processed,
	    .window_bytes = 1,
	    .failed_from = from,
	    .failed = failed,
	    .failed_count = count};

	for (size_t i = 0; i < count; i++)
		failed[i] = first + 2 * i;
	return flow_acked(&flow, &x, 10000, now);
}

static void
test_flow_explained(void **state)
{
	(void)state;
	flow_begin(0);
	assert_int_equal(ack(10, 0, 5, 2), 0);
	assert_int_equal(flow.processed, 10);
	assert_true(flow_failed(&flow, 5) && flow_failed(&flow, 7) && !flow_failed(&flow, 6));
	/* Late and doubled ones say nothing new. */
	assert_int_equal(ack(8, 0, 5, 2), 0);
	assert_int_equal(ack(10, 0, 5, 2), 0);
	assert_int_equal(flow.failures.count, 2);
	/* The one between was lost, and the target has forgotten what it said. */
	assert_int_equal(ack(20, 15, 17, 1), 0);
	assert_int_equal(flow.processed, 10);
	assert_true(flow_unexplained(&flow) && !flow_failed(&flow, 17));
	assert_false(mono_before(now, flow.ask_at));
	assert_int_equal(ack(20, 10, 13, 3), 0);
	assert_int_equal(flow.processed, 20);
	assert_true(flow_failed(&flow, 13) && flow_failed(&flow, 17) && !flow_unexplained(&flow));
	/* As many as an ack has room for: more may follow. */
	assert_int_equal(ack(400, 20, 21, FAILURES_ACK_MAX), 0);
	assert_int_equal(flow.processed, 21 + 2 * (FAILURES_ACK_MAX - 1));
	assert_true(flow_unexplained(&flow));
	/* No sense. */
	assert_int_equal(ack(400, 150, 149, 1), ERR_RANGE);
	assert_int_equal(ack(400, 150, 399, 2), ERR_RANGE);
	flow_fini(&flow);
}

/* What publishers wait for is not forgotten, so no more is taken; then the oldest that is recorded goes. */
static void
test_flow_full(void **state)
{
	uint64_t first = 1;

	(void)state;
	flow_begin(0);
	for (unsigned i = 0; i < FAILURES_FLOW_MAX / FAILURES_ACK_MAX; i++, first += 2 * FAILURES_ACK_MAX)
		assert_int_equal(ack(9000, flow.processed, first, FAILURES_ACK_MAX), 0);
	assert_int_equal(flow.failures.count, FAILURES_FLOW_MAX);
	assert_int_equal(ack(9000, flow.processed, first, 3), 0);
	assert_int_equal(flow.processed, first - 1);
	assert_false(flow_unexplained(&flow));
	assert_int_equal(flow_unrecorded(&flow), 1);
	flow_settle(&flow, first - 1);
	assert_int_equal(flow.failures.count, FAILURES_FLOW_MAX);
	flow.recorded_seq = 9;
	assert_int_equal(flow_unrecorded(&flow), 11);
	flow_settle(&flow, first - 1);
	assert_int_equal(flow.failures.from, 9);
	assert_true(flow_unexplained(&flow));
	assert_int_equal(ack(9000, flow.processed, first, 3), 0);
	assert_int_equal(flow.processed, 9000);
	flow_fini(&flow);
}

static struct stream *
stream_to(size_t targets)
{
	static const struct stream_conf conf = {
	    .flow = {.window_bytes = 1 << 20, .rto_min_ms = 20, .rto_max_ms = 1000}};
	static const uint64_t nodes[] = {5, 6, 7};
	struct stream *s = stream_new(&(struct ulid){{1}}, "one", nodes, targets, &conf, &budget);

	assert_non_null(s);
	s->state = STREAM_OPEN;
	return s;
}

static struct stream *
stream_of_three(uint64_t processed, uint32_t quorum)
{
	struct stream *s = stream_to(3);

	s->policy = (struct policy){.ack = POLICY_ACK_QUORUM, .quorum = quorum};
	stream_load(s, 20);
	for (size_t i = 0; i < 3; i++)
		stream_load_processed(s, s->flows[i].node, i == 0 ? processed : 0);
	return s;
}

static void
stream_end(struct stream *s)
{
	struct pending_pool pool = {.count = 0};

	stream_free(s, &pool);
}

/* Targets are removed after a message failed at one: what others did stays done, and what failed counts no
 * more. */
static void
test_outcome_of_removed(void **state)
{
	struct stream *s = stream_of_three(9, 2);

	(void)state;
	assert_int_equal(failures_add(&s->flows[0].failures, 7), 0);
	assert_int_equal(stream_outcome(s, 7), STREAM_WAITS);
	s->flows[1].processed = 9;
	assert_int_equal(stream_outcome(s, 7), STREAM_WAITS);
	assert_int_equal(stream_outcome(s, 8), STREAM_REACHED);
	/* The one where it failed goes: the third may still process it. */
	s->flows[0].removed = true;
	assert_int_equal(stream_outcome(s, 7), STREAM_WAITS);
	s->flows[2].processed = 9;
	assert_int_equal(stream_outcome(s, 7), STREAM_REACHED);
	/* The others go instead. */
	s->flows[0].removed = false;
	s->flows[1].removed = s->flows[2].removed = true;
	assert_int_equal(stream_outcome(s, 7), STREAM_REACHED);
	stream_end(s);
}

/* All targets are replaced: what none of them is known to have processed is not told to be so. */
static void
test_outcome_of_replaced(void **state)
{
	struct stream *s = stream_to(2);
	const struct stream_record none = {.failed_count = 0};

	(void)state;
	stream_load(s, 12);
	stream_load_processed(s, s->flows[0].node, 8);
	assert_int_equal(failures_add(&s->flows[0].failures, 7), 0);
	s->flows[1].first_seq = 13;
	flow_remove(&s->flows[0], now);
	assert_false(stream_is_unsure(s, 8));
	assert_true(stream_is_unsure(s, 9) && stream_is_unsure(s, 7) && !stream_is_unsure(s, 13));
	assert_int_equal(stream_fate(s, 8, &none), STREAM_FATE_REACHED);
	assert_int_equal(stream_fate(s, 9, &none), STREAM_FATE_UNKNOWN);
	assert_int_equal(stream_fate(s, 7, &none), STREAM_FATE_UNKNOWN);
	/* Nothing was asked of them. */
	s->policy.ack = POLICY_ACK_ACCEPTED;
	assert_false(stream_is_unsure(s, 9));
	s->policy.ack = POLICY_ACK_ALL;
	/* After a restart it is not known for which messages the one that is gone was a target. */
	flow_load_removed(&s->flows[0], now);
	assert_true(stream_is_unsure(s, 8));
	assert_int_equal(stream_fate(s, 8, &none), STREAM_FATE_UNKNOWN);
	stream_end(s);
}

/* Who repeats what may have reached its quorum with targets that are forgotten is not told that it failed. */
static void
test_outcome_unknown(void **state)
{
	struct stream *s = stream_of_three(9, 1);
	const struct stream_record none = {.failed_count = 0};

	(void)state;
	s->flows[1].first_seq = s->flows[2].first_seq = 10;
	assert_int_equal(failures_add(&s->flows[0].failures, 7), 0);
	assert_int_equal(stream_outcome(s, 7), STREAM_FAILED);
	assert_true(stream_is_unsure(s, 7) && !stream_is_unsure(s, 8));
	assert_int_equal(stream_fate(s, 7, &none), STREAM_FATE_UNKNOWN);
	/* It was published after the restart, and nobody was told anything yet. */
	s->earlier_seq = 6;
	assert_false(stream_is_unsure(s, 7));
	assert_int_equal(stream_fate(s, 7, &none), STREAM_FATE_FAILED);
	s->told_seq = 7;
	assert_int_equal(stream_fate(s, 7, &none), STREAM_FATE_UNKNOWN);
	stream_end(s);
}

/* What was given up before a restart: whose it is the store knows, and with that it is decided. */
static void
test_unsure(void **state)
{
	struct stream *stream = stream_to(2);
	const struct stream_record none = {.missed_count = 0},
				   one = {.missed = {stream->flows[1].node}, .missed_count = 1},
				   first = {.missed = {stream->flows[0].node}, .missed_count = 1},
				   both = {.missed = {stream->flows[1].node, stream->flows[0].node},
				       .missed_count = 2},
				   dead = {.failed = {stream->flows[1].node}, .failed_count = 1};

	(void)state;
	stream_load(stream, 12);
	stream_load_skipped(stream, 8);
	assert_int_equal(stream->committed_seq, 8);
	assert_true(
	    stream_is_unsure(stream, 8) && !stream_is_unsure(stream, 9) && !stream_is_lost(stream, 1));
	assert_int_equal(stream_fate(stream, 2, &none), STREAM_FATE_UNSAID);
	stream_load_processed(stream, stream->flows[0].node, 10);
	assert_int_equal(stream_fate(stream, 2, &none), STREAM_FATE_UNSAID);
	stream_load_processed(stream, stream->flows[1].node, 10);
	assert_int_equal(stream_fate(stream, 2, &none), STREAM_FATE_REACHED);
	assert_int_equal(stream_fate(stream, 2, &one), STREAM_FATE_LOST);
	assert_int_equal(stream_fate(stream, 2, &dead), STREAM_FATE_FAILED);
	/* And of what failed so long ago that it is forgotten here. */
	failures_cut(&stream->flows[1].failures, 10);
	assert_true(stream_is_unsure(stream, 10) && !stream_is_unsure(stream, 11));
	assert_int_equal(stream_fate(stream, 10, &none), STREAM_FATE_REACHED);
	assert_int_equal(stream_fate(stream, 10, &dead), STREAM_FATE_FAILED);
	stream->policy.ack = POLICY_ACK_QUORUM;
	stream->policy.quorum = 1;
	assert_int_equal(stream_fate(stream, 2, &one), STREAM_FATE_REACHED);
	assert_int_equal(stream_fate(stream, 2, &both), STREAM_FATE_LOST);
	assert_int_equal(stream_fate(stream, 10, &dead), STREAM_FATE_REACHED);
	/* One that came later says nothing of it, and others may have had it then. */
	stream->flows[1].first_seq = 5;
	assert_int_equal(stream_fate(stream, 2, &first), STREAM_FATE_UNKNOWN);
	flow_gone(&stream->flows[1]);
	stream->policy = (struct policy){0};
	assert_int_equal(stream_fate(stream, 2, &one), STREAM_FATE_REACHED);
	stream_end(stream);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_flow_explained),
	    cmocka_unit_test(test_flow_full),
	    cmocka_unit_test(test_outcome_of_removed),
	    cmocka_unit_test(test_outcome_of_replaced),
	    cmocka_unit_test(test_outcome_unknown),
	    cmocka_unit_test(test_unsure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
