/* Streams of the system and of databases go before client data, and priorities have their shares. */
#include "tests/unit/consensusd/env.h"

#include "consensusd/core/qos.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"
#define S3 "01ARZ3NDEKTSV4RRFFQ69G5003"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];

/* Classes of the data frames of a, in their order. */
static uint8_t seen[4096];
static size_t seen_count, wanted;

static bool
note(struct env *e, size_t from, struct frame *f)
{
	(void)e;
	if (from == 0 && f->type == FRAME_DATA && seen_count < sizeof(seen))
		seen[seen_count++] = f->class;
	return true;
}

static size_t
first_of(uint8_t class)
{
	size_t i = 0;

	while (i < seen_count && seen[i] != class)
		i++;
	return i;
}

static bool
all_stored(struct env *e)
{
	struct sink *k, *next;
	uint64_t sum = 0;

	HASH_ITER (hh, e->nodes[1].engine.sinks, k, next)
		sum += k->target->stored_seq;
	return sum >= wanted;
}

static bool
all_taken(struct env *e)
{
	struct source *s, *next;
	uint64_t sum = 0;

	HASH_ITER (hh, e->nodes[0].engine.sources, s, next)
		sum += s->stream->next_seq - 1;
	return sum >= wanted;
}

/* Nothing is in flight: whatever comes next may leave. */
static bool
all_heard(struct env *e)
{
	struct source *s, *next;
	uint64_t sum = 0;

	HASH_ITER (hh, e->nodes[0].engine.sources, s, next)
		sum += s->stream->flows[0].stored;
	return sum >= wanted;
}

static void
open_qos(const char *stream, const char *qos, int32_t priority)
{
	mesh_v1_OpenClientDataStreamReq req = mesh_v1_OpenClientDataStreamReq_init_zero;

	env_forget(a, 1);
	snprintf(req.tenant_id, sizeof(req.tenant_id), "one");
	snprintf(req.stream_id, sizeof(req.stream_id), "%s", stream);
	snprintf(req.qos, sizeof(req.qos), "%s", qos);
	snprintf(req.target_nodes[req.target_nodes_count++], 64, "b");
	req.priority = priority;
	env_send_pb(a->gateway, GC_OPEN_STREAM, 1, mesh_v1_OpenClientDataStreamReq_fields, &req);
	assert_int_equal(env_wait(a, 1)->replies, 1);
}

static void
publish(const char *stream, int count, size_t size)
{
	static uint8_t payload[100000];
	mesh_v1_Chunk chunk = env_chunk(stream, 0);

	for (int i = 0; i < count; i++)
		env_publish_send(a, GC_PUBLISH_ITEM, (uint32_t)(stream[25] - '0') + 1, &chunk, payload, size);
}

static void
test_words(void **state)
{
	(void)state;
	assert_int_equal(qos_class("system"), FRAME_CLASS_SYSTEM);
	assert_int_equal(qos_class("db"), FRAME_CLASS_DB);
	assert_int_equal(qos_class("client"), FRAME_CLASS_CLIENT);
	assert_int_equal(qos_class(""), FRAME_CLASS_CLIENT);
	assert_int_equal(qos_class("System"), FRAME_CLASS_CLIENT);
	assert_int_equal(qos_share(262144, 0), 262144);
	assert_int_equal(qos_share(262144, 1), 2 * 262144);
	assert_int_equal(qos_share(262144, INT32_MAX), 8 * 262144);
	assert_int_equal(qos_share(262144, -1), 131072);
	assert_int_equal(qos_share(262144, INT32_MIN), 32768);
	assert_int_equal(qos_share(1, 0), QOS_SHARE_MIN_BYTES);
}

/* What becomes durable together leaves in one turn: the most important first, whatever came first. */
static void
test_order(void **state)
{
	(void)state;
	open_qos(S1, "", 0);
	open_qos(S2, "db", 0);
	open_qos(S3, "system", 0);
	publish(S1, 1, 10);
	publish(S2, 1, 10);
	publish(S3, 1, 10);
	wanted = 3;
	env_run(&env, all_heard);
	env.filter = note;
	seen_count = 0;
	fake_dbs[0].hold = true;
	publish(S1, 10, 10000);
	publish(S2, 10, 10000);
	publish(S3, 10, 10000);
	wanted = 33;
	env_run(&env, all_taken);
	fake_dbs[0].hold = false;
	fake_changed(&fake_dbs[0]);
	env_run(&env, all_stored);
	assert_true(seen_count >= 6);
	assert_int_equal(seen[0], FRAME_CLASS_SYSTEM);
	assert_true(first_of(FRAME_CLASS_SYSTEM) < first_of(FRAME_CLASS_DB));
	assert_true(first_of(FRAME_CLASS_DB) < first_of(FRAME_CLASS_CLIENT));
	env.filter = NULL;
}

/* transportd holds the node: client data waits, the others go on. */
static void
test_held(void **state)
{
	const struct node *n;

	(void)state;
	open_qos(S1, "client", 0);
	open_qos(S3, "system", 0);
	n = nodes_resolve(&a->engine.nodes, "b");
	assert_non_null(n);
	publish(S1, 1, 10);
	publish(S3, 1, 10);
	wanted = 2;
	env_run(&env, all_stored);
	((struct node *)(uintptr_t)n)->held = true;
	publish(S1, 5, 10);
	publish(S3, 5, 10);
	wanted = 7;
	env_run(&env, all_stored);
	env_run(&env, env_ready);
	assert_int_equal(source_find(&a->engine, &a->engine.sources->row.stream_id) != NULL, 1);
	for (struct sink *k = b->engine.sinks; k != NULL; k = k->hh.next)
		assert_int_equal(k->target->stored_seq, strcmp(k->row.qos, "system") == 0 ? 6 : 1);
	((struct node *)(uintptr_t)n)->held = false;
	engine_wake(&a->engine);
	wanted = 12;
	env_run(&env, all_stored);
}

/* One with a low priority gets its turns, too. */
static void
test_shares(void **state)
{
	(void)state;
	open_qos(S1, "", 3);
	open_qos(S2, "", -3);
	publish(S1, 20, 20000);
	publish(S2, 20, 20000);
	wanted = 40;
	env_run(&env, all_stored);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_words),
	    TEST(test_order),
	    TEST(test_held),
	    TEST(test_shares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
