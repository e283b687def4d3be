/* Messages that became dead letters: what a target tells its source, what that takes, records and tells
 * publishers, over lost acks, restarts of both, and more of them than anybody remembers. */
#include "tests/unit/consensusd/env.h"

#include "consensusd/e2e.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"

enum { SUBSCRIBE_CALL = 9, PUBLISH_CALL = 20 };

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1], *const c = &env.nodes[2];

static uint32_t waited_call;
static struct env_node *waited_node;
static unsigned waited_count;

static bool
has_items(struct env *e)
{
	(void)e;
	return waited_node->calls[waited_call].items >= waited_count;
}

static void
until_items(struct env_node *n, unsigned count)
{
	waited_node = n;
	waited_call = SUBSCRIBE_CALL;
	waited_count = count;
	env_run(&env, has_items);
}

static void
open_stream(const char *targets, const char *level, int quorum)
{
	assert_int_equal(env_open_policy(a, S1, targets, level, quorum, false)->replies, 1);
}

static void
subscribe(struct env_node *n)
{
	mesh_v1_StreamSelector sel = env_selector("one", S1);

	env_subscribe(n, SUBSCRIBE_CALL, &sel);
}

static void
publish(int64_t seq)
{
	const mesh_v1_Chunk chunk = env_chunk(S1, seq);

	env_forget(a, PUBLISH_CALL + (uint32_t)seq);
	env_publish_send(a, GC_PUBLISH, PUBLISH_CALL + (uint32_t)seq, &chunk, "hello", 5);
}

static mesh_v1_PublishResult
result(int64_t seq)
{
	struct env_call *call = env_wait(a, PUBLISH_CALL + (uint32_t)seq);
	mesh_v1_PublishResult r = mesh_v1_PublishResult_init_zero;

	if (call->replies != 1)
		fail_msg("%s", call->message);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_PublishResult_fields, &r), 0);
	assert_int_equal(r.seq, seq);
	return r;
}

/* Without the ids of nodes, which stand in brackets. */
static void
drop_ids(char *text)
{
	char *end, *at;

	while ((at = strstr(text, " (")) != NULL && (end = strchr(at, ')')) != NULL)
		memmove(at, end + 1, strlen(end + 1) + 1);
}

static void
assert_failed(int64_t seq, const char *error)
{
	mesh_v1_PublishResult r = result(seq);

	assert_false(r.success);
	drop_ids(r.error);
	assert_string_equal(r.error, error);
	assert_string_equal(r.level, "");
	assert_true(r.failed_nodes_count > 0);
}

static void
assert_reached(int64_t seq, unsigned processed, unsigned failed)
{
	mesh_v1_PublishResult r = result(seq);

	assert_true(r.success);
	assert_string_equal(r.error, "");
	assert_int_equal(r.processed_nodes_count, processed);
	assert_int_equal(r.failed_nodes_count, failed);
}

static void
assert_status(struct env_node *n, int64_t seq, const char *state, const char *error)
{
	mesh_v1_MessageStatusReq req = {.stream_id = S1, .seq = seq};
	mesh_v1_MessageStatus m = mesh_v1_MessageStatus_init_zero;
	struct env_call *call;

	env_forget(n, 3);
	env_send_pb(n->gateway, GC_MESSAGE, 3, mesh_v1_MessageStatusReq_fields, &req);
	call = env_wait(n, 3);
	assert_int_equal(call->replies, 1);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_MessageStatus_fields, &m), 0);
	assert_string_equal(m.state, state);
	assert_int_equal(m.targets_count, 1);
	assert_string_equal(m.targets[0].state, state);
	if (strstr(m.targets[0].error, error) == NULL)
		fail_msg("'%s' does not say '%s'", m.targets[0].error, error);
}

static void
restart(struct env_node *n)
{
	env_stop(n);
	env_start(n);
	env_run(&env, env_ready);
}

static void
test_all(void **state)
{
	(void)state;
	open_stream("b", "", 0);
	subscribe(b);
	for (int64_t seq = 1; seq <= 3; seq++)
		publish(seq);
	until_items(b, 3);
	env_nack(b, SUBSCRIBE_CALL, S1, 2, true);
	env_ack(b, SUBSCRIBE_CALL, S1, 1);
	env_ack(b, SUBSCRIBE_CALL, S1, 3);
	assert_reached(1, 1, 0);
	assert_failed(2, "dead letter at b");
	assert_int_equal(result(2).processed_nodes_count, 0);
	assert_reached(3, 1, 0);
	assert_status(a, 2, "failed", "dead letter");
	assert_status(b, 2, "failed", "dead letter");
	assert_status(b, 3, "processed", "");
	/* The same answer again, after restarts, too. */
	for (int i = 0; i < 3; i++) {
		publish(2);
		publish(3);
		assert_failed(2, "dead letter at b");
		assert_reached(3, 1, 0);
		assert_status(a, 2, "failed", "dead letter");
		restart(i == 0 ? b : a);
		assert_status(b, 2, "failed", "");
	}
}

/* The store has it and memory does not. */
static void
test_forgotten(void **state)
{
	struct ulid id;

	(void)state;
	test_all(state);
	assert_int_equal(ulid_parse(S1, &id), 0);
	failures_cut(&source_find(&a->engine, &id)->stream->flows[0].failures, 3);
	publish(2);
	publish(3);
	assert_failed(2, "dead letter at b");
	assert_reached(3, 1, 0);
}

static bool
without_acks(struct env *e, size_t from, struct frame *f)
{
	(void)e;
	return from != 1 || (f->type != FRAME_DATA_ACK && f->type != FRAME_STREAM);
}

static bool
has_letter(struct env *e)
{
	(void)e;
	return fake_dbs[1].letters.count == 1;
}

/* All acks that tell of it are lost; then the target begins again, and it has forgotten. */
static void
test_lost_acks(void **state)
{
	struct ulid id;

	(void)state;
	open_stream("b", "", 0);
	subscribe(b);
	publish(1);
	publish(2);
	until_items(b, 2);
	env.filter = without_acks;
	env_nack(b, SUBSCRIBE_CALL, S1, 1, true);
	env_ack(b, SUBSCRIBE_CALL, S1, 2);
	env_run(&env, has_letter);
	restart(b);
	assert_int_equal(ulid_parse(S1, &id), 0);
	failures_cut(&sink_find(&b->engine, &id)->target->failures, 2);
	env.filter = NULL;
	assert_failed(1, "dead letter at b");
	assert_reached(2, 1, 0);
}

static void
test_quorum(void **state)
{
	(void)state;
	open_stream("bc", "quorum", 1);
	subscribe(b);
	subscribe(c);
	for (int64_t seq = 1; seq <= 3; seq++)
		publish(seq);
	until_items(b, 3);
	until_items(c, 3);
	env_nack(b, SUBSCRIBE_CALL, S1, 1, true);
	env_nack(b, SUBSCRIBE_CALL, S1, 2, true);
	env_ack(b, SUBSCRIBE_CALL, S1, 3);
	/* What is behind does not wait for what may still reach it. */
	assert_reached(3, 1, 0);
	assert_int_equal(a->calls[PUBLISH_CALL + 1].replies, 0);
	env_nack(c, SUBSCRIBE_CALL, S1, 1, true);
	env_ack(c, SUBSCRIBE_CALL, S1, 3);
	assert_failed(1, "dead letter at b, c; too few others for the quorum");
	assert_reached(2, 1, 1);
	publish(1);
	assert_failed(1, "dead letter at b, c; too few others for the quorum");
}

/* Who asked for less hears the truth about where it is. */
static void
test_accepted(void **state)
{
	(void)state;
	open_stream("b", "accepted", 0);
	subscribe(b);
	publish(1);
	assert_reached(1, 0, 0);
	until_items(b, 1);
	env_nack(b, SUBSCRIBE_CALL, S1, 1, true);
	env_run(&env, has_letter);
	do {
		publish(1);
	} while (result(1).failed_nodes_count == 0);
	assert_reached(1, 0, 1);
}

static bool
is_dead(struct env *e)
{
	const struct sink *s = e->nodes[1].engine.sinks;

	return s->retry != NULL && s->retry->count == 1 && s->retry->items[0].dead &&
	       s->target->acked_seq == 1;
}

/* The store has room for the mark, and none for the row that the letter is copied from. */
static void
test_no_row(void **state)
{
	(void)state;
	open_stream("b", "", 0);
	subscribe(b);
	fake_dbs[1].refuse_inbox = true;
	publish(1);
	until_items(b, 1);
	env_nack(b, SUBSCRIBE_CALL, S1, 1, true);
	env_run(&env, is_dead);
	assert_int_equal(b->engine.sinks->target->put_seq, 0);
	assert_int_equal(b->engine.letters, 0);
	fake_dbs[1].refuse_inbox = false;
	assert_failed(1, "dead letter at b");
	assert_int_equal(fake_dbs[1].letters.count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_all),
	    TEST(test_forgotten),
	    TEST(test_lost_acks),
	    TEST(test_quorum),
	    TEST(test_accepted),
	    TEST(test_no_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
